"""Holds the decision log against what callers were given. Pure.

Each check is a promise of the log; what comes back is every way in which it was broken.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from typing import Any

from benchmarks.callers import Given
from benchmarks.engine import ANSWER
from gateway.types import Outcome

Entry = dict[str, Any]

ENDS = frozenset(f"request.{outcome.value}" for outcome in Outcome)
_LATE = "request.closed_late"  # the one thing that may follow an end


def contradictions(log: Sequence[Entry], given: Iterable[Given]) -> list[str]:
    """Return what is wrong with the log, or between it and what callers were given.

    Args:
        log: All entries in log order, after every dead replica was swept.
        given: All that any caller was given.
    """
    by_request: dict[str, list[Entry]] = defaultdict(list)
    for entry in log:
        if entry.get("request"):
            by_request[entry["request"]["id"]].append(entry)
    wrong = [*_gaps(log)]
    for request_id, entries in by_request.items():
        wrong.extend(f"{request_id}: {what}" for what in _of_request(entries))
    known = {name for entry in log for name in _names(entry)}
    for each in given:
        entries = by_request.get(each.request_id, [])
        wrong.extend(f"{each.request_id}: {what}" for what in _of_caller(each, entries, known))
    return wrong


def unfinished(log: Iterable[Entry]) -> set[str]:
    """Return the ids of admitted requests without a terminal record."""
    admitted, ended = set(), set()
    for entry in log:
        if entry["type"] == "request.admitted":
            admitted.add(entry["request"]["id"])
        elif entry["type"] in ENDS:
            ended.add(entry["request"]["id"])
    return admitted - ended


def ends(log: Iterable[Entry]) -> Counter[str]:
    """Return how many requests ended how."""
    return Counter(entry["type"] for entry in log if entry["type"] in ENDS)


def _names(entry: Entry) -> Iterator[str]:
    yield entry["id"]
    if entry["type"] == "decision.recorded":
        yield entry["decision"]["id"]


def _gaps(log: Sequence[Entry]) -> Iterator[str]:
    """Each replica numbers its entries from 1, in log order, and first says it started."""
    by_replica = sorted(log, key=lambda entry: str(entry["replica"]["id"]))
    for replica, entries in groupby(by_replica, key=lambda entry: str(entry["replica"]["id"])):
        own = list(entries)
        if [entry["replica"]["seq"] for entry in own] != list(range(1, len(own) + 1)):
            yield f"{replica}: its numbers have a gap or are out of order"
        if replica.startswith("rep_") and own[0]["type"] != "replica.started":
            yield f"{replica}: begins with `{own[0]['type']}`"


def _of_request(entries: Sequence[Entry]) -> Iterator[str]:
    types = [entry["type"] for entry in entries]
    if types == ["request.denied"]:
        return
    if types.count("request.admitted") != 1 or types[0] != "request.admitted":
        yield f"not admitted once and first: {types}"
    ended = [index for index, type_ in enumerate(types) if type_ in ENDS]
    if len(ended) != 1:
        yield f"{len(ended)} terminal records: {types}"
    elif set(types[ended[0] + 1 :]) - {_LATE}:
        yield f"something follows the terminal record: {types}"


def _of_caller(given: Given, entries: Sequence[Entry], known: set[str]) -> Iterator[str]:
    types = {entry["type"] for entry in entries}
    if given.decision_id and given.decision_id not in known:
        yield f"the decision `{given.decision_id}` was given out and is not in the log"
    if given.status == 200:
        yield from _of_reply(given, entries, types)
    elif 400 <= given.status < 500 and not types & {"request.blocked", "request.denied"}:
        yield f"refused with {given.status}, but the log says {sorted(types)}"


def _of_reply(given: Given, entries: Sequence[Entry], types: set[str]) -> Iterator[str]:
    if "request.admitted" not in types:
        yield "a reply began, and its admission is not in the log"
    if given.question.stream and "stream.started" not in types:
        yield "a stream began, and the log does not say so"
    if given.completed and "request.completed" not in types:
        yield f"complete for its caller, but the log says {sorted(types)}"
    if not ANSWER.startswith(given.text):
        yield "the caller got what the model did not say"
    judged = sum(_judged_chars(entry) for entry in entries)
    if len(given.text) > judged:
        yield f"{len(given.text)} characters left and {judged} were judged"


def _judged_chars(entry: Entry) -> int:
    """Return how much of a reply this entry let out: what every classifier has read."""
    decision = entry.get("decision")
    if decision is None or decision["stage"] != "output" or decision["action"] == "block":
        return 0
    return min((receipt["scanned_chars"] for receipt in entry["classifiers"]), default=0)
