"""Labelled examples: what a policy finds of what it should, and of what only looks alike. Pure.

Inline tests say what has to be so; a labelled set says how often it is. It stands beside the
policy, `examples/<policy>.csv`, with the shares that have to be kept in
`examples/floors.toml`. A rule finds an example if it holds it back or hides it, or, where it
never does, if it does the most that it ever does: a rule that only marks finds what it marks.
Where a judge that it needs gave no answer, what the policy does then is counted, and said.
"""

from __future__ import annotations

import csv
import io
import json
import tomllib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from pydantic import ValidationError

from classifiers.types import NO_SECRETS, Passage, Secrets
from policies.apply import apply
from policies.circumstances import ANYBODY, Circumstances
from policies.compile import circumstances_of, past_of, secrets_of
from policies.evaluate import evaluate
from policies.mistakes import suggestion
from policies.rule_schema import CircumstancesEntry, Given
from policies.testing import NO_PAST, SOURCE_AT, Judge, Past
from policies.types import Action, Policy, Rule, Stage
from policies.words import Part, Probability

# What a column may be called, the best name first.
COLUMNS: Mapping[str, tuple[str, ...]] = {
    "text": ("text", "content", "prompt"),
    "label": ("label", "violation", "violates"),
    "id": ("id",),
    "stage": ("stage",),
    "category": ("category",),
    "rule": ("rule",),
    "given": ("given",),
}
LABELS: Mapping[str, bool] = {
    **dict.fromkeys(("1", "true", "yes", "violates", "violation", "unsafe"), True),
    **dict.fromkeys(("0", "false", "no", "safe"), False),
}
MAX_CHARS = 20_000

_LONG_AFTER = datetime.max.replace(tzinfo=UTC)  # every exception has ended


class ExamplesError(ValueError):
    """A labelled set, or its floors, cannot be used; the message names file and line."""


@dataclass(frozen=True, slots=True)
class Example:
    """One text, and whether it should be found.

    Attributes:
        id: As its author calls it, or the number of its line.
        text: What is judged.
        label: Whether it should be found.
        stage: Where it stands.
        category: What it is, or only looks like; empty where the set does not say.
        rule: The only rule that it is for; empty means every rule on its category.
        past: What happened before.
        secrets: What the model was told.
        line: Where it stands in the file, from 1.
    """

    id: str
    text: str
    label: bool
    stage: Stage = Stage.INPUT
    category: str = ""
    rule: str = ""
    past: Past = NO_PAST
    secrets: Secrets = NO_SECRETS
    line: int = 1


@dataclass(frozen=True, slots=True)
class Floor:
    """What a policy has to show on its labelled set.

    Attributes:
        recall: At least this share of what should be found, is.
        false_positives: At most this share of what should not be found, is.
        circumstances: Who asks.
    """

    recall: float = 0.0
    false_positives: float = 1.0
    circumstances: Circumstances = ANYBODY


@dataclass(frozen=True, slots=True)
class ExampleOutcome:
    """What became of one example.

    Attributes:
        example: The example.
        action: What was decided.
        found: For each rule that it is for, whether the rule found it.
        undecided: Those of them that went by their `on_unavailable`.
    """

    example: Example
    action: Action
    found: Mapping[str, bool]
    undecided: frozenset[str] = frozenset()


@dataclass(slots=True)
class Tally:
    """How many examples were found, and how many of them for want of an answer."""

    caught: int = 0
    missed: int = 0
    flagged: int = 0
    passed: int = 0
    undecided: int = 0

    @property
    def positives(self) -> int:
        """Return how many should be found."""
        return self.caught + self.missed

    @property
    def negatives(self) -> int:
        """Return how many should not."""
        return self.flagged + self.passed

    def add(self, label: bool, found: bool, undecided: bool) -> None:
        """Count one example."""
        if label:
            self.caught += found
            self.missed += not found
        else:
            self.flagged += found
            self.passed += not found
        self.undecided += undecided


@dataclass(frozen=True, slots=True)
class Tallies:
    """The examples of a policy, together and for each rule that some are for."""

    whole: Tally
    rules: Mapping[str, Tally] = field(default_factory=dict)


class _FloorEntry(Part):
    recall: Probability = 0.0
    false_positives: Probability = 1.0
    circumstances: CircumstancesEntry = CircumstancesEntry()


def read_examples(content: bytes, name: str, category: str = "") -> tuple[Example, ...]:
    """Read a labelled set: CSV with a header, columns found by their names.

    Args:
        content: UTF-8.
        name: What to call the file in messages.
        category: What the rows are about where no column says so.

    Raises:
        ExamplesError: If it is not such a file; names the line.
    """
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        broken = content.count(b"\n", 0, error.start) + 1
        raise ExamplesError(f"{name}:{broken}: the file is not UTF-8") from error
    rows = csv.reader(io.StringIO(text, newline=""), strict=True)
    try:
        header = [cell.strip().casefold() for cell in next(rows, [])]
        columns = _columns(header, name)
        examples, line = [], rows.line_num
        for row in rows:
            if any(cell.strip() for cell in row):
                cells = _cells(row, header, columns, f"{name}:{line + 1}")
                examples.append(_example(cells, category, f"{name}:{line + 1}", line + 1))
            line = rows.line_num
    except csv.Error as error:
        raise ExamplesError(f"{name}:{rows.line_num}: {error}") from error
    if not examples:
        raise ExamplesError(f"{name}:1: there are no examples")
    return tuple(examples)


def _columns(header: Sequence[str], name: str) -> dict[str, int]:
    found = {
        what: next((header.index(known) for known in names if known in header), None)
        for what, names in COLUMNS.items()
    }
    for what in ("text", "label"):
        if found[what] is None:
            names = ", ".join(f"`{known}`" for known in COLUMNS[what])
            raise ExamplesError(f"{name}:1: there is no column {names}")
    return {what: place for what, place in found.items() if place is not None}


def _cells(
    row: Sequence[str], header: Sequence[str], columns: Mapping[str, int], where: str
) -> dict[str, str]:
    if len(row) != len(header):
        raise ExamplesError(f"{where}: the header has {len(header)} columns, this row {len(row)}")
    return {what: row[place] for what, place in columns.items()}


def _example(cells: Mapping[str, str], category: str, where: str, line: int) -> Example:
    said = cells["label"].strip().casefold()
    if said not in LABELS:
        raise ExamplesError(f"{where}: a label is 1 or 0, not `{said[:40]}`")
    if not cells["text"].strip() or len(cells["text"]) > MAX_CHARS:
        raise ExamplesError(f"{where}: a text has 1 to {MAX_CHARS} characters")
    stage = cells.get("stage", "").strip() or Stage.INPUT
    if stage not in set(Stage):
        raise ExamplesError(f"{where}: unknown stage `{stage[:40]}`{suggestion(stage, Stage)}")
    given = _given(cells.get("given", ""), stage, cells["text"], where)
    return Example(
        id=cells.get("id", "").strip() or str(line),
        text=cells["text"],
        label=LABELS[said],
        stage=Stage(stage),
        category=cells.get("category", "").strip() or category,
        rule=cells.get("rule", "").strip(),
        past=past_of(given),
        secrets=secrets_of(given),
        line=line,
    )


def given_of(said: str, stage: str, text: str) -> Given:
    """Return what JSON says beside a text, with the keys that `given` has in an inline test.

    Raises:
        ValueError: If it is no JSON, or not what a test may give.
    """
    try:
        more = json.loads(said) if said.strip() else {}
        return Given.model_validate({**more, "stage": stage, "text": text})
    except (ValueError, TypeError) as error:  # a `ValidationError` is one too
        raise ValueError("`given` is not what an inline test may give") from error


def _given(said: str, stage: str, text: str, where: str) -> Given:
    try:
        return given_of(said, stage, text)
    except ValueError as error:
        raise ExamplesError(f"{where}: {error}") from error


def read_floors(content: bytes, name: str) -> dict[str, Floor]:
    """Read what each policy has to show: TOML, a table for each, by the policy's file name.

    Raises:
        ExamplesError: If it is not such a file; names the table and key.
    """
    try:
        tables = tomllib.loads(content.decode())
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ExamplesError(f"{name}: this is not TOML: {error}") from error
    floors = {}
    for table, said in tables.items():
        try:
            entry = _FloorEntry.model_validate(said)
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            place = ".".join([table, *(str(part) for part in first["loc"])])
            raise ExamplesError(f"{name}: {place}: {str(first['msg']).lower()}") from error
        given = circumstances_of(entry.circumstances)
        floors[table] = Floor(entry.recall, entry.false_positives, given)
    return floors


async def judge_examples(
    policy: Policy, examples: Iterable[Example], given: Circumstances, judge: Judge, name: str
) -> tuple[ExampleOutcome, ...]:
    """Put every example to the policy, one after the other.

    Args:
        policy: A loaded policy.
        examples: Of its labelled set.
        given: Who asks.
        judge: Asks the classifiers; see `policies.testing.judge_of`.
        name: What to call the set in messages.

    Raises:
        ExamplesError: If no rule of the policy is for an example.
    """
    applied = apply(policy, given, _LONG_AFTER)
    outcomes = []
    for example in examples:
        meant = _meant(applied, example, name)
        assessment = await judge(applied, example.stage, _passage(example))
        past = await example.past.judged(applied, judge)
        trail = past.trail(policy.categories, assessment)
        decision = evaluate(applied, example.stage, assessment, given, trail)
        acting = {each.rule: each for each in decision.outcomes}
        found = {
            rule.id: rule.id in acting and acting[rule.id].action >= _bar(rule) for rule in meant
        }
        blind = frozenset(rule for rule in found if rule in acting and acting[rule].unavailable)
        outcomes.append(ExampleOutcome(example, decision.action, found, blind))
    return tuple(outcomes)


def _passage(example: Example) -> Passage:
    source, called = SOURCE_AT[example.stage], example.past.called
    return Passage(source, example.text, tool=called, secrets=example.secrets)


def _bar(rule: Rule) -> Action:
    """Return from which action on a rule has found something."""
    most = max(band.action for band in rule.bands)
    return max(min(most, Action.REDACT), Action.FLAG)


def _meant(policy: Policy, example: Example, name: str) -> list[Rule]:
    here = policy.rules_at[example.stage]
    if example.rule:
        meant = [rule for rule in here if rule.id == example.rule]
    else:
        meant = [rule for rule in here if rule.category == example.category]
    if not meant:
        wanted = example.rule or example.category
        known = [rule.id if example.rule else rule.category for rule in here]
        message = f"no rule is for `{wanted[:80]}` at `{example.stage}`{suggestion(wanted, known)}"
        raise ExamplesError(f"{name}:{example.line}: {message}")
    return meant


def tallies(outcomes: Iterable[ExampleOutcome]) -> Tallies:
    """Count what was found: an example together is found if any rule found it."""
    whole, rules = Tally(), dict[str, Tally]()
    for outcome in outcomes:
        label, undecided = outcome.example.label, outcome.undecided
        whole.add(label, any(outcome.found.values()), bool(undecided))
        for rule, found in outcome.found.items():
            rules.setdefault(rule, Tally()).add(label, found, rule in undecided)
    return Tallies(whole, rules)


def missed_floors(tally: Tally, floor: Floor) -> Iterator[str]:
    """Yield in what respect less was shown than has to be."""
    if tally.positives and tally.caught / tally.positives < floor.recall:
        yield f"recall is {tally.caught / tally.positives:.3f}, below its floor {floor.recall:g}"
    if tally.negatives and tally.flagged / tally.negatives > floor.false_positives:
        share = tally.flagged / tally.negatives
        yield f"false positives are {share:.3f}, above their ceiling {floor.false_positives:g}"
