"""Safety notices as webhook events, in the hosted API's shapes. Pure.

Source: `openai.types.webhooks`, openai 3.54; contract tests unwrap every event with it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import orjson
from uuid_utils import uuid7

ALERT_CREATED = "safety.alert.created"
WARNING_ISSUED = "safety.warning_issued"
DEACTIVATION_ISSUED = "safety.deactivation_issued"
IDENTIFIER_BLOCKED = "safety_identifier.blocked"


@dataclass(frozen=True, slots=True)
class Event:
    """Something that endpoints are told of.

    Attributes:
        id: `evt_` and 32 hex digits; the same for every endpoint and every try.
        type: Its type.
        project: Whose it is.
        body: The bytes that are signed and sent.
    """

    id: str
    type: str
    project: str
    body: bytes


def event(kind: str, project: str, data: Mapping[str, Any], now: datetime) -> Event:
    """Return an event with a fresh id."""
    event_id = f"evt_{uuid7().hex}"
    body = {
        "id": event_id,
        "object": "event",
        "created_at": int(now.timestamp()),
        "type": kind,
        "data": dict(data),
    }
    return Event(event_id, kind, project, orjson.dumps(body))
