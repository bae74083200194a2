import asyncio
import socket
import sys
import time

import pytest

from classifiers import presidio
from classifiers.presidio import LIMIT, OVERLAP, WINDOW, Presidio
from classifiers.types import Passage, Source

MET = "Yesterday Ada Lovelace met Charles Babbage in London with the German delegation."
FRENCH = (
    "Bonjour, je m'appelle Pierre Dupont et j'habite depuis longtemps dans une petite maison "
    "avec ma famille, écrivez-moi à pierre@dupont.example.fr si vous voulez."
)


@pytest.fixture(scope="module")
def names():
    return Presidio()


def judged(names, text, before=""):
    (verdicts,) = asyncio.run(names.classify([Passage(Source.USER, text, before)]))
    return verdicts


def marked(names, text, before=""):
    whole = before + text
    return {
        (span.kind, whole[span.start + len(before) : span.end + len(before)])
        for verdict in judged(names, text, before)
        for span in verdict.spans
    }


def test_people_places_and_groups_are_found_exactly_where_they_are(names):
    assert marked(names, MET) == {
        ("person", "Ada Lovelace"),
        ("person", "Charles Babbage"),
        ("location", "London"),
        ("group", "German"),
    }


def test_what_is_harmless_has_no_verdict(names):
    for text in ("", " \n\t ", "The bread is in the oven and it will be ready soon.", "1" * 500):
        assert judged(names, text) == []


def test_an_address_in_other_letters_is_found_without_asking_the_network(names, monkeypatch):
    def refused(*_):
        raise AssertionError("the network was asked")

    monkeypatch.setattr(socket.socket, "connect", refused)
    monkeypatch.setattr(socket, "getaddrinfo", refused)

    found = marked(names, "Write to josé@exämple.de or ada@example.org, but not to a@b.c today")

    assert {text for kind, text in found if kind == "email"} == {
        "josé@exämple.de",
        "ada@example.org",
    }


def test_another_language_is_said_beside_what_was_found(names):
    verdicts = judged(names, FRENCH)

    unread = {verdict.category for verdict in verdicts if verdict.error == "unsupported_language"}
    assert unread == {"pii.person", "pii.location", "pii.group"}
    assert all(verdict.score is None for verdict in verdicts if verdict.error)
    assert ("email", "pierre@dupont.example.fr") in marked(names, FRENCH)


def test_what_lies_beyond_the_limit_is_not_called_harmless(names):
    verdicts = judged(names, MET + " " * LIMIT)

    assert {v.category for v in verdicts if v.error == "too_long"} == names.categories
    assert any(v.category == "pii.person" and v.score for v in verdicts)


def test_a_name_is_found_wherever_a_window_cuts_a_long_text(names):
    for start in (WINDOW - OVERLAP - 20, WINDOW - 25, WINDOW - 8, WINDOW + 1):
        head = ("The bread is in the oven. " * 100)[: start - 1] + " "
        text = head + "Charles Babbage was a friend of hers. " + "It is ready soon. " * 20

        assert ("person", "Charles Babbage") in marked(names, text)


def test_a_name_split_between_passages_is_seen(names):
    text, cut = "She said that Charles Babbage was there.", len("She said that Charles ")

    assert ("person", "Charles Babbage") in marked(names, text[cut:], before=text[:cut])


def test_what_lies_wholly_in_the_text_before_is_not_reported_again(names):
    assert judged(names, " and so on, as it was.", before=MET) == []


def test_spans_count_code_points_and_lone_surrogates_hide_nothing(names):
    text = f"😀 é {chr(0xD800)} Yesterday Angela Merkel spoke. {chr(0xDFFF)}"

    assert ("person", "Angela Merkel") in marked(names, text)


@pytest.mark.parametrize("piece", ["a.b-c_d%", "a@", "1", "\u0301", "!#$%&'*+-/=?^_`{|}~"])
def test_hostile_text_takes_bounded_time(names, piece):
    text = (piece * 10_000)[:10_000]
    started = time.process_time()

    judged(names, text)

    assert time.process_time() - started < 10  # about a second; the work is in a thread


async def test_other_requests_are_served_while_a_long_text_is_read(names):
    turns = 0

    async def count():
        nonlocal turns
        while True:
            await asyncio.sleep(0)
            turns += 1

    counting = asyncio.create_task(count())
    await names.classify([Passage(Source.USER, MET * 20)])
    counting.cancel()

    assert turns > 5


async def test_who_gave_up_is_not_read_for(names):
    reading = asyncio.create_task(names.classify([Passage(Source.USER, MET * 500)]))
    await asyncio.sleep(0.05)
    reading.cancel()

    started = time.perf_counter()
    await names.classify([Passage(Source.USER, MET)])

    assert time.perf_counter() - started < 30  # one window, not forty


@pytest.mark.parametrize("package", ["presidio_analyzer", presidio.MODEL, "tldextract"])
def test_a_missing_package_is_said_with_how_to_get_it(monkeypatch, package):
    presidio._engine.cache_clear()
    monkeypatch.setitem(sys.modules, package, None)

    with pytest.raises(ValueError, match=rf"needs the package `{package}`; .*ostiary\[pii\]"):
        Presidio()
    presidio._engine.cache_clear()


def test_the_digest_is_that_of_the_model(names):
    assert len(names.digest) == 64
    assert names.digest == Presidio().digest
