"""Reads entries once and counts what evidence needs of them; memory does not grow with them."""

from __future__ import annotations

from collections import Counter, defaultdict, deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from gateway.audit.evidence.framework import ANY_TYPE, Framework, Records
from gateway.audit.formats.types import part
from gateway.audit.projection import TERMINAL, project_of

LONGEST_SILENCE = timedelta(hours=24)  # more is worth a question
_SAMPLES = 5  # of each kind of records, the last ones
_SILENCES = 20  # that are listed
_MOST = 10_000  # different values that are counted by themselves
_IN_FORCE = frozenset({"policy.activated", "policy.loaded"})
_GROUPS = {"allow": "let through", "review": "held back", "block": "held back"}
MARKED = "marked or altered"
GROUPS = ("let through", MARKED, "held back")


class Silence(NamedTuple):
    """A stretch of time in which nothing was recorded."""

    since: str
    until: str


class Sample(NamedTuple):
    """An entry that is shown as an example."""

    id: str
    recorded_at: str
    type: str
    project: str | None
    by: str | None


@dataclass(slots=True)
class Found:
    """What there is of some records."""

    count: int = 0
    first: str | None = None
    last: str | None = None
    samples: deque[Sample] = field(default_factory=lambda: deque(maxlen=_SAMPLES))

    def add(self, entry: Mapping[str, Any]) -> None:
        """Count an entry."""
        at = entry["recorded_at"]
        self.count += 1
        self.first = min(self.first or at, at)
        self.last = max(self.last or at, at)
        by = part(entry, "actor", "key")
        self.samples.append(Sample(entry["id"], at, entry["type"], project_of(entry), by))


class Tally:
    """What the entries of a time come to.

    Attributes:
        framework: Whose headings' records are counted.
        found: What there is of each of them, in their order.
        entries: How many.
        types: By type.
        actions: Decisions by what was done.
        coverage: Decisions by how much was read.
        rules: Decisions by the rule that determined them.
        hours: Decisions by the hour and by group, `GROUPS`; the hour is `2026-07-01T09`.
        busy: Entries by the hour.
        silences: The first stretches of more than `LONGEST_SILENCE` without an entry.
        approved: Digests of policies that were approved.
        in_force: Digest -> id and version of policies that came into force.
        unnamed_openings: Content opened on a command line by nobody who was named.
        lasting_keys: Keys made without a day on which they expire.
        unnamed_requests: Requests admitted for an end user who was not named.
    """

    def __init__(self, framework: Framework, since: str | None = None):
        self.framework = framework
        self.found = [Found() for _ in framework.records()]
        self.entries = 0
        self.types = Counter[str]()
        self.actions = Counter[str]()
        self.coverage = Counter[str]()
        self.rules = Counter[str]()
        self.hours: dict[str, Counter[str]] = defaultdict(Counter)
        self.busy = Counter[str]()
        self.silences: list[Silence] = []
        self.approved: set[str] = set()
        self.in_force: dict[str, tuple[str, str]] = {}
        self.unnamed_openings = 0
        self.lasting_keys = 0
        self.unnamed_requests = 0
        self._last = since
        self._by_type: dict[str, list[tuple[Records, Found]]] = defaultdict(list)
        for records, found in zip(framework.records(), self.found, strict=True):
            for kind in records.types:
                self._by_type[kind].append((records, found))

    @property
    def ended(self) -> int:
        """How many requests ended."""
        return sum(self.types[kind] for kind in TERMINAL)

    def add(self, entries: Iterable[Mapping[str, Any]]) -> None:
        """Count entries, in log order."""
        for entry in entries:
            self.entries += 1
            self.types[entry["type"]] += 1
            self.busy[entry["recorded_at"][:13]] += 1
            self._listen(entry["recorded_at"])
            for records, found in (*self._by_type[entry["type"]], *self._by_type[ANY_TYPE]):
                if records.match(entry):
                    found.add(entry)
            self._look(entry)

    def end(self, until: str) -> None:
        """Say until when there could have been entries."""
        self._listen(until)

    def _listen(self, at: str) -> None:
        last = self._last
        if last is not None and at[:10] != last[:10] and len(self.silences) < _SILENCES:
            between = datetime.fromisoformat(at) - datetime.fromisoformat(last)
            if between > LONGEST_SILENCE:
                self.silences.append(Silence(last, at))
        self._last = max(last or at, at)

    def _look(self, entry: Mapping[str, Any]) -> None:
        kind = entry["type"]
        if kind == "decision.recorded":
            self._decision(entry)
        elif kind == "request.admitted":
            self.unnamed_requests += part(entry, "actor", "safety_identifier") is None
        elif kind == "policy.approved":
            self.approved.add(part(entry, "policy", "digest"))
        elif kind in _IN_FORCE and len(self.in_force) < _MOST:
            policy = entry["policy"]
            self.in_force[policy["digest"]] = (policy["id"], policy["version"])
        elif kind == "access.opened":
            self.unnamed_openings += part(entry, "actor", "key") == "cli"
        elif kind == "key.created":
            self.lasting_keys += part(entry, "key", "expires_at") is None

    def _decision(self, entry: Mapping[str, Any]) -> None:
        action = str(part(entry, "decision", "action"))
        self.actions[action] += 1
        self.coverage[str(part(entry, "coverage", "state"))] += 1
        self.hours[entry["recorded_at"][:13]][_GROUPS.get(action, MARKED)] += 1
        for rule in entry.get("determining_rules") or ():
            if rule in self.rules or len(self.rules) < _MOST:
                self.rules[rule] += 1
