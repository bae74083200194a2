"""Holds recorded decisions against what people say about them.

The decision log has scores, rules and actions, and no texts. A CSV with the decisions'
ids and labels is enough to see how the installation does on its own traffic.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

from gateway.evaluation.labelled import Columns, labelled_set
from gateway.evaluation.run import Asked, Evaluated, file_digest
from gateway.evaluation.subjects import with_any
from gateway.evaluation.types import ANY, DECISION, Answer, EvaluationError, Fact, Row

Show = Callable[[str], Awaitable[Sequence[dict[str, Any]]]]
RECORDED = "recorded decisions"
_HELD = frozenset({"block", "review"})


async def evaluate_decisions(
    labels: Path, columns: Columns, known: frozenset[str], show: Show
) -> tuple[Evaluated, tuple[tuple[str, str], ...]]:
    """Return the labelled decisions as if somebody had been asked about them.

    Args:
        labels: CSV, JSON lines or Parquet; the column that `columns` calls `text` holds
            decision ids, `dec_...`.
        columns: Where the labels stand.
        known: Category names, for files with one column per category.
        show: Returns the log's entries about an id.

    Returns:
        The set, and the name and digest of every policy and classifier that decided.

    Raises:
        EvaluationError: If the file cannot be read, or names what is not in the log.
    """
    facts: list[Fact] = []
    answers: list[Answer] = []
    parts: dict[tuple[str, str], None] = {}
    for row in labelled_set(RECORDED, labels, columns, known).rows():
        entries = await show(row.text.strip())
        entry = next((each for each in entries if each["type"] == "decision.recorded"), None)
        if entry is None:
            where = f"{labels}:{row.line}"
            raise EvaluationError(f"{where}: there is no decision `{row.text[:80]}` in the log")
        facts.append(_fact(row, entry))
        answers.append(_answer(entry))
        policy = entry["policy"]
        parts[f"policy {policy['id']} {policy['version']}", policy["digest"]] = None
        for receipt in entry["classifiers"]:
            parts[receipt["id"], receipt["digest"]] = None
    if not facts:
        raise EvaluationError(f"{labels}: there are no rows")
    labelled = frozenset(category for fact in facts for category in fact.labels)
    asked = Asked(RECORDED, labelled | {ANY, DECISION}, tuple(answers))
    evaluated = Evaluated(RECORDED, str(labels), file_digest(labels), tuple(facts), (asked,))
    return evaluated, tuple(parts)


def _fact(row: Row, entry: dict[str, Any]) -> Fact:
    read = [each["scanned_chars"] + each["unscanned_chars"] for each in entry["classifiers"]]
    stage = entry["decision"]["stage"]
    kind = f"{stage}, {row.kind}" if row.kind else stage
    digest = row.text.strip().removeprefix("dec_")[-16:]
    return Fact(row.line, digest, max(read, default=0), kind, dict(row.labels))


def _answer(entry: dict[str, Any]) -> Answer:
    """Return the recorded scores; a category that is not listed was answered, and scored 0."""
    scores: dict[str, float | None] = {
        each["category"]: each["score"] for each in entry.get("scores", ())
    }
    scores = with_any(scores, frozenset(scores))
    if entry["decision"]["action"] in _HELD:
        scores[DECISION] = _held(entry)
    durations = [each["duration_ms"] or 0.0 for each in entry["classifiers"]]
    errors = {each["error"] for each in entry["classifiers"] if each["error"]}
    return Answer(scores, float(max(durations, default=0.0)), tuple(sorted(errors)))


def _held(entry: dict[str, Any]) -> float | None:
    """Return 1 if a score held it back, None if only silence did."""
    determining = [rule for rule in entry["rules"] if rule["id"] in entry["determining_rules"]]
    return None if determining and all(rule["unavailable"] for rule in determining) else 1.0
