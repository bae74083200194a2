"""What the log says the tables must hold, entry by entry; and what is missing in it. Pure.

Strikes, stops, holds, erasures and keys change in the transaction of the entry that says so.
So whoever takes the entries in log order comes to what the tables must say. On the way
it is seen whether each request that was admitted ended once, and whether a replica's
numbers have a gap.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, NamedTuple

from gateway.audit.entry_check import LONGEST_REQUEST, is_new

Thing = tuple[str, ...]  # its kind, and what names it in its table
Row = dict[str, Any]
EndUser = tuple[str, str]  # project and pseudonym


class Recorded(NamedTuple):
    """One entry as the fold takes it: its columns, and what it says if that is folded."""

    seq: int
    id: str
    type: str
    recorded_at: str
    request_id: str | None
    replica: str
    replica_seq: int
    terminal: bool
    document: Mapping[str, Any] | None


class Missing(NamedTuple):
    """What ought to be in the log, or ought not.

    Attributes:
        kind: `gap`, `never_ended`, `not_admitted` or `reversal`.
        about: A replica, a request or an end user.
        detail: For people.
    """

    kind: str
    about: str
    detail: str


class _Admission(NamedTuple):
    replica: str
    at: str


class Fold:
    """Takes the entries of a log, or of a stretch of it, in order.

    Args:
        whole: Whether it begins at the log's first entry. A stretch cannot say whether what
            it does not begin with was there.

    Attributes:
        state: What the tables must say. A field that is None was not recorded.
        sanctions: The last change of sanction since an end user's strikes were reversed.
        missing: What was found missing so far.
        open: Requests that have not ended.
        entries: How many were taken.
    """

    def __init__(self, *, whole: bool = True):
        self.whole = whole
        self.state: dict[Thing, Row] = {}
        self.sanctions: dict[EndUser, Row] = {}
        self.missing: list[Missing] = []
        self.open: dict[str, _Admission] = {}
        self.entries = 0
        self.last_seq = 0
        self._last_at = ""
        self._first_id = ""
        self._numbers: dict[str, int] = {}
        self._counting: dict[EndUser, dict[Thing, None]] = {}

    def take(self, entry: Recorded) -> None:
        """Take the next entry.

        Raises:
            ValueError: If it is not the next, or lacks what one of its type says.
        """
        if entry.seq <= self.last_seq:
            raise ValueError("entries must come in the order of the log, each once")
        self.entries += 1
        self.last_seq, self._last_at = entry.seq, entry.recorded_at
        self._first_id = self._first_id or entry.id
        self._count(entry)
        self._follow(entry)
        apply = _FOLDED.get(entry.type)
        if apply is not None and entry.document is not None:
            try:
                apply(self, entry.document)
            except (KeyError, TypeError) as error:
                raise ValueError(f"entry {entry.seq} is no `{entry.type}`") from error

    def never_ended(self, ended_replicas: frozenset[str] = frozenset()) -> list[Missing]:
        """Return the requests that must have ended by now and have not.

        Args:
            ended_replicas: Those whose requests have all been closed; others may still serve.
        """
        if not self.open:
            return []
        limit = datetime.fromisoformat(self._last_at) - LONGEST_REQUEST
        return [
            Missing("never_ended", request, f"admitted by `{one.replica}`, without an end")
            for request, one in self.open.items()
            if one.replica in ended_replicas or datetime.fromisoformat(one.at) < limit
        ]

    def _count(self, entry: Recorded) -> None:
        before = self._numbers.get(entry.replica)
        known = before is not None or self.whole or is_new(entry.replica, self._first_id)
        expected = (before or 0) + 1
        if known and entry.replica_seq != expected:
            last = entry.replica_seq - 1
            numbers = f"{expected}" if last <= expected else f"{expected} to {last}"
            self.missing.append(Missing("gap", entry.replica, f"number {numbers}"))
        self._numbers[entry.replica] = entry.replica_seq

    def _follow(self, entry: Recorded) -> None:
        """Keep what was admitted until it ends."""
        request = entry.request_id
        if request is None:
            return
        if entry.type == "request.admitted":
            self.open[request] = _Admission(entry.replica, entry.recorded_at)
        elif entry.terminal and self.open.pop(request, None) is None and self.whole:
            detail = f"`{entry.type}` in entry {entry.seq}: never admitted, or ended before"
            self.missing.append(Missing("not_admitted", request, detail))

    def _struck(self, document: Mapping[str, Any]) -> None:
        strike, project = document["strike"], document["actor"]["project"]
        subject = document["actor"]["safety_identifier"]
        thing = ("strike", document["request"]["id"], strike["rule"])
        self.state[thing] = {
            "project": project,
            "subject": subject,
            "decision": strike["decision"],
            "policy": strike["policy"],
            "struck_at": strike.get("at"),
            "reversed": False,
            "reversed_at": None,
        }
        self._counting.setdefault((project, subject), {})[thing] = None

    def _sanctioned(self, document: Mapping[str, Any]) -> None:
        actor, sanction = document["actor"], dict(document["sanction"])
        end_user = actor["project"], actor["safety_identifier"]
        self.sanctions[end_user] = sanction
        counting = len(self._counting.get(end_user, ()))
        if self.whole and sanction["strikes"] > counting:
            detail = f"a sanction for {sanction['strikes']} strikes, of which {counting} are here"
            self.missing.append(Missing("strike", "/".join(end_user), detail))

    def _reversed(self, document: Mapping[str, Any]) -> None:
        who, reversal = document["end_user"], document["reversal"]
        end_user = who["project"], who["safety_identifier"]
        named = None if "omitted" in document else frozenset(document["decisions"])
        counting = self._counting.get(end_user, {})
        done = [each for each in counting if named is None or self._decision(each) in named]
        for thing in done:
            del counting[thing]
            self.state[thing].update(reversed=True, reversed_at=reversal.get("at"))
        self.sanctions.pop(end_user, None)
        if self.whole and len(done) != reversal["strikes"]:
            detail = f"{reversal['strikes']} strikes were reversed, of which {len(done)} are here"
            self.missing.append(Missing("reversal", "/".join(end_user), detail))

    def _decision(self, thing: Thing) -> object:
        return self.state[thing]["decision"]

    def _stopped(self, document: Mapping[str, Any]) -> None:
        stop = document["stop"]
        self.state["stop", stop["id"]] = {
            "project": document["actor"]["project"],
            "subject": document["actor"]["safety_identifier"] or "nobody",
            "decision": stop["decision"],
            "rule": stop["rule"],
            "error_type": stop["error_type"],
            "expires_at": stop["expires_at"],
            "lifted": False,
        }

    def _lifted(self, document: Mapping[str, Any]) -> None:
        stop = self.state.get(("stop", document["stop"]["id"]))
        if stop is not None:
            stop["lifted"] = True

    def _held(self, document: Mapping[str, Any]) -> None:
        self.state["hold", document["hold"]["id"]] = _end_user(document)

    def _released(self, document: Mapping[str, Any]) -> None:
        self.state.pop(("hold", document["hold"]["id"]), None)

    def _erasing(self, document: Mapping[str, Any]) -> None:
        self.state["erasure", document["erasure"]["id"]] = _end_user(document)

    def _erased(self, document: Mapping[str, Any]) -> None:
        self.state.pop(("erasure", document["erasure"]["id"]), None)

    def _key_created(self, document: Mapping[str, Any]) -> None:
        key = document["key"]
        self.state["key", key["id"]] = {
            "project": key["project"],
            "scopes": sorted(document["scopes"]),
            "expires_at": key["expires_at"] or "never",
            "revoked": False,
        }

    def _key_revoked(self, document: Mapping[str, Any]) -> None:
        key = self.state.get(("key", document["key"]["id"]))
        if key is not None:
            key["revoked"] = True


def _end_user(document: Mapping[str, Any]) -> Row:
    who = document["end_user"]
    return {"project": who["project"], "subject": who["safety_identifier"] or "all"}


_FOLDED: dict[str, Callable[[Fold, Mapping[str, Any]], None]] = {
    "enforcement.struck": Fold._struck,
    "enforcement.sanctioned": Fold._sanctioned,
    "enforcement.reversed": Fold._reversed,
    "conversation.stopped": Fold._stopped,
    "conversation.lifted": Fold._lifted,
    "hold.added": Fold._held,
    "hold.released": Fold._released,
    "erasure.requested": Fold._erasing,
    "erasure.completed": Fold._erased,
    "key.created": Fold._key_created,
    "key.revoked": Fold._key_revoked,
}
FOLDED = frozenset(_FOLDED)  # the types whose documents are needed
