import pytest

from gateway.evaluation.decisions import RECORDED, evaluate_decisions
from gateway.evaluation.labelled import Columns
from gateway.evaluation.summary import Wanted, summarise
from gateway.evaluation.types import EvaluationError

COLUMNS = Columns(text="decision")
KNOWN = frozenset({"any", "violence"})


def entry(number, action="allow", scores=(), *, unavailable=False, error=None):
    return {
        "type": "decision.recorded",
        "decision": {"id": f"dec_{number:032x}", "stage": "input", "action": action},
        "policy": {"id": "small", "version": "1.0.0", "digest": "p" * 64},
        "determining_rules": ["no-violence"] if action == "block" else [],
        "rules": [{"id": "no-violence", "unavailable": unavailable}] if action == "block" else [],
        "classifiers": [
            {
                "id": "a@1",
                "digest": "a" * 64,
                "scanned_chars": 20,
                "unscanned_chars": 3,
                "duration_ms": 1.5,
                "error": error,
            }
        ],
        "scores": [{"category": category, "score": score} for category, score in scores],
    }


LOG = {
    f"dec_{number:032x}": made
    for number, made in enumerate(
        [
            entry(0, "block", [("violence", 0.9), ("prompt_injection", 0.95)]),
            entry(1),
            entry(2, "block", [("violence", None)], unavailable=True, error="timeout"),
            entry(3, "flag", [("violence", 0.6)]),
        ]
    )
}


async def show(id):
    return [{"type": "request.admitted"}, LOG[id]] if id in LOG else []


async def evaluated(tmp_path, content):
    path = tmp_path / "labels.csv"
    path.write_text(content)
    return await evaluate_decisions(path, COLUMNS, KNOWN, show)


def labelled(*labels):
    return "decision,label\n" + "".join(f"dec_{n:032x},{label}\n" for n, label in enumerate(labels))


async def test_recorded_scores_are_held_against_labels(tmp_path):
    found, parts = await evaluated(tmp_path, labelled(1, 0, 1, 0))

    assert [answer.scores.get("any", 0.0) for answer in found.asked[0].answers] == [
        0.9,
        0.0,
        None,
        0.6,
    ]
    assert parts == (("policy small 1.0.0", "p" * 64), ("a@1", "a" * 64))
    [any_harm, decision] = summarise([found], Wanted(0.5)).measured
    assert (any_harm.subject, any_harm.category) == (RECORDED, "any")
    assert any_harm.missing_positives == 1
    assert (decision.category, decision.proposed.caught, decision.proposed.passed) == (
        "decision",
        1,
        2,
    )
    assert decision.missing_positives == 1


async def test_a_decision_is_known_by_stage_length_and_the_end_of_its_id(tmp_path):
    found, _ = await evaluated(tmp_path, labelled("", 1))

    assert [(fact.kind, fact.chars, fact.digest) for fact in found.facts] == [
        ("input", 23, f"{0:016x}"),
        ("input", 23, f"{1:016x}"),
    ]


async def test_a_category_can_be_labelled_by_itself(tmp_path):
    found, _ = await evaluated(tmp_path, f"decision,violence\ndec_{0:032x},1\n")

    assert found.facts[0].labels == {"violence": True}
    assert "violence" in found.asked[0].categories


async def test_a_decision_that_is_not_in_the_log_is_named(tmp_path):
    with pytest.raises(EvaluationError, match=r"labels\.csv:3: there is no decision `dec_nobody`"):
        await evaluated(tmp_path, labelled(1) + "dec_nobody,1\n")


async def test_no_labels_are_a_mistake(tmp_path):
    with pytest.raises(EvaluationError, match="there are no rows"):
        await evaluated(tmp_path, "decision,label\n")
