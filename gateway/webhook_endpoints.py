"""The webhooks file: which endpoints are told of which events. docs/consequences.md has the keys.

It is read once, at start. A secret stands in the file, or in an environment variable that the
file names.
"""

from __future__ import annotations

import base64
import binascii
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from classifiers.judges.tables import Table, checked, read_toml
from gateway.egress import EgressRefused, parsed
from policies.circumstances import Circumstances, Scope
from policies.words import Pattern

PREFIX = "whsec_"
_SECRET_BYTES = range(24, 65)  # as Standard Webhooks says

EventType = Literal[
    "safety.alert.created",
    "safety.warning_issued",
    "safety.deactivation_issued",
    "safety_identifier.blocked",
]
_Line = Annotated[str, Field(min_length=1, max_length=2000)]


@dataclass(frozen=True, slots=True)
class WebhookEndpoint:
    """Who is told of what.

    Attributes:
        name: By which it is known in metrics and records.
        url: Where events are sent.
        secret: `whsec_` and base64.
        events: Types of events.
        projects: Patterns of projects; `*` stands for any characters.
    """

    name: str
    url: str
    secret: str = field(repr=False)
    events: frozenset[str]
    projects: tuple[str, ...]

    def wants(self, event_type: str, project: str) -> bool:
        """Return whether an event of a project is sent to it."""
        given = Circumstances(project=project)
        return event_type in self.events and Scope(projects=self.projects).covers(given)


class _Entry(Table):
    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._-]{0,63}$")]
    url: _Line
    secret: _Line | None = None
    secret_env: Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]{0,127}$")] | None = None
    events: Annotated[list[EventType], Field(min_length=1)]
    projects: Annotated[list[Pattern], Field(min_length=1)] = ["*"]  # noqa: RUF012 - pydantic copies


class _File(Table):
    endpoint: Annotated[list[_Entry], Field(max_length=100)] = []  # noqa: RUF012 - pydantic copies


def read_endpoints(webhooks_file: str) -> tuple[WebhookEndpoint, ...]:
    """Return the endpoints that a file names.

    Args:
        webhooks_file: The setting; empty means that there are none.

    Raises:
        ValueError: If anything in the file is wrong.
    """
    if not webhooks_file:
        return ()
    path = Path(webhooks_file)
    _, table = read_toml(path)
    entries = checked(_File, table, path.name).endpoint
    found = tuple(_endpoint(entry, f"{path.name}: endpoint `{entry.name}`") for entry in entries)
    _check_names([endpoint.name for endpoint in found], path.name)
    return found


def _endpoint(entry: _Entry, where: str) -> WebhookEndpoint:
    try:
        parsed(entry.url)
    except EgressRefused as error:
        message = f"{where}: `url` must be an `https://` URL, without a user"
        raise ValueError(message) from error
    return WebhookEndpoint(
        entry.name,
        entry.url,
        _secret(entry, where),
        frozenset(entry.events),
        tuple(entry.projects),
    )


def _secret(entry: _Entry, where: str) -> str:
    if (entry.secret is None) == (entry.secret_env is None):
        raise ValueError(f"{where}: give `secret` or `secret_env`")
    secret = entry.secret or os.environ.get(entry.secret_env or "", "").strip()
    if not secret:
        raise ValueError(f"{where}: the environment variable `{entry.secret_env}` is not set")
    try:
        raw = base64.b64decode(secret.removeprefix(PREFIX), validate=True)
    except binascii.Error:
        raw = b""
    if not secret.startswith(PREFIX) or len(raw) not in _SECRET_BYTES:
        raise ValueError(f"{where}: a secret is `{PREFIX}` and base64 of 24 to 64 bytes")
    return secret


def _check_names(names: Sequence[str], where: str) -> None:
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"{where}: endpoint `{name}` is listed twice")
