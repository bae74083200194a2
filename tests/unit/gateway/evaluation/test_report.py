import re
import sys
from html.parser import HTMLParser

import pytest

from gateway.evaluation.labelled import Columns, labelled_set
from gateway.evaluation.report import (
    MAX_TEXT,
    Run,
    figures,
    html,
    markdown,
    notes,
    plain,
    texts_of,
    threshold,
)
from gateway.evaluation.run import fact_of
from gateway.evaluation.summary import Wanted, summarise
from gateway.evaluation.types import MissingExtra, Row
from tests.unit.gateway.evaluation.answers import ROWS, evaluated

EVIL = '<script>alert("x")</script>|`*[a](javascript:b)'
TWO = [(*row, row[2]) for row in ROWS]


def reported(rows=TWO, subjects=("a@1", "b@1"), texts=None, **options):
    found = evaluated(rows, subjects=subjects, **options)
    summary = summarise([found], Wanted(1 / 3))
    parts = {subject: ((subject, "d" * 64),) for subject in subjects}
    run = Run("The <title>", "2026-11-24 00:00 UTC", "0.1.0", parts, 1, texts)
    return summary, [found], run


class Wellformed(HTMLParser):
    """Follows tags, and remembers every attribute."""

    VOID = frozenset({"meta", "br", "link", "img", "use", "path", "input", "circle"})

    def __init__(self, page):
        super().__init__()
        self.open, self.tags, self.attributes = [], [], []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes.extend(attrs)
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes.extend(attrs)

    def handle_endtag(self, tag):
        if tag not in self.VOID:
            assert self.open.pop() == tag


def test_the_page_is_whole_and_needs_nothing_else():
    page = html(*reported())

    read = Wellformed(page)
    assert read.open == []
    assert {"script", "link", "img", "iframe"}.isdisjoint(read.tags)
    links = [value for name, value in read.attributes if name in {"src", "href", "xlink:href"}]
    assert all(link.startswith("#") for link in links)
    assert "url(http" not in page
    assert "@import" not in page


def test_the_page_has_pictures_in_the_pages_own_colours():
    page = html(*reported())

    assert page.count("<svg") == 3
    assert "var(--series-0)" in page
    assert "var(--series-1)" in page
    drawn = "".join(re.findall(r"<svg.*?</svg>", page, re.DOTALL))
    assert not re.search(r"#0103\d\d|#01020[34]", drawn)


def test_a_picture_has_no_name_that_another_has_too():
    page = html(*reported())

    ids = re.findall(r' id="([^"]*)"', page)
    shared = {name for name in ids if ids.count(name) > 1}
    parts = {name: set(re.findall(rf'<[^>]* id="{name}"[^>]*>', page)) for name in shared}
    assert all(len(same) == 1 for same in parts.values())


@pytest.mark.parametrize("write", [html, markdown])
def test_a_report_says_what_was_run(write):
    page = write(*reported())

    for said in ("a@1", "d" * 64, "mine.csv", "f" * 64, "0.1.0", "2026-11-24", "timeout"):
        assert said in page
    assert "folder/" not in page


@pytest.mark.parametrize("write", [html, markdown])
def test_what_files_and_names_say_is_never_markup(write):
    rows = [(label, EVIL, *scores) for label, _, *scores in TWO]
    summary, found, run = reported(rows, subjects=("a@1", f"b{EVIL}"), name=f"mine{EVIL}")
    texts = {fact.digest: EVIL for fact in found[0].facts}

    page = write(summary, found, Run(EVIL, run.date, run.version, run.parts, 1, texts))

    assert "<script>" not in page
    if write is html:
        assert Wellformed(page).open == []
    else:
        assert "](javascript" not in page
        tables = re.findall(r"(?:^\|.*\n)+", page, re.MULTILINE)
        for table in tables:
            assert len({len(re.findall(r"(?<!\\)\|", line)) for line in table.splitlines()}) == 1
        assert len(tables) > 5


@pytest.mark.parametrize("write", [html, markdown])
def test_texts_are_shown_only_if_they_were_asked_for(write):
    summary, found, run = reported()
    texts = {fact.digest: f"the words of {fact.line}" for fact in found[0].facts}

    assert "the words of" not in write(summary, found, run)
    shown = write(summary, found, Run(run.title, run.date, run.version, run.parts, 1, texts))
    assert "the words of 5" in shown


def test_only_the_texts_of_mistakes_are_read_again(tmp_path):
    path = tmp_path / "mine.csv"
    long = "x" * (MAX_TEXT + 5)
    path.write_text(f"text,label\nfine,0\n{long},0\n")
    labelled = labelled_set("mine", path, Columns())
    facts = [fact_of(row) for row in labelled.rows()]
    summary = summarise([evaluated([(False, "", 0.1), (False, "", 0.9)])], Wanted(0.5))
    [mistake] = summary.measured[0].flagged
    object.__setattr__(mistake, "fact", facts[1])

    assert texts_of(summary, [labelled]) == {facts[1].digest: "x" * MAX_TEXT + "…"}


def test_figures_are_for_machines():
    found = figures(reported()[0])

    assert found[0]["set"] == "mine"
    assert found[0]["proposed"]["threshold"] == 0.3
    assert found[0]["thresholds"][0]["threshold"] == 0.1


def test_what_a_reader_must_not_overlook_is_said():
    few = notes(reported()[0])
    none = notes(summarise([evaluated([(True, "", 0.5)])], Wanted()))
    all_high = notes(summarise([evaluated([(False, "", 1.0), (True, "", 1.0)])], Wanted()))

    assert "for 2 of 8 texts an answer is missing (timeout 2)" in few[0]
    assert "with 3 safe texts, all that is certain" in few[2]
    assert "no text is labelled safe" in none[0]
    assert "no threshold flags as few" in all_high[0]


def test_a_report_of_one_class_has_no_pictures_and_is_whole():
    page = html(*reported([(True, "", 0.5), (True, "", None)], subjects=("a@1",)))

    assert "<svg" not in page
    assert Wellformed(page).open == []


def test_a_text_that_is_no_unicode_can_be_shown(tmp_path):
    row = Row("half \ud800 a character", {"any": False})
    summary = summarise([evaluated([(False, "", 0.9), (False, "", 0.1)])], Wanted(0.5))
    object.__setattr__(summary.measured[0].flagged[0], "fact", fact_of(row))
    labelled = labelled_set("mine", tmp_path, Columns())
    object.__setattr__(labelled, "rows", lambda: iter([row]))

    [text] = texts_of(summary, [labelled]).values()

    text.encode()


def test_without_matplotlib_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)

    with pytest.raises(MissingExtra, match=r"pip install 'ostiary\[eval\]'"):
        html(*reported())
    assert "At a glance" in markdown(*reported())


@pytest.mark.parametrize(
    ("value", "said"), [(0.5, "0.50"), (1.0, "1.00"), (0.7411, "0.7411"), (0.0, "0.00")]
)
def test_a_threshold_is_told_as_it_would_be_written(value, said):
    assert threshold(value) == said


def test_markdown_is_made_plain():
    assert plain("a\n|b|`c`<d>&") == "a \\|b\\|'c'&lt;d>&amp;"
