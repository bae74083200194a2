"""The rules that `tools`, `flows` and `limits` of a policy file become. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from policies.agent_rules import (
    FLOWS,
    LIMITS,
    MALFORMED,
    OTHERWISE,
    TOOLS,
    UNLISTED,
    UNREAD,
    flow_condition,
    limit_condition,
    limit_stage,
    malformed_condition,
    tool_conditions,
    unlisted_condition,
    unread_condition,
)
from policies.agent_schema import Actions, ConductEntry, FlowEntry, ToolEntry, ToolsEntry
from policies.conditions import Condition
from policies.rule_parts import band_of, messages_of, resolved, scope_of
from policies.rule_schema import BandEntry, Canary
from policies.schema import PolicyDocument
from policies.terms import Spotlight, Terms, Treatment
from policies.types import Mode, Rule, Stage

TOOL_CODE = "tool_call_denied"


def conduct(parsed: PolicyDocument) -> Iterator[Rule]:
    """Yield the rules that `tools`, `flows` and `limits` stand for."""
    origin = parsed.metadata.id
    if parsed.tools is not None:
        yield from _of_list(parsed.tools, origin)
        for listed in parsed.tools.listed:
            yield from _of_tools(listed, parsed.tools, origin)
    for flow in parsed.flows:
        yield from _of_flow(flow, parsed)
    for limit in parsed.limits:
        stage, when = limit_stage(limit), limit_condition(limit)
        yield _factual(limit, limit.code, (LIMITS, stage, limit.actions), when, origin)


def terms_of(parsed: PolicyDocument) -> Terms:
    """Return what a file says of tools and results before anything is decided."""
    tools = parsed.tools
    return Terms(
        tuple(
            Treatment(tuple(each.tools), each.cut_at, Spotlight[each.spotlight.upper()])
            for each in parsed.results
        ),
        (tuple(name for each in tools.listed for name in each.tools),)
        if tools is not None and tools.offered == "listed"
        else (),
    )


def _of_flow(entry: FlowEntry, parsed: PolicyDocument) -> Iterator[Rule]:
    """Yield the flow, and what is done where a language was not read, if that is another thing."""
    stage, origin = Stage.TOOL_CALL, parsed.metadata.id
    unread = entry.on_unsupported_language
    if unread is None and (given := parsed.defaults.on_unsupported_language) is not None:
        unread = resolved(given, {})[stage].name.lower()  # type: ignore[assignment]  # its name
    lenient = entry.after.category is not None and unread is not None
    when = flow_condition(entry, lenient=lenient)
    yield _factual(entry, entry.code, (FLOWS, stage, entry.actions), when, origin)
    if lenient and unread:
        own = entry.model_copy(update={"id": f"{entry.id}{UNREAD}"})
        yield _factual(own, entry.code, (FLOWS, stage, [unread]), unread_condition(entry), origin)


def _of_list(entry: ToolsEntry, origin: str) -> Iterator[Rule]:
    for suffix, actions, when in (
        (UNLISTED, entry.unlisted, unlisted_condition(entry)),
        (MALFORMED, entry.malformed, malformed_condition()),
    ):
        own = ConductEntry(id=f"{entry.id}{suffix}", locked=entry.locked, message=entry.message)
        yield _factual(own, TOOL_CODE, (TOOLS, Stage.TOOL_CALL, actions), when, origin)


def _of_tools(entry: ToolEntry, within: ToolsEntry, origin: str) -> Iterator[Rule]:
    fits, differs = tool_conditions(entry)
    yield _factual(entry, entry.code, (TOOLS, Stage.TOOL_CALL, entry.actions), fits, origin)
    if entry.arguments:
        actions = entry.otherwise or within.unlisted
        other = entry.model_copy(update={"id": f"{entry.id}{OTHERWISE}"})
        yield _factual(other, entry.code, (TOOLS, Stage.TOOL_CALL, actions), differs, origin)


def _factual(
    entry: ConductEntry, code: str, does: tuple[str, Stage, Actions], when: Condition, origin: str
) -> Rule:
    category, stage, actions = does
    band = band_of(BandEntry(gte=1.0, actions=actions))
    return Rule(
        id=entry.id,
        category=category,
        stages=frozenset({stage}),
        bands=(band,),
        on_unavailable=dict.fromkeys(Stage, band.action),
        mode=Mode.CANARY if isinstance(entry.mode, Canary) else Mode(entry.mode),
        canary_percent=entry.mode.canary if isinstance(entry.mode, Canary) else 100,
        scope=scope_of(entry.scope),
        when=when,
        factual=True,
        locked=entry.locked,
        exemptible=entry.exemptible,
        origin=origin,
        code=code,
        **messages_of(entry.message),
    )
