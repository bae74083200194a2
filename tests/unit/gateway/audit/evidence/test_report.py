"""The page by itself: whole, safe to open, and honest."""

import re
from html.parser import HTMLParser
from itertools import pairwise

import pytest

from gateway.audit.evidence.checks import findings
from gateway.audit.evidence.document import Origin, document
from gateway.audit.evidence.report import html
from gateway.audit.verify import Report
from tests.unit.gateway.audit.evidence.conftest import entry

HOSTILE = '<script>alert("x")</script>'
VOID = {"meta", "br", "line", "rect"}


class Page(HTMLParser):
    def __init__(self, content):
        super().__init__()
        self.open, self.tags, self.attributes = [], [], []
        self.feed(content)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += [(tag, name, value) for name, value in attrs]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def values(self, name):
        return [value for _, each, value in self.attributes if each == name]


def written(framework, made):
    evidence = document(
        framework, made, findings(made, framework.checks), Origin("1.0", "key", HOSTILE)
    )
    return html(evidence, made.tally)


@pytest.fixture
def page(framework, situation):
    made = situation(
        entry(decision={"action": "block"}, determining_rules=[HOSTILE], project=HOSTILE),
        entry("request.lost", actor={"key": HOSTILE, "project": HOSTILE}),
        entry(at="2026-08-01T00:00:00.000000Z", decision={"action": HOSTILE}),
    )
    return written(framework, made)


def test_it_is_well_formed_and_needs_nothing_else(page):
    parsed = Page(page)

    assert parsed.open == []
    assert not {"script", "link", "img", "iframe", "object", "form"} & set(parsed.tags)
    assert all(value.startswith("#") for value in parsed.values("href"))
    assert parsed.values("src") == []
    assert not [name for _, name, _ in parsed.attributes if name.startswith("on")]
    assert not re.search(r"https?://|@import|url\(", page)


def test_what_somebody_wrote_into_the_log_is_text(page):
    assert HOSTILE not in page
    assert page.count("&lt;script&gt;") >= 3


def test_every_link_leads_to_one_place(page):
    parsed = Page(page)
    ids = parsed.values("id")

    assert len(ids) == len(set(ids))
    assert {value.removeprefix("#") for value in parsed.values("href")} <= set(ids)
    assert set(parsed.values("aria-labelledby")) <= set(ids)


def test_it_can_be_read_aloud(page):
    parsed = Page(page)

    assert ("html", "lang", "en") in parsed.attributes
    assert "main" in parsed.tags
    levels = [int(tag[1]) for tag in parsed.tags if re.fullmatch(r"h[1-6]", tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after - before <= 1 for before, after in pairwise(levels))
    heads = [attributes for attributes in parsed.attributes if attributes[0] == "th"]
    assert len([name for _, name, _ in heads if name == "scope"]) == parsed.tags.count("th")


def test_it_says_evidence_and_never_that_anybody_complies(page):
    assert "Evidence for" in page
    rest = page.replace("does not say that anything or anybody complies with them", "")
    assert not re.search(r"compl(y|ies|iant|iance)", rest, re.IGNORECASE)


def test_gaps_come_before_everything_that_is_there(page):
    assert page.index("What is missing") < page.index('id="headings"')
    assert "There should be none, and there is 1" in page


def test_a_log_that_is_not_intact_is_said_to_be(framework, situation):
    made = situation(entry(), logs=(Report(False, "it is not the entry", 19),))

    assert "The log is not as it was signed at entry 19: it is not the entry." in written(
        framework, made
    )


def test_a_time_without_decisions_has_a_page_as_well(framework, situation):
    page = written(framework, situation(entry("replica.started")))

    assert "No decision was recorded in this time." in page
    assert Page(page).open == []
