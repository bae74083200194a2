"""What a reader of a stream sees of a number, a name or a key: nothing, however it is cut."""

import asyncio
import base64
import json
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from classifiers.patterns import Patterns
from classifiers.types import Passage, Source
from gateway.holdback import LONGEST_BLOCK, LONGEST_WORD, Holdback
from gateway.redaction import Redactor
from model_runner.types import Channel, Delta, Prompt
from policies.types import Redaction

PATTERNS = Patterns()
PRIVATE = ("pii.", "secrets.")
EXAMPLES = [
    text
    for pattern in PATTERNS.patterns
    if pattern.categories[0].startswith(PRIVATE)
    for text in pattern.matches
]
DRAWN = random.Random(11)  # noqa: S311 - reproducible, not secret
LENGTHS = st.lists(st.integers(1, 40), min_size=1, max_size=20)


def spans(text, before=""):
    (verdicts,) = asyncio.run(PATTERNS.classify([Passage(Source.FINAL, text, before)]))
    return [s for v in verdicts if v.category.startswith(PRIVATE) for s in v.spans]


def released(text, lengths, *, stream=True):
    """Return what a reader gets if `text` comes in deltas of these lengths, again and again."""
    holdback, redactor, shown = Holdback(stream=stream), Redactor(Prompt("m", ())), []

    def release(items):
        for held in items:
            found = [Redaction(0, span) for span in spans(held.delta.text, held.before)]
            shown.append(redactor.redact(0, held.delta.text, found))

    start = number = 0
    while start < len(text):
        end = start + lengths[number % len(lengths)]
        release(holdback.push(Delta(Channel.FINAL, text[start:end])))
        start, number = end, number + 1
    release(holdback.flush())
    return "".join(shown)


def pieces(secret):
    """Every four characters of a secret in a row that say something: with a digit in them."""
    fours = (secret[at : at + 4] for at in range(len(secret) - 3))
    return {four for four in fours if any(mark.isdigit() for mark in four)}


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(EXAMPLES), st.integers(0, 90), LENGTHS, st.booleans())
def test_nothing_is_released_by_half(example, pad, lengths, stream):
    head = ("we talked of it then and there, and " * 3)[:pad].rpartition(" ")[0] + " "
    text = f"{head}{example} and so on, as was said before. " + "It will be said again. " * 4
    found = [Redaction(0, span) for span in spans(text)]
    hidden = Redactor(Prompt("m", ())).redact(0, text, found)
    secret = {each for r in found for each in pieces(text[r.span.start : r.span.end])}

    shown = released(text, lengths, stream=stream)

    assert [each for each in secret if each in shown and each not in hidden] == []


BODY = base64.encodebytes(DRAWN.randbytes(1_200)).decode()
MARK = "PRIVATE" + " KEY"  # so that no scanner takes this file for a leak


@pytest.mark.parametrize("name", ["RSA ", "OPENSSH ", "PGP ", ""])
@pytest.mark.parametrize("newline", ["\n", "\r\n", "\\n"])
def test_a_key_of_many_lines_is_hidden_whole(name, newline):
    block = " BLOCK" if name == "PGP " else ""
    body = BODY.replace("\n", newline)
    key = f"-----BEGIN {name}{MARK}{block}-----{newline}{body}-----END {name}{MARK}{block}-----"
    text = f"Here is the key that you asked for.\n\n{key}\n\nPlease keep it safe and sound."

    shown = released(text, [5])

    assert shown.startswith("Here is the key that you asked for.\n\n[private_key]")
    assert shown.endswith("Please keep it safe and sound.")
    assert not any(line in shown for line in BODY.split())


def test_a_key_that_never_ends_is_let_go_at_last():
    text = f"-----BEGIN {MARK}-----\n" + "no end. " * LONGEST_BLOCK

    assert len(released(text, [500])) > LONGEST_BLOCK


def test_no_token_is_cut_in_json_without_spaces():
    tokens = ["gl" + f"pat-{number:04d}" + "aB3dE5gH7jK9mN1pQ3" for number in range(400)]
    text = json.dumps({"tokens": tokens}, separators=(",", ":"))
    assert len(text) > 2 * LONGEST_WORD

    shown = released(text, [61])

    assert json.loads(shown) == {"tokens": ["[gitlab_token]"] * 400}


def test_arguments_with_secrets_are_the_same_document_without_them():
    said = {"to": "ada@example.org", "card": 4111111111111111, "note": "call +1 (212) 555-0187 ☎"}

    for separators in ((", ", ": "), (",", ":")):
        text = json.dumps({"items": [said] * 12}, separators=separators)
        shown = json.loads(released(text, [7]))
        assert (
            shown["items"]
            == [
                {"to": "[email]", "card": "[card]", "note": "call [phone] ☎"},
            ]
            * 12
        )
