"""The report's picture: SVG in the page's own colours, drawn here, of numbers and days alone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from gateway.audit.evidence.tally import GROUPS

_WIDTH, _HEIGHT = 960, 260
_LEFT, _RIGHT, _TOP, _BOTTOM = 52, 8, 12, 44
_MOST_BARS = 100
_LABELS = 8  # along the time
_STEPS = (timedelta(hours=1), timedelta(days=1), timedelta(days=7), timedelta(days=28))
_HOUR = "%Y-%m-%dT%H"


@dataclass(frozen=True, slots=True)
class Bar:
    """One step of time.

    Attributes:
        begin: When it begins.
        decisions: By group.
        entries: Of any kind.
    """

    begin: datetime
    decisions: Counter[str]
    entries: int


@dataclass(frozen=True, slots=True)
class Series:
    """Decisions over time.

    Attributes:
        bars: One for each step, the oldest first.
        step: How long each is.
    """

    bars: tuple[Bar, ...]
    step: timedelta

    @property
    def unit(self) -> str:
        """How long a step is, as people say it."""
        names = dict(zip(_STEPS, ("hour", "day", "week", "four weeks"), strict=True))
        return names.get(self.step, f"{self.step.days} days")


def series(
    hours: Mapping[str, Counter[str]], busy: Mapping[str, int], since: str, until: str
) -> Series:
    """Return what is drawn of counts by the hour, from one moment of the log to another."""
    begin, end = _moment(since), _moment(until)
    step = next((each for each in _STEPS if (end - begin) / each <= _MOST_BARS), None)
    step = step or timedelta(days=-(-(end - begin).days // _MOST_BARS))
    if step >= timedelta(days=1):
        begin = begin.replace(hour=0)
    count = max(1, -(-(end - begin + timedelta(hours=1)) // step))
    decisions = [Counter[str]() for _ in range(count)]
    entries = [0] * count
    for hour, number in busy.items():
        at = min(max((_moment(hour) - begin) // step, 0), count - 1)
        entries[at] += number
        decisions[at].update(hours.get(hour, {}))
    bars = (Bar(begin + at * step, decisions[at], entries[at]) for at in range(count))
    return Series(tuple(bars), step)


def picture(drawn: Series, name: str) -> str:
    """Return stacked bars as an SVG element that `name` is read aloud for."""
    highest = _round_up(max(bar.decisions.total() for bar in drawn.bars))
    plot = _HEIGHT - _TOP - _BOTTOM
    width = (_WIDTH - _LEFT - _RIGHT) / len(drawn.bars)
    parts = [_grid(highest, plot)]
    for at, bar in enumerate(drawn.bars):
        x, y = _LEFT + at * width, float(_HEIGHT - _BOTTOM)
        shapes = []
        for number, group in enumerate(GROUPS):
            if tall := plot * bar.decisions[group] / highest:
                y -= tall
                shapes.append(_rectangle(x, y, width, tall, f"group-{number}"))
        if not bar.entries:
            shapes.append(_rectangle(x, _HEIGHT - _BOTTOM + 3, width, 4, "silent"))
        parts.append(f"<g><title>{_said(bar, drawn.step)}</title>{''.join(shapes)}</g>")
    parts.append(_times(drawn, width))
    return (
        f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{name}" '
        f'class="chart">{"".join(parts)}</svg>'
    )


def _rectangle(x: float, y: float, width: float, tall: float, kind: str) -> str:
    gap = min(2.0, width * 0.2)
    return (
        f'<rect class="{kind}" x="{x + gap / 2:.1f}" y="{y:.1f}" '
        f'width="{max(width - gap, 0.5):.1f}" height="{tall:.1f}"/>'
    )


def _grid(highest: int, plot: int) -> str:
    lines = []
    for quarter in range(5):
        y = _HEIGHT - _BOTTOM - plot * quarter / 4
        value = highest * quarter / 4
        text = f"{value:,.0f}" if value == int(value) else ""
        lines.append(f'<line x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>')
        lines.append(f'<text x="{_LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{text}</text>')
    return f'<g class="grid">{"".join(lines)}</g>'


def _times(drawn: Series, width: float) -> str:
    every = -(-len(drawn.bars) // _LABELS)
    texts = [
        f'<text x="{_LEFT + (at + 0.5) * width:.1f}" y="{_HEIGHT - 18}" '
        f'text-anchor="middle">{_day(bar.begin, drawn.step)}</text>'
        for at, bar in enumerate(drawn.bars)
        if at % every == 0
    ]
    return f'<g class="times">{"".join(texts)}</g>'


def _said(bar: Bar, step: timedelta) -> str:
    counts = ", ".join(f"{bar.decisions[group]:,} {group}" for group in GROUPS)
    return (
        f"{_day(bar.begin, step)}: {counts}" if bar.entries else f"{_day(bar.begin, step)}: nothing"
    )


def _day(begin: datetime, step: timedelta) -> str:
    return begin.strftime("%d %b %H:00" if step < timedelta(days=1) else "%d %b %Y")


def _moment(text: str) -> datetime:
    return datetime.strptime(text[:13], _HOUR).replace(tzinfo=UTC)


def _round_up(value: int) -> int:
    """Return a number of at least `value` whose quarters read well, if it is large enough."""
    if value <= 4:
        return 4
    unit = 10 ** (len(str(value)) - 1)
    return next(
        int(unit * factor) for factor in (1, 1.2, 1.6, 2, 4, 6, 8, 10) if unit * factor >= value
    )
