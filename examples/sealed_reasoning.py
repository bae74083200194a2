"""A sealed chain of thought: carried by the caller, read by nobody but the gateway."""

import openai
from openai import OpenAI

client = OpenAI()
reply = client.responses.create(
    model="gpt-oss-tiny",
    input="How long does a refund take?",
    include=["reasoning.encrypted_content"],
)
reasoning = reply.output[0]
print(f"sealed: {reasoning.encrypted_content[:24]}...")

forged = reasoning.model_copy(update={"encrypted_content": "A" * 64})
try:
    client.responses.create(model="gpt-oss-tiny", input=[forged, {"role": "user", "content": "Hi"}])
except openai.BadRequestError as refused:
    print(f"refused: {refused.code}")
