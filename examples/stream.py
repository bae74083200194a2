"""A streamed reply: every passage was judged before it arrived here."""

from openai import OpenAI

client = OpenAI()
stream = client.responses.create(
    model="gpt-oss-tiny", input="Write a welcome email for a new customer.", stream=True
)
for event in stream:
    if event.type == "response.output_text.delta":
        print(event.delta, end="", flush=True)
print()
