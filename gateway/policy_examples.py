"""What `ostiary policy test` does: inline tests, and labelled sets where there are any.

The labelled set of `P/acme.yaml` is `P/examples/acme.csv`; what has to be shown on it stands
in `P/examples/floors.toml`. Printing and exit statuses are the command line's business.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gateway.evaluation.measures import wilson
from gateway.policy_commands import open_panel
from policies.document import DocumentError, read_section
from policies.labelled import (
    ExamplesError,
    Floor,
    Tally,
    judge_examples,
    missed_floors,
    read_examples,
    read_floors,
    tallies,
)
from policies.load import BUILTIN, PolicyFile, builtin_names, failure, read_policy
from policies.testing import InlineOutcome, Judge, judge_of, run_tests

FOLDER, FLOORS = "examples", "floors.toml"


@dataclass(frozen=True, slots=True)
class Examined:
    """What a policy shows of itself.

    Attributes:
        policy: The file's name as it was given.
        version: Of the policy.
        tests: One row per inline test.
        measures: One row for the labelled set as a whole, then one per rule; empty without
            a set.
        missed: In what respect less was shown than has to be, a line each.
    """

    policy: str
    version: str
    tests: tuple[dict[str, Any], ...]
    measures: tuple[dict[str, Any], ...]
    missed: tuple[str, ...]

    @property
    def passed(self) -> bool:
        """Whether every test passed and every floor was kept."""
        return not self.missed and all(test["passed"] for test in self.tests)


async def examine(sources: Sequence[str]) -> list[Examined]:
    """Test policies with this installation's classifiers, one after the other.

    Args:
        sources: Policy files, names of built-in ones, and folders of policy files.

    Raises:
        PolicyError: If a file is not a policy at all.
        ExamplesError: If a labelled set or its floors cannot be used, or a folder holds no
            policy.
    """
    files = [read_policy(source) for given in sources for source in _policies_in(given)]
    async with open_panel() as panel:
        judge = judge_of(panel)
        return [await _examined(file, judge) for file in files]


def _policies_in(source: str) -> Iterator[str]:
    path = Path(source)
    if source in builtin_names() or not path.is_dir():
        yield source
        return
    found = [str(file) for file in sorted(path.glob("*.y*ml")) if _is_policy(file)]
    if not found:
        raise ExamplesError(f"{source}: there is no policy in this folder")
    yield from found


def _is_policy(path: Path) -> bool:
    """Return whether a file calls itself a policy; one that cannot be read is looked at."""
    try:
        return bool(read_section(path.read_bytes(), "kind") == "Policy")
    except (OSError, DocumentError):
        return True


async def _examined(file: PolicyFile, judge: Judge) -> Examined:
    outcomes = await run_tests(file.policy, file.tests, judge)
    measures: tuple[dict[str, Any], ...] = ()
    missed: tuple[str, ...] = ()
    path = _path_of(file)
    examples = path.parent / FOLDER / f"{path.stem}.csv"
    if examples.is_file():
        floor = _floor(examples)
        rows = read_examples(examples.read_bytes(), str(examples))
        given = floor.circumstances
        judged = await judge_examples(file.policy, rows, given, judge, str(examples))
        counted = tallies(judged)
        measures = (
            _measure(file, None, counted.whole),
            *(_measure(file, rule, tally) for rule, tally in counted.rules.items()),
        )
        missed = tuple(f"{examples}: {miss}" for miss in missed_floors(counted.whole, floor))
    tests = tuple(_test(file, outcome) for outcome in outcomes)
    return Examined(file.name, file.policy.version, tests, measures, missed)


def _path_of(file: PolicyFile) -> Path:
    own = BUILTIN / file.name
    return own if own.is_file() and Path(file.name).name == file.name else Path(file.name)


def _floor(examples: Path) -> Floor:
    path = examples.with_name(FLOORS)
    if not path.is_file():
        return Floor()
    return read_floors(path.read_bytes(), str(path)).get(examples.stem, Floor())


def _test(file: PolicyFile, outcome: InlineOutcome) -> dict[str, Any]:
    return {
        "where": f"{file.name}:{outcome.test.line}:{outcome.test.column}",
        "rule": outcome.test.rule,
        "test": outcome.test.name,
        "passed": outcome.passed,
        "expected": outcome.test.expect.name.lower(),
        "got": outcome.action.name.lower(),
        "message": "passed" if outcome.passed else failure(outcome).message,
    }


def _measure(file: PolicyFile, rule: str | None, tally: Tally) -> dict[str, Any]:
    return {
        "policy": file.policy.id,
        "rule": rule,
        "caught": tally.caught,
        "positives": tally.positives,
        "recall": _share(tally.caught, tally.positives),
        "recall_interval": wilson(tally.caught, tally.positives),
        "flagged": tally.flagged,
        "negatives": tally.negatives,
        "false_positive_rate": _share(tally.flagged, tally.negatives),
        "false_positive_interval": wilson(tally.flagged, tally.negatives),
        "undecided": tally.undecided,
    }


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole else None


def table(examined: Examined) -> list[str]:
    """Return what was measured, for people: a line for the whole set and one per rule."""
    if not examined.measures:
        return []
    width = max(len(row["rule"] or "") for row in examined.measures)
    head = f"  {'':{width}}  {'found of what should be':30}{'found of look-alikes':30}"
    return [head.rstrip(), *(_line(row, width) for row in examined.measures)]


def _line(row: dict[str, Any], width: int) -> str:
    found = _cell(row["caught"], row["positives"], row["recall_interval"])
    wrong = _cell(row["flagged"], row["negatives"], row["false_positive_interval"])
    doubt = f"{row['undecided']} for want of an answer" if row["undecided"] else ""
    return f"  {row['rule'] or 'all':{width}}  {found:30}{wrong:30}{doubt}".rstrip()


def _cell(part: int, whole: int, interval: tuple[float, float] | None) -> str:
    if interval is None:
        return "-"
    low, high = (f"{100 * end:.0f}" for end in interval)
    return f"{part}/{whole}  {100 * part / whole:.0f} % ({low} to {high})"
