"""The reference of the policy language, written from its schema.

    python -m policies.reference > docs/policy-reference.md

A test holds the page to the schema, so a key that is added without a word about it shows.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from types import NoneType
from typing import Annotated, Any, Literal, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from policies.attachments import AttachmentsDocument
from policies.conditions import VARIABLES
from policies.rule_schema import EscalateAt, OnUnavailable, RuleMode, Words
from policies.schema import PolicyDocument
from policies.trail import STEP_FIELDS, TRAJECTORY_FIELDS
from policies.words import Part

_HEAD = """\
# Policy reference

Written by `python -m policies.reference` from the schema; do not edit. What it all means, with
examples, is in [policies](policies.md). The same as JSON Schema: `policies/schema/ostiary-v1.json`,
or `ostiary policy schema`.

Whatever is not listed here is an error. Times are UTC: `2026-12-01` or `2026-12-01T08:00:00Z`.
Durations are minutes, hours or days: `5m`, `12h`, `30d`.
"""

_VARIABLES = {
    "user.strikes": "how many strikes of the end user count now",
    "user.age_group": "`minor`, `adult` or `unknown`",
    "request.project": "whose API key it is",
    "request.tier": "the project's plan",
    "request.endpoint": "`responses`, `chat` or `moderations`",
    "request.model": "the model that is asked",
    "request.locale": "the end user's language tag, or nothing",
    "request.stream": "whether the reply is streamed",
    "request.tools": "names of the functions that the model may call",
    "request.access": "access programs in force",
    "stage": "where the rule watches just now",
    "score": "the score that counts for this rule; unknown without one",
    "scores": "by category; unknown for what nobody could score, so ask `in` first",
    "trajectory": "what happened so far; [its fields](#what-happened-so-far)",
    "call": "the call that is made, a step; there at stage `tool_call` alone",
}

# What has two spellings, in words.
_SPELLINGS = (
    (Words, "text, or texts by language"),
    (OnUnavailable, "action, or an action for each stage"),
    (RuleMode, "`enforce`, `shadow` or `{canary: percent}`"),
    (EscalateAt, "number, or a number for each judge"),
)
_PLAIN: Mapping[object, str] = {
    str: "text",
    int: "whole number",
    float: "number",
    bool: "`true`, `false`",
}
_MANY: Mapping[object, str] = {list: "[]", dict: ".*"}


def reference() -> str:
    """Return the page, Markdown."""
    lines = [_HEAD]
    for title, model in (("Policy", PolicyDocument), ("Attachments", AttachmentsDocument)):
        lines.append(f"## `kind: {title}`\n")
        for path, part in _parts(model, ""):
            lines.extend(_section(path, part))
    lines.append("## What a condition may look at\n")
    lines.append("| name | type | what |\n|---|---|---|")
    lines += [
        f"| `{name}` | {_type(kind)} | {_VARIABLES[name]} |" for name, kind in VARIABLES.items()
    ]
    lines += [
        f"\n## What happened so far\n\n{_TRAJECTORY}",
        "| `trajectory.` | type | what |\n|---|---|---|",
        *(f"| `{name}` | {_FIELDS[kind]} | {said} |" for name, kind, said in TRAJECTORY_FIELDS),
        "\n| a step's | type | what |\n|---|---|---|",
        *(f"| `{name}` | {_FIELDS[kind]} | {said} |" for name, kind, said in STEP_FIELDS),
    ]
    return "\n".join(lines) + "\n"


def _type(kind: Any) -> str:  # noqa: ANN401 - the library ships no types
    return str(kind.name()).lower().removeprefix("ostiary.")


_FIELDS = {
    "STRING": "string",
    "INT64": "int",
    "BOOL": "bool",
    "MAP": "map<string, double>",
    "STEPS": "list of steps",
}
_TRAJECTORY = """\
In the history that was sent again and in the reply so far. In a rule whose condition looks at
`call`, only calls that the model makes now are judged: those of the history were judged when
they were made. Results and calls of the history get their scores at stages `tool_result` and
`tool_call`, in this order; before that all of them are unknown.
"""


def _section(path: str, part: type[Part]) -> Iterator[str]:
    said = (part.__doc__ or "").strip().partition("\n")[0]
    yield f"### `{path}`\n" if path else "### The file\n"
    yield f"{said}\n"
    yield "| key | what it is | default | |\n|---|---|---|---|"
    for name, field in part.model_fields.items():
        yield (
            f"| `{field.alias or name}` | {_kind(field.annotation)} | {_default(field)} "
            f"| {_told(field)} |"
        )
    yield ""


def _parts(part: type[Part], path: str) -> Iterator[tuple[str, type[Part]]]:
    """Yield every part of a file with its path, each part once and in the order it is met."""
    seen: set[type[Part]] = set()
    waiting: list[tuple[str, type[Part]]] = [(path, part)]
    while waiting:
        where, model = waiting.pop(0)
        if model in seen:
            continue
        seen.add(model)
        yield where, model
        for name, field in model.model_fields.items():
            for inner, mark in _models(field.annotation):
                key = f"{where}.{field.alias or name}" if where else field.alias or name
                waiting.append((key + mark, inner))


def _models(kind: Any, mark: str = "") -> Iterator[tuple[type[Part], str]]:  # noqa: ANN401 - a type
    if isinstance(kind, type) and issubclass(kind, Part):
        yield kind, mark
        return
    inner = _MANY.get(get_origin(kind), "")
    for argument in get_args(kind):
        if not isinstance(argument, str):
            yield from _models(argument, mark + inner)


def _kind(kind: Any) -> str:  # noqa: ANN401 - a type
    for alias, words in _SPELLINGS:
        if kind in (alias, get_args(alias)[0]):
            return words
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        return "mapping"
    return _PLAIN.get(kind) or _composed(get_origin(kind), get_args(kind))


def _composed(origin: Any, arguments: tuple[Any, ...]) -> str:  # noqa: ANN401 - a type
    if origin is Literal:
        return ", ".join(f"`{word}`" for word in arguments)
    if origin is list:
        return f"list of {_kind(arguments[0])}"
    if origin is dict:
        return f"by name: {_kind(arguments[1])}"
    if origin is Annotated:
        return _kind(arguments[0])
    return " or ".join(dict.fromkeys(_kind(each) for each in arguments if each is not NoneType))


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "needed"
    value = field.default
    if value is None or value in ("", [], {}) or isinstance(value, BaseModel):
        return ""
    return f"`{str(value).lower() if isinstance(value, bool) else value}`"


def _told(field: FieldInfo) -> str:
    return " ".join((field.description or "").split())


if __name__ == "__main__":
    sys.stdout.write(reference())
