"""Turns `tools`, `flows` and `limits` of a policy file into rules. Pure.

Each becomes a rule whose condition alone decides. So all that holds of rules holds of them:
scopes, shadows, canaries, exceptions, locks, and that the strictest one wins. Where such a
condition cannot be told, the rule does what it does where it holds: a result that nobody
could score counts as one that scored high, and arguments that cannot be read as forbidden.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence

from policies.agent_schema import (
    ConductEntry,
    FlowEntry,
    LimitEntry,
    ToolEntry,
    ToolsEntry,
)
from policies.arguments import ArgumentTest, all_hold, well_formed
from policies.circumstances import is_named
from policies.conditions import Condition, compile_condition, told
from policies.schema import PolicyDocument
from policies.trail import Step, Trail
from policies.types import Category, Stage

FLOWS, LIMITS, TOOLS = "agent.data_flow", "agent.limits", "agent.tools"
CATEGORIES = {
    FLOWS: Category(FLOWS, "high", "What came in with one call must not go out with another."),
    LIMITS: Category(LIMITS, "medium", "An agent that does not end costs, and may do harm."),
    TOOLS: Category(TOOLS, "high", "What a model can call is what it can do."),
}
MEASURES = ("calls", "same_call", "result_chars", "one_result_chars", "reasoning_chars")
_STAGES = {
    "calls": Stage.TOOL_CALL,
    "same_call": Stage.TOOL_CALL,
    "result_chars": Stage.TOOL_RESULT,
    "one_result_chars": Stage.TOOL_RESULT,
    "reasoning_chars": Stage.REASONING,
}
_PERIODS = {"conversation": "", "turn": ".turns_ago == 0", "reply": ".new"}
UNLISTED, MALFORMED, OTHERWISE = ".unlisted", ".malformed", ".otherwise"
UNREAD = ".unread"


def flow_condition(entry: FlowEntry, *, lenient: bool = False) -> Condition:
    """Return the condition that a flow stands for, in CEL.

    Args:
        entry: The flow.
        lenient: Whether what was not scored for want of a language goes by what came of scores.
    """
    after = entry.after
    steps, names = ("calls", after.call_of) if after.call_of else ("results", after.result_of)
    parts = [_named("s.tool", names or ["*"])]
    if after.category is not None:
        category = _text(after.category)
        score = f"s.scores[{category}]"
        if lenient:
            score = f"({category} in s.unread ? s.unread[{category}] : {score})"
        parts.append(f"{score} >= {float(after.gte or 0.0)!r}")
    return _before(entry, parts, steps)


def unread_condition(entry: FlowEntry) -> Condition:
    """Return when what comes before in a flow was not scored for want of a language."""
    after = entry.after
    steps, names = ("calls", after.call_of) if after.call_of else ("results", after.result_of)
    parts = [_named("s.tool", names or ["*"]), f"{_text(after.category or '')} in s.unread"]
    return _before(entry, parts, steps)


def _before(entry: FlowEntry, parts: list[str], steps: str) -> Condition:
    if _PERIODS[entry.after.within]:
        parts.insert(1, f"s{_PERIODS[entry.after.within]}")
    before = f"trajectory.{steps}.exists(s, {' && '.join(parts)})"
    return compile_condition(f"{_named('call.tool', entry.calls_to)} && {before}")


def limit_condition(entry: LimitEntry) -> Condition:
    """Return the condition that a limit stands for."""
    measure = measure_of(entry)
    most = int(getattr(entry, measure))
    of_call = _STAGES[measure] is Stage.TOOL_CALL
    beyond = _Beyond(entry, measure, most)
    what = _in_words(entry, measure)
    text, bound = f"more than {most} {what}", (what, most)
    return told(text, beyond.told, of_call=of_call, bound=bound)


def measure_of(entry: LimitEntry) -> str:
    """Return what a limit is about."""
    return next(name for name in MEASURES if getattr(entry, name) is not None)


def limit_stage(entry: LimitEntry) -> Stage:
    """Return where a limit is looked at."""
    return _STAGES[measure_of(entry)]


def _in_words(entry: LimitEntry, measure: str) -> str:
    of = f" of {', '.join(entry.tools)}" if entry.tools else ""
    what = {
        "calls": f"calls{of}",
        "same_call": f"calls{of} with the same arguments",
        "result_chars": f"characters of results{of}",
        "one_result_chars": f"characters of one result{of}",
        "reasoning_chars": "characters of thought",
    }[measure]
    period = "reply" if measure == "reasoning_chars" else entry.per
    return f"{what} in the {period}"


class _Beyond:
    """Tells whether a measure goes beyond its limit."""

    def __init__(self, entry: LimitEntry, measure: str, most: int) -> None:
        self._entry, self._measure, self._most = entry, measure, most

    def told(self, trail: Trail) -> bool | None:
        measures: Mapping[str, Callable[[Trail], int]] = {
            "calls": self._calls,
            "same_call": self._same_call,
            "result_chars": self._result_chars,
            "one_result_chars": self._one_result_chars,
            "reasoning_chars": self._reasoning_chars,
        }
        return measures[self._measure](trail) > self._most

    def _counting(self, steps: Sequence[Step]) -> list[Step]:
        per, tools = self._entry.per, self._entry.tools
        return [
            step
            for step in steps
            if (per == "conversation" or (step.turns_ago == 0 if per == "turn" else step.new))
            and (tools is None or is_named(tuple(tools), step.tool))
        ]

    def _calls(self, trail: Trail) -> int:
        own = self._counting([trail.call]) if trail.call else []
        return len(self._counting(trail.calls)) + 1 if own else 0

    def _same_call(self, trail: Trail) -> int:
        if trail.call is None or not self._counting([trail.call]):
            return 0
        same = trail.call.digest
        return 1 + sum(step.digest == same for step in self._counting(trail.calls))

    def _result_chars(self, trail: Trail) -> int:
        return sum(step.chars for step in self._counting(trail.results))

    def _one_result_chars(self, trail: Trail) -> int:
        return max((step.chars for step in self._counting(trail.results)), default=0)

    def _reasoning_chars(self, trail: Trail) -> int:
        return trail.reasoning_chars


def tool_conditions(entry: ToolEntry) -> tuple[Condition, Condition]:
    """Return when a call of listed functions is as the list says, and when it is not."""
    tools, tests = tuple(entry.tools), argument_tests(entry)

    def fits(trail: Trail) -> bool | None:
        if trail.call is None or not is_named(tools, trail.call.tool):
            return False
        return all_hold(tests, trail.arguments)

    def differs(trail: Trail) -> bool | None:
        if trail.call is None or not is_named(tools, trail.call.tool):
            return False
        fitting = all_hold(tests, trail.arguments)
        return None if fitting is None else not fitting

    words = _call_in_words(entry)
    return told(words, fits, of_call=True), told(f"{words}: not so", differs, of_call=True)


def argument_tests(entry: ToolEntry) -> tuple[ArgumentTest, ...]:
    """Return what the arguments of listed functions have to be."""
    return tuple(
        ArgumentTest(
            pointer,
            test.matches,
            test.contains,
            tuple(test.like) if test.like else None,
            test.at_least,
            test.at_most,
        )
        for pointer, test in entry.arguments.items()
    )


def _call_in_words(entry: ToolEntry) -> str:
    called = f"a call of {', '.join(entry.tools)}"
    tests = {
        pointer: test.model_dump(exclude_none=True) for pointer, test in entry.arguments.items()
    }
    said = json.dumps(tests, sort_keys=True, ensure_ascii=False)
    return f"{called} where {said}" if tests else called


def unlisted_condition(entry: ToolsEntry) -> Condition:
    """Return when a function is called that is not listed."""
    known = tuple(name for each in entry.listed for name in each.tools)

    def strange(trail: Trail) -> bool | None:
        return trail.call is not None and not is_named(known, trail.call.tool)

    listed = ", ".join(sorted(known)) or "nothing"
    return told(f"a call of something else than {listed}", strange, of_call=True)


def malformed_condition() -> Condition:
    """Return when the arguments of a call cannot be read."""

    def malformed(trail: Trail) -> bool | None:
        return trail.call is not None and not well_formed(trail.arguments)

    return told("arguments that are not one JSON object", malformed, of_call=True)


def _named(value: str, patterns: Sequence[str]) -> str:
    """Return CEL for: a name is one of these."""
    if "*" in patterns:
        return f'{value} != ""'
    if not any("*" in name for name in patterns):
        return f"{value} in [{', '.join(map(_text, patterns))}]"
    names = [".*".join(map(_escaped, name.split("*"))) for name in patterns]
    expression = names[0] if len(names) == 1 else f"({'|'.join(names)})"
    return f"{value}.matches({_text(f'^{expression}$')})"


def _escaped(text: str) -> str:
    return "".join(mark if mark.isalnum() or mark in "_-" else f"[{mark}]" for mark in text)


def _text(said: str) -> str:
    return json.dumps(said)


def written_entries(
    tools: ToolsEntry | None, flows: Sequence[FlowEntry], limits: Sequence[LimitEntry]
) -> Iterator[tuple[tuple[str | int, ...], ConductEntry]]:
    """Yield every part with an id of its own, and where it stands."""
    for number, each in enumerate(tools.listed if tools else ()):
        yield ("tools", "listed", number), each
    for number, flow in enumerate(flows):
        yield ("flows", number), flow
    for number, limit in enumerate(limits):
        yield ("limits", number), limit


def exemptible_in(parsed: PolicyDocument) -> dict[str, bool]:
    """Return the ids of the rules that the sections become: whether exceptions may touch them."""
    found = {
        each.id: each.exemptible
        for _, each in written_entries(parsed.tools, parsed.flows, parsed.limits)
    }
    return {**found, **derived_ids(parsed)}


def derived_ids(parsed: PolicyDocument) -> dict[str, bool]:
    """Return the ids that sections give by themselves: whether exceptions may touch these."""
    found = {f"{flow.id}{UNREAD}": flow.exemptible for flow in parsed.flows if flow.after.category}
    if parsed.tools is not None:
        listed = parsed.tools.listed
        found |= {f"{each.id}{OTHERWISE}": each.exemptible for each in listed if each.arguments}
        found |= {f"{parsed.tools.id}{suffix}": True for suffix in (UNLISTED, MALFORMED)}
    return found


def used_categories(parsed: PolicyDocument) -> dict[str, Category]:
    """Return the categories of the rules that the sections become."""
    sections = ((TOOLS, parsed.tools), (FLOWS, parsed.flows), (LIMITS, parsed.limits))
    return {name: CATEGORIES[name] for name, used in sections if used}
