"""The names of what classifiers answer for, beside a policy's and an operator's own."""

from __future__ import annotations

# The moderation API's.
MODERATION = (
    "harassment",
    "harassment/threatening",
    "hate",
    "hate/threatening",
    "illicit",
    "illicit/violent",
    "self-harm",
    "self-harm/instructions",
    "self-harm/intent",
    "sexual",
    "sexual/minors",
    "violence",
    "violence/graphic",
)

# Of the policy packs, found by patterns; a judge may answer for them as well.
PACKS = (
    "advice.financial",
    "advice.legal",
    "advice.medical",
    "agent.data_access",
    "agent.data_transfer",
    "agent.destructive",
    "enterprise.confidential",
    "enterprise.source_code",
    "minors.body_image",
    "minors.challenges",
    "minors.restricted_goods",
    "minors.romance",
    "minors.substances",
)

# In the order of the encoder's outputs. `any` is harm of any sort; the last is an attack
# on the system rather than a harm, and `any` says nothing about it.
HEADS = ("any", *MODERATION, "bio", "cyber", "ai_self_improvement", "prompt_injection")
