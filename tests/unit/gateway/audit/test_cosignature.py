import json
from dataclasses import replace
from pathlib import Path

import pytest

from gateway.audit.cosignature import (
    Cosigned,
    WitnessKey,
    cosign,
    cosignatures,
    parse_witness_key,
    witness_key,
)
from gateway.notes import Note, NoteError, Signature, SigningKey, parse_note, sign, verify

VECTORS = json.loads((Path(__file__).parents[3] / "vectors" / "checkpoints.json").read_text())
LOG, WITNESS = SigningKey("log.example", b"l" * 32), SigningKey("witness.example", b"w" * 32)
PUBLIC = witness_key(WITNESS)
NOTE = sign(Note("log.example\n5\ncnJycnJycnJycnJycnJycnJycnJycnJycnJycnJycnI=\n"), LOG)


def test_the_example_of_the_specification_says_when_it_was_cosigned():
    example = VECTORS["c2sp"]
    line = parse_note(example["note"].encode()).signatures[1]

    assert len(line.value) == 72
    assert int.from_bytes(line.value[:8], "big") == example["cosigned_at"]


def test_a_cosignature_stands_beside_the_logs_signature_and_says_when():
    note = parse_note(cosign(NOTE, WITNESS, 1_800_000_000).encode())

    assert cosignatures(note, [PUBLIC]) == (Cosigned(PUBLIC, 1_800_000_000),)
    assert verify(note, [LOG.verifier]) == (LOG.verifier,)


def test_a_later_cosignature_by_the_same_witness_replaces_the_earlier():
    note = cosign(cosign(NOTE, WITNESS, 1), WITNESS, 2)

    assert len(note.signatures) == 2
    assert cosignatures(note, [PUBLIC]) == (Cosigned(PUBLIC, 2),)


def test_a_witness_nobody_trusts_is_ignored():
    other = witness_key(SigningKey("witness.example", b"x" * 32))

    assert cosignatures(cosign(NOTE, WITNESS, 1), [other]) == ()


def test_a_cosignature_of_another_text_or_time_or_length_is_refused():
    note = cosign(NOTE, WITNESS, 1)
    line = note.signatures[1]
    later = Signature(line.name, line.key_id, (2).to_bytes(8, "big") + line.value[8:])
    shorter = Signature(line.name, line.key_id, line.value[:-1])

    for changed in (
        replace(note, text=note.text.replace("\n5\n", "\n6\n")),
        replace(note, signatures=(later,)),
        replace(note, signatures=(shorter,)),
    ):
        with pytest.raises(NoteError, match="the cosignature by"):
            cosignatures(changed, [PUBLIC])


def test_a_signature_of_the_note_is_no_cosignature():
    key = witness_key(LOG)

    assert cosignatures(NOTE, [key]) == ()
    assert key.key_id != LOG.verifier.key_id


def test_a_witness_key_reads_back_as_it_was_written():
    assert parse_witness_key(str(PUBLIC)) == PUBLIC


@pytest.mark.parametrize(
    "text",
    [
        str(WITNESS.verifier),
        str(PUBLIC).replace("witness", "w"),
        str(PUBLIC)[:-4],
        str(WitnessKey("short", b"k" * 31)),
    ],
)
def test_what_is_no_witness_key_is_refused(text):
    with pytest.raises(NoteError):
        parse_witness_key(text)
