"""The report's pictures: SVG to be put into the page, in the page's own colours.

matplotlib draws in marker colours that nobody would choose; they are then replaced by the
page's CSS variables, so that one picture reads well on a light and on a dark page.
"""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from typing import Any

import numpy as np

from gateway.evaluation.measures import Curve
from gateway.evaluation.summary import Measured
from gateway.evaluation.types import MissingExtra

MAX_POINTS = 300  # of one line; more cannot be seen
SERIES = 8  # colours; a ninth subject starts again
_INK, _FAINT, _SOFT = "#010203", "#010204", "#010205"
_MARKERS = {_INK: "var(--ink)", _FAINT: "var(--faint)", _SOFT: "var(--soft)"} | {
    f"#01030{number}": f"var(--series-{number})" for number in range(SERIES)
}
_STROKES = ("-", (0, (6, 3)), (0, (2, 2)))
_SIZE = (4.2, 3.4)  # inches; only the shape matters, the page sets the width


def curves(measured: Sequence[Measured]) -> list[str]:
    """Return precision against recall, ROC and reliability, one line per subject.

    Subjects keep their colours from picture to picture: `var(--series-N)` in their order.

    Raises:
        MissingExtra: If matplotlib is not installed.
    """
    salt = f"{measured[0].set}/{measured[0].category}"
    return [
        _picture(_draw_precision, measured, f"{salt}/precision"),
        _picture(_draw_roc, measured, f"{salt}/roc"),
        _picture(_draw_reliability, measured, f"{salt}/reliability"),
    ]


def _picture(draw: Any, measured: Sequence[Measured], salt: str) -> str:  # noqa: ANN401 - one of the functions below
    try:
        import matplotlib as mpl
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingExtra("drawing the report's pictures", "matplotlib") from error
    style = {
        "svg.fonttype": "none",  # text stays text: small, sharp, and can be read aloud
        "svg.hashsalt": salt,
        "font.family": "sans-serif",
        "font.size": 9,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.edgecolor": _FAINT,
        "axes.labelcolor": _INK,
        "axes.titlecolor": _INK,
        "xtick.color": _INK,
        "ytick.color": _INK,
        "grid.color": _FAINT,
        "grid.linewidth": 0.5,
    }
    with mpl.rc_context(style):
        figure = Figure(figsize=_SIZE, layout="constrained")
        axes = figure.add_subplot()
        axes.set(xlim=(0, 1), ylim=(0, 1.02), aspect="auto")
        axes.grid(visible=True)
        for number, each in enumerate(measured):
            before = len(axes.lines)
            draw(axes, each, f"#01030{number % SERIES}")
            # Where two lines lie on each other, the lower one shows in the gaps.
            for line in axes.lines[before:]:
                if line.get_linestyle() == "-":
                    line.set_linestyle(_STROKES[number % len(_STROKES)])
        written = io.StringIO()
        figure.savefig(written, format="svg", transparent=True, metadata={"Date": None})
    return _in_page_colours(written.getvalue())


def _draw_precision(axes: Any, each: Measured, colour: str) -> None:  # noqa: ANN401 - untyped library
    if each.curve.positives and each.curve.negatives:
        caught = each.curve.caught / each.curve.positives
        precision = each.curve.caught / (each.curve.caught + each.curve.flagged)
        x, y = _thinned(caught, precision)
        axes.step(x, y, where="pre", color=colour, linewidth=1.6)
        share = each.curve.positives / (each.curve.positives + each.curve.negatives)
        axes.axhline(share, color=_SOFT, linewidth=1.2, linestyle=":")
    _mark(axes, each, colour, precision=True)
    axes.set(title="Precision and recall", xlabel="recall", ylabel="precision")


def _draw_roc(axes: Any, each: Measured, colour: str) -> None:  # noqa: ANN401 - untyped library
    if each.curve.positives and each.curve.negatives:
        x, y = roc_points(each.curve)
        axes.plot(*_thinned(x, y), color=colour, linewidth=1.6)
    axes.plot([0, 1], [0, 1], color=_SOFT, linewidth=1.2, linestyle=":")
    _mark(axes, each, colour, precision=False)
    axes.set(title="ROC", xlabel="false-positive rate", ylabel="recall")


def _draw_reliability(axes: Any, each: Measured, colour: str) -> None:  # noqa: ANN401 - untyped library
    axes.plot([0, 1], [0, 1], color=_SOFT, linewidth=1.2, linestyle=":")
    said = [step.mean_score for step in each.bins]
    found = [step.share for step in each.bins]
    axes.plot(said, found, color=colour, linewidth=1.2, marker="o", markersize=3.5)
    axes.set(title="Reliability", xlabel="mean score", ylabel="share that is harmful")


def roc_points(of: Curve) -> tuple[Any, Any]:
    """Return the false-positive rates and the recalls of a curve, from (0, 0)."""
    flagged = np.concatenate(([0], of.flagged)) / of.negatives
    caught = np.concatenate(([0], of.caught)) / of.positives
    return flagged, caught


def _mark(axes: Any, each: Measured, colour: str, *, precision: bool) -> None:  # noqa: ANN401 - untyped library
    """Put a ring on the proposed threshold."""
    at = each.proposed
    if at is None or at.recall is None or at.false_positive_rate is None:
        return
    if precision and at.precision is None:
        return
    place = (at.recall, at.precision) if precision else (at.false_positive_rate, at.recall)
    style = {"color": colour, "markerfacecolor": "none", "clip_on": False}
    axes.plot([place[0]], [place[1]], marker="o", markersize=8, **style)


def _thinned(x: Any, y: Any) -> tuple[Any, Any]:  # noqa: ANN401 - arrays
    """Return at most `MAX_POINTS` points, the first and the last among them."""
    if len(x) <= MAX_POINTS:
        return x, y
    places = np.unique(np.linspace(0, len(x) - 1, MAX_POINTS).astype(int))
    return x[places], y[places]


def _in_page_colours(svg: str) -> str:
    drawn = svg[svg.index("<svg") :]
    for marker, variable in _MARKERS.items():
        drawn = drawn.replace(marker, variable)
    for unwanted in (r"<metadata>.*?</metadata>", r"<style.*?</style>"):
        drawn = re.sub(unwanted, "", drawn, flags=re.DOTALL)
    drawn = re.sub(r'(<svg[^>]*?) (?:width|height)="[^"]*"', r"\1", drawn, count=1)
    drawn = re.sub(r'(<svg[^>]*?) (?:width|height)="[^"]*"', r"\1", drawn, count=1)
    drawn = re.sub(r'<g id="[^"]*">', "<g>", drawn)  # the same in every picture of the page
    drawn = re.sub(r"font-family: [^;]*;", "font-family: inherit;", drawn)
    return re.sub(r"\s*\n\s*", " ", drawn)
