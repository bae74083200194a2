"""Moderation: by itself, with a reply, and as a wish that is stricter than the policy."""

import openai
from openai import OpenAI

client = OpenAI()

result = client.moderations.create(input="I will kill you tomorrow.").results[0]
print(
    "flagged:",
    sorted(name for name, hit in result.categories.model_dump(by_alias=True).items() if hit),
)

reply = client.responses.create(
    model="gpt-oss-tiny",
    input="How long does a refund take?",
    extra_body={"moderation": {"model": "ostiary-moderation"}},
)
print("reply flagged:", reply.moderation.output.flagged)

try:
    client.responses.create(
        model="gpt-oss-tiny",
        input="Tell me something pornographic.",
        extra_body={
            "moderation": {
                "model": "ostiary-moderation",
                "policy": {"input": {"mode": "block"}},
            }
        },
    )
except openai.BadRequestError as refused:
    print("refused:", refused.code)
