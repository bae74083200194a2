import re
from collections import Counter
from datetime import timedelta
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.audit.evidence.charts import _round_up, picture, series

HOURS = st.integers(0, 24 * 400).map(lambda at: at)


def counts(hours):
    from datetime import UTC, datetime

    start = datetime(2026, 1, 1, tzinfo=UTC)
    names = [(start + timedelta(hours=at)).strftime("%Y-%m-%dT%H") for at in hours]
    return {name: Counter({"let through": 2, "held back": 1}) for name in names}, Counter(names)


@given(st.lists(st.integers(0, 24 * 400 - 1), max_size=30))
def test_every_decision_is_in_one_bar_however_long_the_time(hours):
    decisions, busy = counts(hours)
    drawn = series(decisions, busy, "2026-01-01T00:30", "2027-02-05T00:00")

    assert sum(bar.decisions.total() for bar in drawn.bars) == 3 * len(set(hours))
    assert sum(bar.entries for bar in drawn.bars) == len(hours)
    assert len(drawn.bars) <= 102


@pytest.mark.parametrize(
    ("until", "unit", "bars"),
    [
        ("2026-01-01T00:20", "hour", 1),
        ("2026-01-03T00:00", "hour", 49),
        ("2026-03-01T00:00", "day", 60),
        ("2026-12-31T00:00", "week", 53),
        ("2032-01-01T00:00", "four weeks", 79),
        ("2046-01-01T00:00", "74 days", 99),
    ],
)
def test_a_step_is_as_long_as_leaves_bars_that_can_be_seen(until, unit, bars):
    drawn = series({}, {}, "2026-01-01T00:00", until)

    assert (drawn.unit, len(drawn.bars)) == (unit, bars)


def test_the_picture_is_well_formed_and_as_tall_as_the_counts():
    decisions, busy = counts([0, 1])
    drawn = series(decisions, busy, "2026-01-01T00:00", "2026-01-01T03:00")
    root = ElementTree.fromstring(picture(drawn, "Decisions over time"))  # noqa: S314 - ours

    assert root.get("role") == "img"
    assert root.get("aria-label") == "Decisions over time"
    tall = [
        float(rect.get("height")) for rect in root.iter("rect") if rect.get("class") == "group-0"
    ]
    assert len(tall) == 2
    held = [
        float(rect.get("height")) for rect in root.iter("rect") if rect.get("class") == "group-2"
    ]
    assert tall[0] == pytest.approx(2 * held[0], abs=0.2)
    silent = [rect for rect in root.iter("rect") if rect.get("class") == "silent"]
    assert len(silent) == len(drawn.bars) - 2
    titles = [title.text for title in root.iter("title")]
    assert titles[0] == "01 Jan 00:00: 2 let through, 0 marked or altered, 1 held back"
    assert titles[-1].endswith(": nothing")


def test_nothing_in_the_picture_leads_elsewhere():
    drawn = series({}, {}, "2026-01-01T00:00", "2026-02-01T00:00")

    assert not re.search(r"href|url\(|script|http|style=", picture(drawn, "x"))


@given(st.integers(0, 10**9))
def test_the_scale_holds_what_is_drawn_and_not_much_more(value):
    highest = _round_up(value)

    assert highest >= value
    assert highest <= max(4, 2 * value)
