"""The categories a judge may answer for, and what an operator may add."""

from __future__ import annotations

import re
from collections.abc import Iterable
from difflib import get_close_matches

from classifiers.categories import HEADS, MISALIGNMENT, PACKS

KNOWN = frozenset((*HEADS, *PACKS, *MISALIGNMENT))

# A category of the operator's own, for a written policy of the operator's own.
_OWN = re.compile(r"custom/[a-z0-9][a-z0-9._-]{0,56}")


def check_category(category: str) -> str:
    """Return `category` if a judge may answer for it.

    Raises:
        ValueError: If it is neither known nor one of the operator's own, `custom/...`.
    """
    if category in KNOWN or _OWN.fullmatch(category):
        return category
    raise ValueError(f"unknown category `{category[:80]}`{near(category, KNOWN)}")


def near(wrong: str, known: Iterable[str]) -> str:
    """Return `; did you mean ...?` if something known looks like `wrong`, else nothing."""
    found = get_close_matches(wrong, sorted(known), n=1)
    return f"; did you mean `{found[0]}`?" if found else ""
