import pytest

from gateway.audit.formats.types import Weight, categories, milliseconds, nanoseconds, part, weight


@pytest.mark.parametrize(
    ("kind", "wanted"),
    [
        ("allow", Weight.INFORMATIONAL),
        ("flag", Weight.LOW),
        ("block", Weight.MEDIUM),
        ("lost", Weight.MEDIUM),
        ("key", Weight.INFORMATIONAL),
        ("alert", Weight.HIGH),
        ("overseen", Weight.LOW),
    ],
)
def test_an_entry_weighs_what_was_decided_or_what_happened(record, kind, wanted):
    assert weight(record(kind).entry) is wanted


def test_an_action_that_is_not_known_asks_for_attention():
    assert weight({"type": "decision.recorded", "decision": {"action": "new"}}) is Weight.HIGH


def test_a_category_is_named_once_whether_it_scored_or_a_rule_is_about_it():
    entry = {
        "scores": [{"category": "a"}, {"category": "b"}],
        "rules": [{"category": "b"}, {"category": None}, {"category": "c"}],
    }
    assert sorted(categories(entry)) == ["a", "b", "c"]
    assert categories({"rules": ["only-a-name"]}) == []


def test_a_path_that_leads_nowhere_is_none():
    assert part({"a": {"b": 1}}, "a", "b") == 1
    assert part({"a": None}, "a", "b") is None
    assert part({"a": "text"}, "a", "b") is None


def test_moments_keep_every_microsecond():
    assert nanoseconds("1970-01-01T00:00:01.000001Z") == 1_000_001_000
    assert nanoseconds("2026-11-26T18:00:00.999999Z") % 1_000_000_000 == 999_999_000
    assert milliseconds("1970-01-01T00:00:01.999999Z") == 1999
