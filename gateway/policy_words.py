"""How commands put circumstances, answers and decisions into words, and into JSON."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from datetime import datetime
from typing import Any

from classifiers.types import UNSUPPORTED_LANGUAGE
from policies.answers import Answer
from policies.circumstances import ANYBODY, Circumstances
from policies.types import Policy

TRUTHS = {True: "holds", False: "does not hold", None: "cannot be told"}


def circumstances_in_words(given: Circumstances) -> str:
    """Return what is not as usual: `project shop-x, tier free`; empty if nothing is."""
    usual = asdict(ANYBODY)
    return ", ".join(
        f"{name.replace('_', ' ')} {_word(value)}"
        for name, value in asdict(given).items()
        if value != usual[name]
    )


def circumstances_as_json(given: Circumstances) -> dict[str, Any]:
    """Return all of them."""
    return {
        name: sorted(value) if isinstance(value, frozenset) else value
        for name, value in asdict(given).items()
    }


def moment(at: datetime) -> str:
    """Return a moment as a policy file writes it."""
    return f"{at:%Y-%m-%dT%H:%M:%SZ}"


def answers_in_words(answers: tuple[Answer, ...]) -> str:
    """Return what classifiers said: `encoder scores 0.8`; who scored 0 is left out."""
    said = [line for answer in answers for line in _answer(answer)]
    return ", ".join(said) or "everybody scores 0"


def policy_as_json(policy: Policy) -> dict[str, str]:
    """Return which policy it is."""
    return {"id": policy.id, "version": policy.version, "digest": policy.digest}


def _answer(answer: Answer) -> Iterator[str]:
    who = " or ".join(answer.by)
    if answer.score:
        yield f"{who} scores {answer.score:g}" if who else f"a score of {answer.score:g}"
    for reason in answer.missing:
        if reason == UNSUPPORTED_LANGUAGE:
            yield f"a language that {who or 'somebody'} does not read"
        else:
            yield f"no answer from {who or 'somebody'}"


def fact(value: object) -> str:
    """Return a value of a condition's variable: a list as its members."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    return _word(value) or "none"


def _word(value: object) -> str:
    if isinstance(value, list | tuple | frozenset):
        return " and ".join(sorted(map(str, value)))
    return str(value)
