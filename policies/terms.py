"""What a policy does with tools before anything is decided. Pure.

Which are offered, and what a result becomes: no decisions about harm, and for whoever asks.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

from policies.circumstances import is_named


class Spotlight(IntEnum):
    """How a result is set apart for the model, the weakest first."""

    NONE = 0
    DELIMIT = 1  # between two marks that nobody can foresee
    MARK = 2  # and with a sign in the place of every space
    ENCODE = 3  # in base64


@dataclass(frozen=True, slots=True)
class Treatment:
    """What becomes of results.

    Attributes:
        tools: Of which functions; names with `*`.
        cut_at: Code points that are left of each; None leaves all.
        spotlight: How it is set apart for the model.
    """

    tools: tuple[str, ...]
    cut_at: int | None = None
    spotlight: Spotlight = Spotlight.NONE


@dataclass(frozen=True, slots=True)
class Terms:
    """What a policy says of tools and their results.

    Attributes:
        treatments: Of results; of several for one function the strictest counts.
        offered: Of each list that hides what it does not name, the names; `*` may be in them.
    """

    treatments: tuple[Treatment, ...] = ()
    offered: tuple[tuple[str, ...], ...] = ()

    def treatment(self, tool: str) -> Treatment:
        """Return what becomes of a result of a function."""
        mine = [each for each in self.treatments if is_named(each.tools, tool)]
        cuts = [each.cut_at for each in mine if each.cut_at is not None]
        spotlight = max((each.spotlight for each in mine), default=Spotlight.NONE)
        return Treatment((tool,), min(cuts, default=None), spotlight)

    def offers(self, tool: str) -> bool:
        """Return whether the model is told of a function."""
        return all(is_named(names, tool) for names in self.offered)


NO_TERMS = Terms()


def joined(*parts: Terms) -> Terms:
    """Return terms that ask for all that any of `parts` asks for."""
    treatments = dict.fromkeys(each for part in parts for each in part.treatments)
    offered = dict.fromkeys(names for part in parts for names in part.offered)
    return Terms(tuple(treatments), tuple(offered))
