"""Writes the report: one HTML file that needs nothing else, and the same as Markdown.

Names, kinds and texts come from files that anybody may have written: HTML is escaped by
the template engine, Markdown by `plain`. Texts are in a report only if they were asked for.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from gateway.evaluation.measures import AtThreshold, Interval
from gateway.evaluation.run import Evaluated
from gateway.evaluation.summary import Measured, Summary
from gateway.evaluation.types import ANY, DECISION, LabelledSet

MAX_TEXT = 500  # code points of a text that is shown
_SERIES = 8  # colours of the page


@dataclass(frozen=True, slots=True)
class Run:
    """What the report says about how the figures came to be.

    Attributes:
        title: The report's heading.
        date: When it was made, UTC, as text.
        version: Of Ostiary.
        parts: Subject -> name and digest of each thing it is made of.
        concurrency: Questions that were under way at once.
        texts: Digest -> text, for the texts that may be shown; empty shows none.
    """

    title: str
    date: str
    version: str
    parts: Mapping[str, tuple[tuple[str, str], ...]]
    concurrency: int = 1
    texts: Mapping[str, str] | None = None


def html(summary: Summary, evaluated: Sequence[Evaluated], run: Run) -> str:
    """Return the report as one HTML page.

    Raises:
        MissingExtra: If matplotlib is not installed.
    """
    from gateway.evaluation.pictures import curves

    view = _view(summary, evaluated, run)
    for section in view["sections"]:
        for block in section["blocks"]:
            if any(each.auroc is not None and each.table for each in block["measured"]):
                block["pictures"] = [Markup(each) for each in curves(block["measured"])]  # noqa: S704 - drawn by us, of numbers alone
    return _environment(escape=True).get_template("report.html.j2").render(view)


def markdown(summary: Summary, evaluated: Sequence[Evaluated], run: Run) -> str:
    """Return the report as Markdown, without pictures."""
    template = _environment(escape=False).get_template("report.md.j2")
    lines = template.render(_view(summary, evaluated, run)).splitlines()
    kept = [line for line, before in zip(lines, ["", *lines], strict=False) if line or before]
    return "\n".join(kept).strip() + "\n"


def figures(summary: Summary) -> list[dict[str, Any]]:
    """Return the figures of each subject, set and category, for machines."""
    return [
        {
            "set": each.set,
            "subject": each.subject,
            "category": each.category,
            "positives": each.positives,
            "negatives": each.negatives,
            "missing_positives": each.missing_positives,
            "missing_negatives": each.missing_negatives,
            "auprc": each.auprc,
            "auprc_interval": each.auprc_interval,
            "auroc": each.auroc,
            "calibration_error": each.calibration_error,
            "proposed": None if each.proposed is None else _at(each.proposed),
            "thresholds": [_at(at) for at in each.table],
        }
        for each in summary.measured
    ]


def texts_of(summary: Summary, sets: Sequence[LabelledSet]) -> dict[str, str]:
    """Return the texts of the mistakes that are listed, by digest; reads the sets again."""
    from gateway.evaluation.run import fact_of

    wanted = {
        mistake.fact.digest
        for each in summary.measured
        for mistake in (*each.flagged, *each.missed)
    } | {
        apart.fact.digest
        for pair in summary.disagreements
        for apart in (*pair.only_first, *pair.only_second)
    }
    found: dict[str, str] = {}
    for labelled in sets:
        for row in labelled.rows() if wanted - found.keys() else ():
            digest = fact_of(row).digest
            if digest in wanted:
                cut = "…" if len(row.text) > MAX_TEXT else ""
                text = row.text[:MAX_TEXT].encode("utf-8", "replace").decode("utf-8")
                found[digest] = text + cut
    return found


def _view(summary: Summary, evaluated: Sequence[Evaluated], run: Run) -> dict[str, Any]:
    colours = {name: number % _SERIES for number, name in enumerate(run.parts)}

    def swatch(subject: str) -> Markup:
        style = f"background:var(--series-{colours.get(subject, 0)})"
        return Markup(f'<span class="swatch" style="{style}"></span>')  # noqa: S704 - a number

    return {
        "title": run.title,
        "date": run.date,
        "version": run.version,
        "summary": summary,
        "subjects": [{"name": name, "parts": parts} for name, parts in run.parts.items()],
        "sets": [_set(each) for each in evaluated],
        "glance": glance(summary),
        "notes": notes(summary),
        "sections": _sections(summary),
        "disagreements": summary.disagreements,
        "concurrency": run.concurrency,
        "texts": run.texts or {},
        "swatch": swatch,
    }


def _set(each: Evaluated) -> dict[str, Any]:
    categories = sorted({name for fact in each.facts for name in fact.labels})
    prevalence = [
        (
            name,
            sum(fact.labels.get(name, False) for fact in each.facts),
            sum(name in fact.labels for fact in each.facts),
        )
        for name in categories
    ]
    return {
        "name": each.name,
        "file": Path(each.path).name,
        "rows": len(each.facts),
        "sha256": each.sha256,
        "prevalence": prevalence,
    }


def glance(summary: Summary) -> list[Measured]:
    """Return the lines that matter most: `any` and `decision`, or all where there is none."""
    chosen: list[Measured] = []
    for _, group in groupby(summary.measured, key=lambda each: each.set):
        lines = list(group)
        main = [each for each in lines if each.category in {ANY, DECISION}]
        chosen.extend(main or lines)
    return chosen


def notes(summary: Summary) -> list[str]:
    """Return what a reader must not overlook."""
    said = _silences(summary)
    rate = summary.wanted.false_positive_rate
    widest = {(each.subject, each.category): each for each in summary.measured}  # pooled is last
    shown = {(each.subject, each.category) for each in glance(summary)}
    for key in sorted(shown):
        each = widest[key]
        who = f"{each.subject}, `{each.category}`"
        if not each.negatives:
            said.append(f"{who}: no text is labelled safe, so no threshold can be proposed.")
        elif not each.positives:
            said.append(f"{who}: no text is labelled harmful, so nobody can say what is caught.")
        elif each.proposed is None:
            said.append(f"{who}: no threshold flags as few as {share(rate)} of the safe texts.")
        elif not each.proposed.caught:
            said.append(f"{who}: nothing harmful scores above the safe texts; see its curves.")
        elif each.category != DECISION and each.proposed.false_positive_interval:
            high = each.proposed.false_positive_interval[1]
            if high > 2 * rate:
                answered = each.proposed.flagged + each.proposed.passed
                texts = "text" if answered == 1 else "texts"
                said.append(
                    f"{who}: with {answered} safe {texts}, all that is certain of the "
                    f"false-positive rate is that it is below {share(high)}."
                )
    return said


def _silences(summary: Summary) -> list[str]:
    """Return who gave no answer about how many texts, and why."""
    texts, missing = Counter[str](), Counter[str]()
    reasons: dict[str, Counter[str]] = {}
    for each in summary.latencies:
        texts[each.subject] += each.answers
        missing[each.subject] += each.missing
        reasons.setdefault(each.subject, Counter()).update(dict(each.errors))
    return [
        f"{subject}: for {missing[subject]} of {texts[subject]} texts an answer is missing"
        f"{_why(reasons[subject])}; such a text is in none of the rates."
        for subject in sorted(missing)
        if missing[subject]
    ]


def _why(reasons: Counter[str]) -> str:
    said = ", ".join(f"{why} {count}" for why, count in reasons.most_common(3))
    return f" ({said})" if said else ""


def _sections(summary: Summary) -> list[dict[str, Any]]:
    return [
        {
            "set": name,
            "blocks": [
                {"category": category, "measured": list(block), "pictures": []}
                for category, block in groupby(section, key=lambda each: each.category)
            ],
        }
        for name, section in groupby(summary.measured, key=lambda each: each.set)
    ]


def _at(at: AtThreshold) -> dict[str, Any]:
    return {name: getattr(at, name) for name in AtThreshold.__slots__}


def _environment(*, escape: bool) -> Environment:
    environment = Environment(
        loader=PackageLoader("gateway.evaluation"),
        autoescape=escape,  # noqa: S701 - on for HTML; Markdown has its own filter
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "share": share,
        "interval": interval,
        "number": number,
        "threshold": threshold,
        "part": part,
        "numbers": numbers,
        "milliseconds": milliseconds,
        "plain": plain,
        "with_proposal": with_proposal,
    }
    return environment


def share(value: float | None) -> str:
    """Return a share as per cent."""
    return "-" if value is None else f"{value * 100:.1f} %"


def interval(value: Interval | None) -> str:
    """Return the interval of a share, in per cent."""
    return "" if value is None else f"({value[0] * 100:.1f} to {value[1] * 100:.1f})"


def number(value: float | None) -> str:
    """Return a figure in [0, 1]."""
    return "-" if value is None else f"{value:.3f}"


def threshold(value: float) -> str:
    """Return a threshold as it would be written into a policy."""
    return f"{value:.4f}"[: 4 if round(value, 2) == round(value, 4) else None]


def part(count: int, whole: int) -> str:
    """Return how many of how many, and what share that is."""
    return f"{count} of {whole}, {share(count / whole)}" if whole else "-"


def numbers(value: Interval | None) -> str:
    """Return an interval of figures."""
    return "" if value is None else f"({value[0]:.3f} to {value[1]:.3f})"


def milliseconds(value: float) -> str:
    """Return a duration with as many digits as mean something."""
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"


def plain(value: object) -> str:
    """Return a text that means nothing in Markdown, on one line."""
    text = " ".join(str(value).split())
    for special, harmless in (("&", "&amp;"), ("<", "&lt;"), ("|", "\\|"), ("`", "'")):
        text = text.replace(special, harmless)
    return text.replace("[", "\\[").replace("](", "]\\(")


def with_proposal(each: Measured) -> list[AtThreshold]:
    """Return the rows of the threshold table, the proposed one among them."""
    rows = [*each.table, *([each.proposed] if each.proposed else [])]
    return sorted(rows, key=lambda at: at.threshold)
