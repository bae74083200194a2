"""What is evaluated: classifiers as a panel, or a policy over them; `live` has gateways.

Each is asked about one text at a time, as users send them. Silence is told as silence: a
category nobody answered for has the score None, whoever was asked.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from time import perf_counter
from typing import Protocol

from classifiers.panel import Panel
from classifiers.types import Assessment, Classifier, Passage
from gateway.evaluation.types import ANY, DECISION, Answer, Row
from policies.cascade import assess
from policies.evaluate import evaluate
from policies.types import STAGE_OF, Decision, Policy

# `any` is harm to people; an attack on the system, a secret or a number is not.
_NO_HARM = ("prompt_injection", "secrets.", "pii.")


class Subject(Protocol):
    """What can be asked about a row.

    Attributes:
        name: As the report calls it; unique within a run.
        digest: SHA-256 of what determines its answers, hex.
        categories: What it answers for.
        parts: Name and digest of each thing it is made of.
    """

    @property
    def name(self) -> str: ...  # noqa: D102 - the class docstring has it

    @property
    def digest(self) -> str: ...  # noqa: D102 - the class docstring has it

    @property
    def categories(self) -> frozenset[str]: ...  # noqa: D102 - the class docstring has it

    @property
    def parts(self) -> tuple[tuple[str, str], ...]: ...  # noqa: D102 - the class docstring has it

    async def ask(self, row: Row) -> Answer:
        """Return what it says; a failure is an answer without scores."""
        ...

    async def aclose(self) -> None:
        """Let go of connections."""
        ...


class PanelSubject:
    """Classifiers asked together: in each category the highest score counts.

    Args:
        classifiers: One or several.
        deadline_ms: How long each may take, milliseconds.
    """

    def __init__(self, classifiers: Sequence[Classifier], deadline_ms: int):
        self._panel = Panel(classifiers)
        self._deadline_ms = deadline_ms
        self.name = " + ".join(each.name for each in classifiers)
        self.parts = tuple((each.name, each.digest) for each in classifiers)
        self.digest = digest_of(self.parts)
        self._own = frozenset(self._panel.covered)
        self.categories = self._own | ({ANY} if _harms(self._own) else frozenset())

    async def ask(self, row: Row) -> Answer:
        """Ask the panel."""
        started = perf_counter()
        assessment = await self._panel.judge([_passage(row)], self._deadline_ms)
        duration_ms = (perf_counter() - started) * 1000
        return _answer(_highest(assessment), self._own, assessment, duration_ms)

    async def aclose(self) -> None:
        """Do nothing."""


class PolicySubject:
    """A policy over the installation's classifiers, asked as the gateway asks.

    Beside the scores it answers for `decision`: 1 where the text would be held back.
    """

    def __init__(self, policy: Policy, panel: Panel):
        self._policy, self._panel = policy, panel
        self.name = f"{policy.id} {policy.version}"
        everyone = (*panel.classifiers, *panel.judges.values())
        self.parts = (
            (f"policy {self.name}", policy.digest),
            *((each.name, each.digest) for each in everyone),
        )
        self.digest = digest_of(self.parts)
        judged = {rule.category for rules in policy.choosy_at.values() for rule in rules}
        self._own = frozenset(panel.covered) | (frozenset(panel.on_request) & judged)
        self.categories = self._own | {DECISION} | ({ANY} if _harms(self._own) else frozenset())

    async def ask(self, row: Row) -> Answer:
        """Assess rung by rung, and decide."""
        stage = STAGE_OF[row.source]
        started = perf_counter()
        assessment = await assess(self._panel, self._policy, stage, (_passage(row),))
        decision = evaluate(self._policy, stage, assessment)
        duration_ms = (perf_counter() - started) * 1000
        # A judge that was not asked because nothing hung on it is not missing; one that no
        # rule asks at this stage is.
        asked = {rule.category for rule in self._policy.choosy_at[stage]}
        unasked = self._own - frozenset(self._panel.covered) - asked
        answer = _answer(decision.scores, self._own, assessment, duration_ms)
        held = {DECISION: _held(decision)} if not decision.released else {}
        silent: dict[str, float | None] = dict.fromkeys(unasked)
        return Answer({**answer.scores, **silent, **held}, duration_ms, answer.errors)

    async def aclose(self) -> None:
        """Do nothing."""


def _passage(row: Row) -> Passage:
    return Passage(row.source, row.text, prompt=row.prompt)


def _highest(assessment: Assessment) -> dict[str, float | None]:
    """Return the highest score in each category, as `Decision.scores` has it."""
    found: dict[str, list[float | None]] = {}
    for verdict in assessment.verdicts[0]:
        found.setdefault(verdict.category, []).append(verdict.score)
    return {
        category: max((score for score in scores if score is not None), default=None)
        for category, scores in found.items()
    }


def _answer(
    scores: Mapping[str, float | None],
    categories: frozenset[str],
    assessment: Assessment,
    duration_ms: float,
) -> Answer:
    errors = {receipt.error for receipt in assessment.receipts if receipt.error}
    # A language that was not learnt is told about a text, not about the classifier.
    errors |= {verdict.error for verdict in assessment.verdicts[0] if verdict.error}
    said = {name: score for name, score in scores.items() if name in categories and score != 0}
    return Answer(with_any(said, categories), duration_ms, tuple(sorted(errors)))


def with_any(
    scores: Mapping[str, float | None], categories: frozenset[str]
) -> dict[str, float | None]:
    """Add `any` for those that have no head for it: the highest harm, if all are known."""
    said = {name: score if score is None else round(score, 6) for name, score in scores.items()}
    harms = [said[name] for name in _harms(categories) if name in said]
    if ANY in categories or not harms:
        return said
    known = [score for score in harms if score is not None]
    return {**said, ANY: max(known) if len(known) == len(harms) else None}


def _harms(categories: frozenset[str]) -> list[str]:
    return [name for name in categories if not name.startswith(_NO_HARM)]


def _held(decision: Decision) -> float | None:
    """Return 1 if a score held it back, None if only silence did."""
    determining = [each for each in decision.outcomes if each.rule in decision.determining_rules]
    return None if all(each.unavailable for each in determining) else 1.0


def digest_of(parts: Iterable[tuple[str, str]]) -> str:
    """Return what names them all together, hex."""
    return hashlib.sha256(
        "\n".join(f"{name} {digest}" for name, digest in parts).encode()
    ).hexdigest()
