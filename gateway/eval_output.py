"""What `ostiary eval` prints: tables and JSON on stdout, talk and progress on stderr."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import typer

from gateway.terminal import rows, say

if TYPE_CHECKING:
    from gateway.evaluation.disagreement import Disagreement
    from gateway.evaluation.run import Progress
    from gateway.evaluation.session import Outcome
    from gateway.evaluation.summary import Measured


def tell(outcome: Outcome, *, as_json: bool) -> None:
    """Print what was found, what must not be overlooked, and what was written."""
    from gateway.evaluation import report

    if as_json:
        for figure in report.figures(outcome.summary):
            typer.echo(json.dumps(figure))
    else:
        rows([_line(each) for each in report.glance(outcome.summary)], as_json=False)
    for note in report.notes(outcome.summary):
        say(note)
    tell_written(outcome)


def tell_written(outcome: Outcome) -> None:
    """Print which files there are now."""
    if outcome.warning:
        say(outcome.warning)
    say(f"written: {', '.join(str(path) for path in outcome.files)}")


def disagreement(each: Disagreement) -> dict[str, Any]:
    """Return one line of `eval compare`."""

    def count(first: bool, second: bool) -> int:
        return sum(rows for (a, b, _), rows in each.cells.items() if (a, b) == (first, second))

    return {
        "set": each.set,
        "category": each.category,
        "both": count(True, True),
        "only_first": count(True, False),
        "only_second": count(False, True),
        "neither": count(False, False),
        "missing": each.missing,
        "kappa": None if each.kappa is None else round(each.kappa, 4),
        "thresholds": list(each.thresholds),
    }


@contextmanager
def bars() -> Iterator[Progress]:
    """Yield what shows progress on standard error, one bar per set and subject."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bars

    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Bars(
        *columns, TimeRemainingColumn(), console=console, disable=not console.is_terminal
    ) as drawn:
        tasks: dict[str, Any] = {}

        def progress(name: str, done: int, rows: int) -> None:
            if name not in tasks:
                tasks[name] = drawn.add_task(name.replace("[", r"\["), total=rows)
            drawn.update(tasks[name], completed=done)

        yield progress


def _line(each: Measured) -> dict[str, Any]:
    from gateway.evaluation.report import number, share, threshold

    at = each.proposed
    return {
        "set": each.set,
        "evaluated": each.subject,
        "category": each.category,
        "caught": share(at.recall) if at else None,
        "flagged": share(at.false_positive_rate) if at else None,
        "threshold": threshold(at.threshold) if at else None,
        "AUPRC": number(each.auprc),
        "AUROC": number(each.auroc),
        "no answer": each.missing_positives + each.missing_negatives,
    }
