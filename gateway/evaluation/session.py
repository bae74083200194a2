"""Puts an evaluation together: who is asked, about what, and where the report goes."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import version
from pathlib import Path

from classifiers.categories import HEADS
from classifiers.patterns import Patterns
from gateway.evaluation.journal import Journal
from gateway.evaluation.labelled import Columns, labelled_set
from gateway.evaluation.public import LAYOUTS, public_set
from gateway.evaluation.report import Run, figures, html, markdown, texts_of
from gateway.evaluation.run import Evaluated, Terms, evaluate_set
from gateway.evaluation.summary import POOLED, Summary, Wanted, summarise
from gateway.evaluation.types import EvaluationError, LabelledSet, MissingExtra
from gateway.evaluation.who import Who, subjects_of


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a run found, and what it wrote.

    Attributes:
        summary: All figures.
        evaluated: The sets and the answers.
        files: What was written.
        warning: Why something was not.
    """

    summary: Summary
    evaluated: tuple[Evaluated, ...]
    files: tuple[Path, ...] = ()
    warning: str | None = None


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be done.

    Attributes:
        sets: What is asked about.
        out: The folder of the journal and the report.
        terms: How to ask.
        wanted: What to work out.
        title: The report's heading.
        show_texts: Whether the report may quote the worst mistakes.
    """

    sets: tuple[LabelledSet, ...]
    out: Path
    terms: Terms = field(default_factory=Terms)
    wanted: Wanted = field(default_factory=Wanted)
    title: str = "Evaluation"
    show_texts: bool = False


@cache
def known_categories() -> frozenset[str]:
    """Return the categories that a column may be named after without being asked for."""
    return frozenset(HEADS) | Patterns().categories


def sets_from(given: Sequence[str], columns: Columns) -> tuple[LabelledSet, ...]:
    """Return the sets that `NAME=PATH` arguments mean.

    A built-in name is read in its own layout, any other as `columns` says.

    Raises:
        EvaluationError: If an argument is not of this form, or two have one name.
    """
    found: dict[str, LabelledSet] = {}
    for each in given:
        name, equals, path = each.partition("=")
        if not equals or not name or not path:
            raise EvaluationError(f"`{each[:80]}` must be NAME=PATH")
        if name in found or name == POOLED:
            raise EvaluationError(f"a second set is named `{name[:80]}`")
        place = Path(path)
        if name in LAYOUTS:
            found[name] = public_set(name, place)
        else:
            found[name] = labelled_set(name, place, columns, known_categories())
    if not found:
        raise EvaluationError("give at least one set: --set NAME=PATH")
    return tuple(found.values())


async def run(who: Who, plan: Plan) -> Outcome:
    """Ask, work out, write.

    Raises:
        EvaluationError: If the sets or the subjects cannot be used.
        PolicyError: If the policy cannot be used.
    """
    async with AsyncExitStack() as stack:
        subjects = await subjects_of(who, stack)
        with Journal(plan.out / "journal.jsonl") as journal:
            evaluated = [
                await evaluate_set(labelled, subjects, journal, plan.terms)
                for labelled in plan.sets
            ]
    parts = {subject.name: subject.parts for subject in subjects}
    return await asyncio.to_thread(report, tuple(evaluated), parts, plan)


def report(
    evaluated: tuple[Evaluated, ...],
    parts: Mapping[str, tuple[tuple[str, str], ...]],
    plan: Plan,
) -> Outcome:
    """Work out the figures and write the report; without matplotlib, all but its page."""
    summary = summarise(evaluated, plan.wanted)
    if not summary.measured:
        raise EvaluationError(_nothing(evaluated))
    made = Run(
        title=plan.title,
        date=f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
        version=version("ostiary"),
        parts=parts,
        concurrency=plan.terms.concurrency,
        texts=texts_of(summary, plan.sets) if plan.show_texts else None,
    )
    document = {
        "title": made.title,
        "date": made.date,
        "version": made.version,
        "subjects": {name: dict(each) for name, each in parts.items()},
        "sets": {each.name: {"sha256": each.sha256, "rows": len(each.facts)} for each in evaluated},
        "figures": figures(summary),
    }
    files = [_written(plan.out / "report.md", markdown(summary, evaluated, made))]
    files.append(_written(plan.out / "figures.json", json.dumps(document, indent=1) + "\n"))
    try:
        files.append(_written(plan.out / "report.html", html(summary, evaluated, made)))
    except MissingExtra as error:
        return Outcome(summary, evaluated, tuple(files), f"no report.html: {error}")
    return Outcome(summary, evaluated, tuple(files))


def _nothing(evaluated: Sequence[Evaluated]) -> str:
    """Return why there is nothing to measure."""
    labelled = {name for each in evaluated for fact in each.facts for name in fact.labels}
    if not labelled:
        return "no row has a label"
    about = ", ".join(f"`{name}`" for name in sorted(labelled)[:8])
    return f"the labels are about {about}, which nobody scored; see --category"


def _written(path: Path, content: str) -> Path:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content, encoding="utf-8", errors="replace")
    except OSError as error:
        reason = (error.strerror or "").lower()
        raise EvaluationError(f"{path}: cannot write: {reason}") from error
    return path
