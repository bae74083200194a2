import json
import random

import pytest
import rfc8785
from hypothesis import given
from hypothesis import strategies as st

from gateway.audit.entry_check import parse_canonical
from gateway.audit.projection import columns_of
from gateway.audit.shapes import Shapes

ENTRY = {
    "actor": {"key": "abcdefghijkl", "project": "acme", "safety_identifier": None},
    "coverage": {"state": "full", "unscanned_chars": 12},
    "id": "01a21931-3582-75ba-b221-0cc9d8a098ee",
    "passages": [],
    "recorded_at": "2026-11-26T18:49:45.090489Z",
    "replica": {"build": "0.1.0", "id": "rep_0123456789abcdef", "seq": 7},
    "request": {"endpoint": "responses", "id": "req_01", "stream": True},
    "scores": [{"category": "violence", "score": 0.5312}, {"category": "hate", "score": 1}],
    "type": "decision.recorded",
    "verdicts": [{"scores": [[0, 0.12345678901234566], ["timeout"], [None]]}],
}
SCALARS = [None, True, False, 0, 7, -3, 10**15, 0.5, 0.0001, 1e-05, 12.25, 1e21, 0.1 + 0.2]
SCALARS += ["", "flag", "naïve", 'a "quote"', "0.12345678", "null"]
INSERTED = [b"0", b"1", b".", b"-", b'"', b"\\", b" ", b"e", b",", b"null", b"[]", b"\xff", b"\x07"]


def some_value(chance, depth=3):
    kind = chance.randrange(5) if depth else 0
    if kind == 3:
        return [some_value(chance, depth - 1) for _ in range(chance.randrange(4))]
    if kind == 4:
        return {name: some_value(chance, depth - 1) for name in chance.sample("abcdef", 2)}
    return chance.choice(SCALARS)


def some_entry(chance):
    """An entry whose project, if any, may be in one part or another."""
    parts = {name: some_value(chance) for name in chance.sample(["key", "rules", "usage"], 2)}
    if chance.random() < 0.5:
        parts["panel"] = {"project": chance.choice([None, "other"]), "size": some_value(chance)}
    if chance.random() < 0.3:
        parts["actor"] = {"project": None}
    if chance.random() < 0.2:
        parts["project"] = chance.choice([None, "outermost"])
    if chance.random() < 0.3:
        parts["request"] = chance.choice([None, {"id": None}, {"endpoint": "chat"}])
    return ENTRY | parts


def line_of(document):
    return rfc8785.dumps(document)


def taught(*lines):
    """Shapes that have seen these lines often enough."""
    shapes = Shapes()
    for line in lines:
        for _ in range(8):
            shapes.learn(json.loads(line))
    return shapes


def canonical(line):
    """Whether a line is what RFC 8785 makes of it, by the reference."""
    try:
        return rfc8785.dumps(json.loads(line)) == line
    except (ValueError, rfc8785.CanonicalizationError):
        return False


def columns_in(read):
    """What a recognised line says, as `columns_of` would."""
    shape, said = read
    id, moment, request, project, replica, number = said
    filled = (id, moment, request or b"null", project or b"null", replica, number)
    return tuple(json.loads(shape.beside % (5, *filled)))[1:]


def test_another_entry_of_a_shape_is_recognised_and_says_its_columns():
    shapes = taught(line_of(ENTRY))
    other = line_of(
        ENTRY
        | {"id": "another", "replica": {"build": "9", "id": "rep_2", "seq": 8}}
        | {"scores": [{"category": "self_harm", "score": 0.0001}] * 5}
        | {"verdicts": [{"scores": [[0.1, 0.2, 0.3333333333333333]]}] * 2}
    )

    assert columns_in(shapes.read(other)) == columns_of(json.loads(other))


def test_nothing_is_recognised_before_it_was_seen_often():
    shapes = Shapes()
    shapes.learn(ENTRY)

    assert shapes.read(line_of(ENTRY)) is None


@pytest.mark.parametrize(
    ("written", "otherwise"),
    [
        (b'"unscanned_chars":12', b'"unscanned_chars":012'),
        (b'"unscanned_chars":12', b'"unscanned_chars":12.0'),
        (b'"unscanned_chars":12', b'"unscanned_chars":1.2e1'),
        (b'"unscanned_chars":12', b'"unscanned_chars":-0'),
        (b'"unscanned_chars":12', b'"unscanned_chars": 12'),
        (b"0.5312", b"0.53120"),
        (b"0.5312", b".5312"),
        (b"0.12345678901234566", b"0.12345678901234567"),
        (b"0.12345678901234566", b"0.123456789012345660001"),
        (b'"hate"', b'"h\\u0061te"'),
        (b'"hate"', b'"ha\\/te"'),
        (b'"hate"', b'"ha\x01te"'),
        (b'"hate"', b'"ha\xffte"'),
        (b'"stream":true', b'"stream":True'),
        (b'"endpoint":"responses","id":"req_01"', b'"id":"req_01","endpoint":"responses"'),
        (b'"seq":7', b'"seq":7,"seq":7'),
        (b"}", b"} "),
        (b'"type":"decision.recorded"', b'"type":"request.completed"'),
    ],
)
def test_what_is_written_in_another_way_is_not_recognised(written, otherwise):
    line = line_of(ENTRY)
    assert written in line

    assert taught(line).read(line.replace(written, otherwise, 1)) is None


def test_whatever_is_recognised_is_canonical_and_says_the_same():
    chance = random.Random(1)  # noqa: S311 - not a secret
    recognised = 0
    for _ in range(40):
        lines = [line_of(some_entry(chance)) for _ in range(2)]
        shapes = taught(*lines)
        for _ in range(300):
            line = bytearray(chance.choice(lines))
            for _ in range(chance.randrange(3)):
                at = chance.randrange(len(line))
                line[at : at + chance.randrange(3)] = chance.choice(INSERTED)
            if (read := shapes.read(bytes(line))) is not None:
                recognised += 1
                assert canonical(bytes(line))
                assert columns_in(read) == columns_of(parse_canonical(bytes(line)))
    assert recognised > 1000


@given(st.one_of(st.floats(0, 1), st.floats(0, 10**10), st.integers(0, 10**16)))
def test_a_number_is_recognised_only_as_the_reference_writes_it(number):
    shapes = taught(line_of(ENTRY))
    for text in {repr(number), f"{number:.17g}", f"{number:.20f}", f"{number:.6f}", f"{number:f}"}:
        line = line_of(ENTRY).replace(b"0.12345678901234566", text.encode())
        if shapes.read(line) is not None:
            assert canonical(line)
