"""Writes evidence as one HTML page that needs nothing else: no script, no font, no address."""

from __future__ import annotations

from datetime import date
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from gateway.audit.evidence.charts import picture, series
from gateway.audit.evidence.checks import Level, moment, number, share
from gateway.audit.evidence.document import Status, summary
from gateway.audit.evidence.tally import GROUPS, Tally

_CHIPS = {
    Status.RECORDS: "good",
    Status.GAPS: "warn",
    Status.NOTHING: "bad",
    Status.YOURS: "plain",
}


def html(made: dict[str, Any], tally: Tally) -> str:
    """Return the report on evidence, made of its document and what was counted."""
    began = max(made["period"]["since"] or "", made["log"]["began"])
    drawn = series(tally.hours, tally.busy, began, made["period"]["until"])
    chart = picture(drawn, "Decisions over time, by what was done")
    groups = [(f"group-{at}", group) for at, group in enumerate(GROUPS)]
    return (
        _environment()
        .get_template("evidence.html.j2")
        .render(
            made=made,
            summary=summary(made),
            gaps=[each for each in made["findings"] if each["level"] == Level.GAP],
            missing=_missing(made),
            chart=Markup(chart),  # noqa: S704 - drawn by us, of numbers and days alone
            series=drawn,
            groups=groups,
            largest=max(made["counts"]["types"].values(), default=1),
        )
    )


def _missing(made: dict[str, Any]) -> list[tuple[str, str, str]]:
    """Return each gap of a heading's records: where, what, and why it is one."""
    return [
        (heading["id"], each["says"], each["gap"])
        for heading in made["headings"]
        for each in heading["records"]
        if each["gap"]
    ]


def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("gateway.audit.evidence"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "number": number,
        "moment": moment,
        "day": _day,
        "chip": lambda status: _CHIPS[Status(status)],
        "anchor": lambda id: "".join(each if each.isalnum() else "-" for each in id).lower(),
        "share": share,
        "coded": _coded,
    }
    return environment


def _day(text: str) -> str:
    return f"{date.fromisoformat(text[:10]):%d %B %Y}".lstrip("0")


def _coded(text: str) -> Markup:
    """Return a text of ours with what stands in backticks as code."""
    parts = text.split("`")
    return Markup("").join(
        Markup("<code>{}</code>").format(each) if at % 2 else each for at, each in enumerate(parts)
    )
