"""Finds what is wrong in the sections beside the rules, and in what rules say of them.

Exceptions, redactors, disclaimers, the ladder, dates and conditions: each name has to be
declared, each moment has to exist, and what is for a while has to end after it began.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from policies.agent_rules import exemptible_in, used_categories
from policies.compile import instant
from policies.conditions import VARIABLES, ConditionError, compile_condition
from policies.document import Document, Path, Problem
from policies.ladder import Sanction
from policies.mistakes import suggestion
from policies.rule_schema import RuleEntry, SpecialAction
from policies.schema import EnforcementEntry, ExceptionEntry, PolicyDocument
from policies.types import Policy

# What an exception may leave of a rule. A redaction says where, which a block does not.
MILD = ("allow", "flag", "warn")


@dataclass(frozen=True, slots=True)
class Known:
    """Names that a file may use: its own and those of the policies that it includes.

    Attributes:
        categories: Ids.
        exemptible: For each rule's id, whether an exception may touch it.
        redactors: Names.
        disclaimers: Names.
    """

    categories: Collection[str]
    exemptible: Mapping[str, bool]
    redactors: Collection[str]
    disclaimers: Collection[str]

    @classmethod
    def of(cls, parsed: PolicyDocument, included: Sequence[Policy]) -> Known:
        """Return what `parsed` may name."""
        own = {rule.id: rule.exemptible for rule in parsed.rules} | exemptible_in(parsed)
        inherited = {rule.id: rule.exemptible for policy in included for rule in policy.rules}
        return cls(
            {
                *parsed.categories,
                *used_categories(parsed),
                *(name for policy in included for name in policy.categories),
            },
            {**inherited, **own},
            {*parsed.redactors, *(name for policy in included for name in policy.redactors)},
            {*parsed.disclaimers, *(name for policy in included for name in policy.disclaimers)},
        )


def unknown_category(
    category: str, known: Known, document: Document, path: Path
) -> Iterator[Problem]:
    """Yield that there is no such category, if there is none."""
    if category not in known.categories:
        place = document.place(path, of_key=category == path[-1])
        hint = suggestion(category, known.categories)
        yield Problem(*place, f"unknown category `{category[:80]}`{hint}")


def misdeclared(parsed: PolicyDocument, document: Document, known: Known) -> Iterator[Problem]:
    """Yield the mistakes in the sections beside the rules."""
    if not (parsed.rules or parsed.includes or parsed.results or exemptible_in(parsed)):
        yield Problem(1, 1, "a policy needs a rule, or a policy that it includes")
    effective = parsed.metadata.effective
    path: Path = ("metadata", "effective")
    yield from _period(effective.from_, effective.until, document, path)
    yield from _twice([each.id for each in parsed.includes], document, "includes")
    yield from _twice([each.id for each in parsed.exceptions], document, "exceptions")
    for number, entry in enumerate(parsed.exceptions):
        yield from _exception(entry, document, ("exceptions", number), known)
    for name, words in parsed.disclaimers.items():
        yield from _words(words, document, ("disclaimers", name))
    if parsed.enforcement is not None:
        yield from _ladder(parsed.enforcement, document)


def misused(rule: RuleEntry, document: Document, path: Path, known: Known) -> Iterator[Problem]:
    """Yield the mistakes in what a rule says of names, languages, moments and conditions."""
    if rule.when is not None:
        yield from _condition(rule.when, document.place((*path, "when")), rule.stages)
    for audience in ("user", "developer"):
        words = getattr(rule.message, audience)
        yield from _words(words, document, (*path, "message", audience))
    for index, test in enumerate(rule.tests):
        at = (*path, "tests", index, "given", "at")
        yield from _period(test.given.at, None, document, at)
    for number, band in enumerate(rule.bands):
        for index, action in enumerate(band.actions):
            if isinstance(action, SpecialAction):
                place = (*path, "bands", number, "actions", index)
                yield from _special(action, document, place, known)


def _special(
    action: SpecialAction, document: Document, path: Path, known: Known
) -> Iterator[Problem]:
    if len(action.given) != 1:
        yield Problem(
            *document.place(path),
            "an action with a name in it is one of `escalate`, `redact` and `disclaim`",
        )
    for key, names in (("redact", known.redactors), ("disclaim", known.disclaimers)):
        name = action.given.get(key)
        if name is not None and name not in names:
            noun = {"redact": "redactor", "disclaim": "disclaimer"}[key]
            place = document.place((*path, key))
            yield Problem(*place, f"unknown {noun} `{name}`{suggestion(name, names)}")


def _condition(text: str, place: tuple[int, int], stages: Collection[str]) -> Iterator[Problem]:
    try:
        if compile_condition(text).of_call and set(stages) != {"tool_call"}:
            message = (
                "`when`: a `call` is made at `tool_call`; the rule has to watch that stage alone"
            )
            yield Problem(*place, message)
    except ConditionError as error:
        hint = suggestion(error.name, VARIABLES) if error.name else ""
        at = f" at character {error.offset + 1}" if error.offset else ""
        yield Problem(*place, f"`when`: {error}{at}{hint}")


def _words(words: str | Mapping[str, str], document: Document, path: Path) -> Iterator[Problem]:
    if isinstance(words, str):
        return
    if "default" not in words:
        yield Problem(*document.place(path), "texts by language need one for `default`")
    yield from _same_tags(words, document, path)


def _same_tags(words: Mapping[str, str], document: Document, path: Path) -> Iterator[Problem]:
    seen: set[str] = set()
    for tag in words:
        if tag.casefold() in seen:
            place = document.place((*path, tag), of_key=True)
            yield Problem(*place, f"language `{tag}` is given twice")
        seen.add(tag.casefold())


def _period(
    since: str | None, until: str | None, document: Document, path: Path
) -> Iterator[Problem]:
    """Both ends have to be moments, and the second one comes after the first."""
    moments = []
    for key, text in (("from", since), ("until", until)):
        if text is None:
            continue
        try:
            moments.append(instant(text))
        except ValueError:
            yield Problem(*document.place((*path, key)), f"there is no moment `{text}`")
    if len(moments) == 2 and moments[1] <= moments[0]:
        yield Problem(*document.place((*path, "until")), "`until` has to come after `from`")


def _twice(ids: Sequence[str], document: Document, section: str) -> Iterator[Problem]:
    for number, name in enumerate(ids):
        if name in ids[:number]:
            place = document.place((section, number, "id"))
            yield Problem(*place, f"`{name}` is listed twice")


def _exception(
    entry: ExceptionEntry, document: Document, path: Path, known: Known
) -> Iterator[Problem]:
    yield from _period(entry.from_, entry.until, document, path)
    place = document.place((*path, "rule"))
    if entry.rule not in known.exemptible:
        hint = suggestion(entry.rule, known.exemptible)
        yield Problem(*place, f"unknown rule `{entry.rule}`{hint}")
    elif not known.exemptible[entry.rule]:
        yield Problem(*place, f"rule `{entry.rule}` is not exemptible")
    if entry.action not in MILD:
        allowed = ", ".join(f"`{word}`" for word in MILD)
        message = f"an exception leaves one of {allowed}, not `{entry.action}`"
        yield Problem(*document.place((*path, "action")), message)
    approvers = {name.strip().casefold() for name in entry.approved_by}
    if len(approvers) < 2:
        message = "an exception needs two different approvers"
        yield Problem(*document.place((*path, "approved_by")), message)


def _ladder(entry: EnforcementEntry, document: Document) -> Iterator[Problem]:
    steps = entry.strikes.ladder
    path: Path = ("enforcement", "strikes", "ladder")
    for number, (lower, upper) in enumerate(pairwise(steps), 1):
        place = document.place((*path, number))
        if upper.at <= lower.at:
            yield Problem(*place, "steps go up: `at` has to be more than in the step before")
        elif Sanction[upper.do.upper()] < Sanction[lower.do.upper()]:
            yield Problem(*place, "of two steps, the higher one must not be the milder one")
