"""Draws why something was decided, for a terminal: each rule's score on the scale of its bands."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.console import Console
from rich.text import Text

from policies.explain import (
    Account,
    Role,
    RuleAccount,
    called_for,
    coverage,
    headline,
    saw,
)
from policies.types import Action, Band

_COLORS = {
    Action.ALLOW: "green",
    Action.FLAG: "cyan",
    Action.WARN: "yellow",
    Action.REDACT: "yellow",
    Action.REVIEW: "magenta",
    Action.BLOCK: "red",
}
_SIGNS = {Role.DETERMINED: "●", Role.OUTDONE: "○", Role.SHADOW: "◌"}
_LONGEST = 60  # of a scale, cells
_INDENT = 4


def draw(account: Account, console: Console) -> None:
    """Print an account as wide as the console is."""
    said, policy = headline(account)
    console.print(Text(said, style=f"bold {_COLORS[account.decision.action]}"))
    console.print(Text(policy, style="dim"))
    for told in account.rules:
        _draw_rule(told, console)
    if account.decision.receipts:
        console.print()
    for receipt in account.decision.receipts:
        console.print(Text(coverage(receipt), style="dim"))


def _draw_rule(told: RuleAccount, console: Console) -> None:
    loud = told.role in _SIGNS
    action = told.outcome.action if told.outcome else Action.ALLOW
    title = Text(f"{_SIGNS.get(told.role, '·')} ", style=_COLORS[action] if loud else "dim")
    title.append(told.rule, style="bold" if told.role is Role.DETERMINED else "")
    title.append(f"  {told.role}", style=_COLORS[action] if loud else "dim")
    console.print()
    console.print(title)
    below = [Text(f"{told.category} {saw(told)}{called_for(told)}")]
    if told.bands and told.role is not Role.OUT_OF_SCOPE:
        below += scale(told.bands, told.score, min(_LONGEST, console.width - 2 * _INDENT))
    below += [Text(remark, style="italic") for remark in told.remarks]
    for text in below:
        for line in text.wrap(console, max(console.width - _INDENT, 1)):
            line.rstrip()
            console.print(Text(" " * _INDENT).append_text(line))


def scale(bands: Sequence[Band], score: float | None, width: int) -> Iterator[Text]:
    """Yield lines: the scale from 0 to 1 with the score on it, and what begins where.

    Args:
        bands: At least one, highest first.
        score: What was seen, or None for no answer.
        width: Of the scale, cells.
    """
    lowest_first = list(reversed(bands))
    line = Text()
    reached = min(int(score * width), width - 1) if score else -1
    begins = {min(int(band.gte * width), width - 1) for band in lowest_first}
    for cell in range(width):
        below = [band for band in lowest_first if int(band.gte * width) <= cell]
        style = _COLORS[below[-1].action] if below else "green"
        filled = cell <= reached
        sign = ("╋" if filled else "┼") if cell in begins else "━" if filled else "─"
        line.append(sign, style=style)
    yield line
    yield from _labels(lowest_first, width)


def _labels(bands: Sequence[Band], width: int) -> Iterator[Text]:
    """Yield what begins where, each under its place; what finds no room goes a line lower."""
    waiting = list(bands)
    while waiting:
        line, rest = Text(), []
        for band in waiting:
            label = f"{band.gte:g} {band.action.name.lower()}"
            start = max(0, min(int(band.gte * width), width - len(label)))
            if line.plain and start <= len(line.plain):
                rest.append(band)
                continue
            line.append(" " * (start - len(line.plain)))
            line.append(label, style=_COLORS[band.action])
        yield line
        waiting = rest
