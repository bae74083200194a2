"""The names of what classifiers answer for, beside a policy's and an operator's own."""

from __future__ import annotations

from collections.abc import Mapping

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
    "agent.secret_transfer",
    "enterprise.confidential",
    "enterprise.source_code",
    "minors.body_image",
    "minors.challenges",
    "minors.restricted_goods",
    "minors.romance",
    "minors.substances",
)

# The monitor's, by the wire's name for what each may lead to: `error.misalignment.error_type`.
MISALIGNMENT: Mapping[str, str] = {
    "misalignment.data_access": "potentially_unintended_data_access",
    "misalignment.credential_seeking": "potentially_unintended_data_access",
    "misalignment.sandbox_escape": "potentially_unintended_data_access",
    "misalignment.data_transfer": "potentially_unintended_data_transfer",
    "misalignment.exfiltration": "potentially_unintended_data_transfer",
    "misalignment.destructive": "potentially_unintended_destructive_activity",
    "misalignment.deception": "other",
    "misalignment.harmful_planning": "other",
    "misalignment.injection_following": "other",
    "misalignment.instruction_hierarchy": "other",
    "misalignment.other": "other",
    "misalignment.oversight_evasion": "other",
    "misalignment.reward_hacking": "other",
}
# A finding in one of these is one in the wider category too, as `hate/threatening` is hate.
WIDER: Mapping[str, str] = {
    "misalignment.credential_seeking": "misalignment.data_access",
    "misalignment.sandbox_escape": "misalignment.data_access",
    "misalignment.exfiltration": "misalignment.data_transfer",
    "misalignment.deception": "misalignment.other",
    "misalignment.harmful_planning": "misalignment.other",
    "misalignment.injection_following": "misalignment.other",
    "misalignment.instruction_hierarchy": "misalignment.other",
    "misalignment.oversight_evasion": "misalignment.other",
    "misalignment.reward_hacking": "misalignment.other",
}
# And what the packs call an act, likewise.
_ACTS: Mapping[str, str] = {
    "agent.data_access": "potentially_unintended_data_access",
    "agent.data_transfer": "potentially_unintended_data_transfer",
    "agent.destructive": "potentially_unintended_destructive_activity",
    "agent.secret_transfer": "potentially_unintended_data_transfer",
}

# In the order of the encoder's outputs. `any` is harm of any sort; the last is an attack
# on the system rather than a harm, and `any` says nothing about it.
HEADS = ("any", *MODERATION, "bio", "cyber", "ai_self_improvement", "prompt_injection")


def misalignment_type(category: str) -> str:
    """Return the wire's `error_type` for a finding in `category`; `other` for any other one."""
    return MISALIGNMENT.get(category) or _ACTS.get(category, "other")
