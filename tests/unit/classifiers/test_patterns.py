import pytest

from classifiers.patterns import Patterns

PATTERNS = Patterns()


def examples(kind):
    return [
        pytest.param(pattern, text, id=f"{pattern.id}: {text[:40]}")
        for pattern in PATTERNS.patterns
        for text in getattr(pattern, kind)
    ]


def found(pattern, text):
    return [text[span.start : span.end] for span in pattern.spans(text, 0)]


@pytest.mark.parametrize(("pattern", "text"), examples("matches"))
def test_what_a_pattern_must_match_is_found_and_its_hint_leads_there(pattern, text):
    assert found(pattern, text)
    assert pattern in PATTERNS._hints.candidates(text)


@pytest.mark.parametrize(("pattern", "text"), examples("misses"))
def test_a_near_miss_is_not_found(pattern, text):
    assert not found(pattern, text)
