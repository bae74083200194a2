"""Finds what contradicts itself in `tools`, `flows` and `limits` of a policy file. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from policies.agent_rules import (
    MEASURES,
    derived_ids,
    flow_condition,
    limit_stage,
    written_entries,
)
from policies.agent_schema import AfterEntry, ArgumentEntry, FlowEntry, LimitEntry, ToolsEntry
from policies.arguments import BadExpression, compiled
from policies.conditions import ConditionError
from policies.declarations import Known, unknown_category
from policies.document import Document, Path, Problem
from policies.rule_schema import SpecialAction
from policies.schema import PolicyDocument
from policies.test_checks import About, mistested
from policies.words import BESIDE


def misconducted(parsed: PolicyDocument, document: Document, known: Known) -> Iterator[Problem]:
    """Yield the mistakes in what a file says about what agents do."""
    yield from _names(parsed, document)
    call = About(("tool_call",), factual=True)
    if parsed.tools is not None:
        yield from _tools(parsed.tools, document)
        yield from mistested(parsed.tools.tests, call, known, document, ("tools", "tests"))
    for number, treated in enumerate(parsed.results):
        if treated.cut_at is None and treated.spotlight == "none":
            yield Problem(*document.place(("results", number)), "this leaves results as they are")
    for number, flow in enumerate(parsed.flows):
        yield from _flow(flow, known, document, ("flows", number))
    for number, limit in enumerate(parsed.limits):
        yield from _limit(limit, document, ("limits", number))
    for path, each in written_entries(parsed.tools, parsed.flows, parsed.limits):
        about = call
        if isinstance(each, LimitEntry) and _measures(each):
            about = About((limit_stage(each),), factual=True)
        yield from mistested(each.tests, about, known, document, (*path, "tests"))


def _names(parsed: PolicyDocument, document: Document) -> Iterator[Problem]:
    """Ids of what becomes a rule are taken once, whichever section it stands in."""
    taken = {rule.id: document.place(("rules", at))[0] for at, rule in enumerate(parsed.rules)}
    derived = set(derived_ids(parsed))
    for name in sorted(derived & taken.keys()):
        yield Problem(taken[name], 1, f"id `{name}` is taken: a part of `tools` or `flows` has it")
    for path, each in written_entries(parsed.tools, parsed.flows, parsed.limits):
        line, column = document.place((*path, "id"))
        if each.id in derived:
            yield Problem(
                line, column, f"id `{each.id}` is taken: a part of `tools` or `flows` has it"
            )
        if each.id in taken:
            yield Problem(line, column, f"id `{each.id}` is taken in line {taken[each.id]}")
        taken.setdefault(each.id, line)


def _tools(entry: ToolsEntry, document: Document) -> Iterator[Problem]:
    for key in ("unlisted", "malformed"):
        yield from _actions(getattr(entry, key), document, ("tools", key))
    for number, listed in enumerate(entry.listed):
        path: Path = ("tools", "listed", number)
        yield from _actions(listed.actions, document, (*path, "actions"))
        yield from _actions(listed.otherwise or [], document, (*path, "otherwise"))
        if listed.otherwise is not None and not listed.arguments:
            message = "without `arguments` there are no other calls of it: `otherwise` does nothing"
            yield Problem(*document.place((*path, "otherwise")), message)
        for pointer, test in listed.arguments.items():
            yield from _argument(test, document, (*path, "arguments", pointer))


def _argument(test: ArgumentEntry, document: Document, path: Path) -> Iterator[Problem]:
    said = test.model_dump(exclude_none=True)
    if not said:
        yield Problem(*document.place(path, of_key=True), "this asks nothing of the argument")
    for key in ("matches", "contains"):
        if key in said:
            try:
                compiled(said[key])
            except BadExpression as error:
                yield Problem(*document.place((*path, key)), f"this is not RE2: {error}")
    if said.keys() & {"at_least", "at_most"} and said.keys() & {"matches", "contains", "like"}:
        yield Problem(*document.place(path, of_key=True), "an argument is a text or a number")


def _flow(flow: FlowEntry, known: Known, document: Document, path: Path) -> Iterator[Problem]:
    yield from _actions(flow.actions, document, (*path, "actions"))
    yield from _actions([flow.on_unsupported_language], document, (*path, "actions"))
    after = (*path, "after")
    mistakes = list(_after(flow.after, known, document, after))
    yield from mistakes
    if not mistakes:
        try:
            flow_condition(flow, lenient=True)
        except ConditionError as error:
            yield Problem(*document.place(path), str(error))


def _after(after: AfterEntry, known: Known, document: Document, path: Path) -> Iterator[Problem]:
    if (after.result_of is None) == (after.call_of is None):
        message = "what happened before is either `result_of` or `call_of` some functions"
        yield Problem(*document.place(path), message)
    if (after.category is None) != (after.gte is None):
        yield Problem(*document.place(path), "`category` and `gte` come together")
    if after.category is not None:
        yield from unknown_category(after.category, known, document, (*path, "category"))
    if after.within == "reply" and after.call_of is None:
        message = "a result is never of the reply: it came with the request"
        yield Problem(*document.place((*path, "within")), message)


def _limit(limit: LimitEntry, document: Document, path: Path) -> Iterator[Problem]:
    yield from _actions(limit.actions, document, (*path, "actions"))
    measures = _measures(limit)
    if len(measures) != 1:
        listed = ", ".join(f"`{name}`" for name in MEASURES)
        yield Problem(*document.place(path), f"a limit is about exactly one of {listed}")
    elif measures[0] == "reasoning_chars" and (limit.tools or limit.per != "reply"):
        message = "thoughts are counted in one reply, and belong to no function: `per: reply`"
        yield Problem(*document.place(path), message)
    elif measures[0].endswith("result_chars") and limit.per == "reply":
        message = "a result is never of the reply: it came with the request"
        yield Problem(*document.place((*path, "per")), message)


def _measures(limit: LimitEntry) -> list[str]:
    return [name for name in MEASURES if getattr(limit, name) is not None]


def _actions(actions: Sequence[object], document: Document, path: Path) -> Iterator[Problem]:
    """What is decided without a find has nothing to hide, and says one thing."""
    main = [word for word in actions if isinstance(word, str) and word not in BESIDE]
    named = [each.given for each in actions if isinstance(each, SpecialAction)]
    if "redact" in main or any("redact" in given for given in named):
        yield Problem(*document.place(path), "there is nothing to `redact` here; use `block`")
    if len(main) > 1:
        message = "one main action is taken"
        yield Problem(*document.place(path), message)
    if any("escalate" not in given for given in named if "redact" not in given):
        yield Problem(*document.place(path), "`disclaim` has no reply to stand behind here")
