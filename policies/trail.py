"""What happened in an exchange so far, with scores: the `trajectory` that conditions look at. Pure.

Calls that the model made and what the tools gave back, in the history that was sent again and
in the reply so far. No text: names, sizes, scores and digests. A score that nobody could give
is left out, and looking it up makes a condition one that cannot be told: unknown is not low.

Scores are those of classifiers that are asked about everything. Judges are left out: whether
one is asked is another rule's business, and adding a rule must not change what is seen here.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any, NamedTuple

from cel_expr_python import cel
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

from classifiers.types import UNSUPPORTED_LANGUAGE, Assessment, Verdict

_PACKAGE = "ostiary"
_TEXT, _WHOLE, _TRUTH = "STRING", "INT64", "BOOL"

# The fields of each message: name, type, and what it is. The order is that of their numbers.
STEP_FIELDS = (
    ("tool", _TEXT, "the function's name"),
    ("chars", _WHOLE, "how long the arguments, or the result, are"),
    ("turns_ago", _WHOLE, "how many messages of the user came after it: 0 is the present turn"),
    ("new", _TRUTH, "whether it is of this reply, and not of the history"),
    ("digest", _TEXT, "the same for calls of one function with the same arguments, or results"),
    ("scores", "MAP", "by category; unknown for what nobody could score, so ask `in` first"),
    (
        "unread",
        "MAP",
        "categories that are unknown for want of a language alone, and the highest score that "
        "came all the same",
    ),
)
TRAJECTORY_FIELDS = (
    ("results", "STEPS", "what tools gave back, in order"),
    ("calls", "STEPS", "calls that were made, in order, without the one that is judged"),
    ("reasoning_chars", _WHOLE, "how long the model has thought in this reply"),
)


@dataclass(frozen=True, slots=True)
class Step:
    """One call, or one result of a call.

    Attributes:
        tool: The function's name.
        chars: How long the arguments or the result are, code points.
        turns_ago: How many user messages came after it.
        new: Whether it is of the reply that is being given.
        digest: Of the function and its arguments or result; equal for those that are the same.
        scores: By category; what is left out, nobody could score.
        unread: What is left out for want of a language alone: the highest score that came all
            the same.
    """

    tool: str
    chars: int = 0
    turns_ago: int = 0
    new: bool = False
    digest: str = ""
    scores: Mapping[str, float] = field(default_factory=dict)
    unread: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Trail:
    """What happened so far.

    Attributes:
        results: What tools gave back, oldest first; what is judged just now is among them.
        calls: Calls that were made, oldest first, without the one that is judged.
        reasoning_chars: Code points of thought in this reply, the present ones included.
        call: The call that the model makes and that is judged just now; None elsewhere, and
            for calls of the history, which were judged when they were made.
        arguments: Its arguments, as they are. Content: never to be shown.
    """

    results: tuple[Step, ...] = ()
    calls: tuple[Step, ...] = ()
    reasoning_chars: int = 0
    call: Step | None = None
    arguments: str = field(default="", repr=False)


NOTHING_YET = Trail()


class MalformedArguments(ValueError):
    """The arguments of a call are not one JSON object that everybody reads the same."""


def read_arguments(text: str) -> dict[str, Any]:
    """Return the arguments of a call.

    Raises:
        MalformedArguments: If they are not a JSON object, name a member twice, hold a number
            that is none (`NaN`) or too large (`1e400`), half a character, or are nested too
            deep. Of two readers one may take the first of two members and one the last, so no
            pattern is safe then.
    """
    try:
        said = json.loads(
            text, object_pairs_hook=_members, parse_constant=_no_number, parse_float=_number
        )
        text.encode()
        json.dumps(said, ensure_ascii=False).encode()
    except (ValueError, RecursionError) as error:
        raise MalformedArguments from error
    if not isinstance(said, dict):
        raise MalformedArguments
    return said


def _members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) < len(pairs):
        raise MalformedArguments
    return members


def _number(written: str) -> float:
    number = float(written)
    if math.isinf(number):  # one reader has infinity, one the largest number, one an error
        raise MalformedArguments
    return number


def _no_number(_: str) -> float:
    raise MalformedArguments


def digest_of(tool: str, arguments: str) -> str:
    """Return what two calls have in common if they are the same; layout does not count."""
    try:
        plain = json.dumps(read_arguments(arguments), sort_keys=True, separators=(",", ":"))
    except MalformedArguments:
        plain = arguments
    return hashlib.sha256(f"{tool}\0{plain}".encode("utf-8", "replace")).hexdigest()[:32]


class Heard(NamedTuple):
    """What is known of one passage; see `Step`."""

    scores: Mapping[str, float]
    unread: Mapping[str, float]


def heard_of(assessment: Assessment, index: int) -> Heard:
    """Return what is known of one passage: a category with an answer missing has no score."""
    heard: dict[str, list[Verdict]] = {}
    for verdict in assessment.verdicts[index]:
        if verdict.classifier not in assessment.asked:
            heard.setdefault(verdict.category, []).append(verdict)
    scores: dict[str, float] = {}
    unread: dict[str, float] = {}
    for category, names in assessment.covered.items():
        said = heard.get(category, ())
        missing = {verdict.error for verdict in said if verdict.score is None}
        highest = max((verdict.score or 0.0 for verdict in said), default=0.0)
        if names and not missing:
            scores[category] = highest
        elif names and missing == {UNSUPPORTED_LANGUAGE}:
            unread[category] = highest
    return Heard(scores, unread)


@cache
def pool() -> descriptor_pool.DescriptorPool:
    """Return the types of the variables, for CEL to check names against."""
    types = descriptor_pb2.FileDescriptorProto(
        name="ostiary/trajectory.proto", package=_PACKAGE, syntax="proto3"
    )
    _declare(types.message_type.add(name="Step"), STEP_FIELDS)
    _declare(types.message_type.add(name="Trajectory"), TRAJECTORY_FIELDS)
    made = descriptor_pool.DescriptorPool()
    made.AddSerializedFile(types.SerializeToString())
    return made


def _declare(
    message: descriptor_pb2.DescriptorProto, fields: Iterable[tuple[str, str, str]]
) -> None:
    kinds = descriptor_pb2.FieldDescriptorProto
    for number, (name, kind, _) in enumerate(fields, 1):
        made = message.field.add(name=name, number=number, label=kinds.LABEL_OPTIONAL)
        if kind == "MAP":
            entry = message.nested_type.add(name=f"{name.title()}Entry")
            entry.options.map_entry = True
            _declare(entry, (("key", _TEXT, ""), ("value", "DOUBLE", "")))
            made.type_name = f".{_PACKAGE}.{message.name}.{entry.name}"
        elif kind == "STEPS":
            made.type_name = f".{_PACKAGE}.Step"
        repeated = kind in ("MAP", "STEPS")
        made.type = kinds.TYPE_MESSAGE if repeated else kinds.Type.Value(f"TYPE_{kind}")
        if repeated:
            made.label = kinds.LABEL_REPEATED


def cel_types() -> dict[str, cel.Type]:
    """Return the variables that conditions have beside those of the request."""
    return {
        "trajectory": cel.Type(f"{_PACKAGE}.Trajectory"),
        "call": cel.Type(f"{_PACKAGE}.Step"),
    }


def facts_of_trail(trail: Trail) -> dict[str, object]:
    """Return the values of these variables; `call` is left out where there is none."""
    trajectory = _message("Trajectory")(reasoning_chars=trail.reasoning_chars)
    for steps, messages in (
        (trail.results, trajectory.results),
        (trail.calls, trajectory.calls),
    ):
        for step in steps:
            _fill(messages.add(), step)
    if trail.call is None:
        return {"trajectory": trajectory, "trail": trail}
    return {"trajectory": trajectory, "call": _fill(_message("Step")(), trail.call), "trail": trail}


def _fill(message: Any, step: Step) -> Any:  # noqa: ANN401 - made at run time
    message.tool, message.chars, message.digest = step.tool, step.chars, step.digest
    message.turns_ago, message.new = step.turns_ago, step.new
    message.scores.update(step.scores)
    message.unread.update(step.unread)
    return message


@cache
def _message(name: str) -> Any:  # noqa: ANN401 - made at run time
    return message_factory.GetMessageClass(pool().FindMessageTypeByName(f"{_PACKAGE}.{name}"))
