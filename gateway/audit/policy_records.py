"""What is recorded of each step in a policy's life: one entry, in the step's transaction."""

from __future__ import annotations

from typing import Any

from gateway.audit.entry import Entry
from gateway.store.policies import PolicyVersion

_MAX_REASON = 512  # code points


def taken(step: str, version: PolicyVersion, *, actor: str, **details: object) -> Entry:
    """A step was taken.

    Args:
        step: Past tense, as in `approved`.
        version: The version it was about, as it stands now.
        actor: Who did it: a key id, or who used the command line.
        details: What else is to be said of the policy.
    """
    body: dict[str, Any] = {
        "actor": {"key": actor},
        "policy": {
            "kind": version.kind,
            "id": version.policy_id,
            "version": version.version,
            "digest": version.digest,
            "author": version.author,
            **details,
        },
    }
    if version.reason is not None and step == "rejected":
        body["policy"]["reason"] = version.reason[:_MAX_REASON]
    return Entry(f"policy.{step}", body)
