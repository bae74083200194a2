import json
from base64 import b64encode
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.audit.checkpoint import (
    MAX_SIZE,
    Checkpoint,
    hash_text,
    parse_checkpoint,
    read_checkpoint,
    sign_checkpoint,
)
from gateway.audit.merkle import EMPTY_ROOT
from gateway.notes import NoteError, SigningKey, parse_note

VECTORS = json.loads((Path(__file__).parents[3] / "vectors" / "checkpoints.json").read_text())
KEY = SigningKey("log.example", b"k" * 32)
ROOT = hash_text(b"r" * 32)

checkpoints = st.builds(
    Checkpoint,
    st.text(st.characters(min_codepoint=0x20, exclude_categories=["Cs"]), min_size=1),
    st.integers(1, MAX_SIZE),
    st.binary(min_size=32, max_size=32),
)


def test_the_example_of_the_specification_reads_and_writes_the_same():
    example = VECTORS["c2sp"]
    note = parse_note(example["note"].encode())
    checkpoint = parse_checkpoint(note.text)

    assert checkpoint.origin == example["log"]
    assert checkpoint.size == example["size"]
    assert hash_text(checkpoint.root) == example["root"]
    assert checkpoint.text() == note.text
    assert note.encode() == example["note"].encode()


@given(checkpoints)
def test_a_checkpoint_reads_back_as_it_was_written(checkpoint):
    assert parse_checkpoint(checkpoint.text()) == checkpoint


@given(st.text("0123456789+-_ \n=Aa/\u0660", max_size=60))
def test_whatever_reads_as_a_checkpoint_was_written_that_way(text):
    text = f"log\n{text}\n"
    try:
        checkpoint = parse_checkpoint(text)
    except NoteError:
        return
    assert checkpoint.text() == text


@pytest.mark.parametrize(
    "size",
    ["+5", "05", "-5", "1_0", "5 ", " 5", "", "5.0", "0x5", "\u0665", "1e3", str(2**63), "9" * 40],
)
def test_a_size_that_could_be_written_otherwise_is_refused(size):
    with pytest.raises(NoteError, match="tree size"):
        parse_checkpoint(f"log.example\n{size}\n{ROOT}\n")


@pytest.mark.parametrize(
    "root",
    [
        "",
        ROOT[:-1],
        ROOT + "=",
        ROOT + " ",
        ROOT.replace("=", "\n="),
        b64encode(b"r" * 31).decode(),
        b64encode(b"r" * 33).decode(),
        ROOT[:-2] + chr(ord(ROOT[-2]) + 1) + "=",  # spare bits
        "_" + ROOT[1:],
        (b"r" * 32).hex(),
    ],
)
def test_a_root_that_could_be_written_otherwise_is_refused(root):
    with pytest.raises(NoteError):
        parse_checkpoint(f"log.example\n5\n{root}\n")


@pytest.mark.parametrize(
    "text",
    [
        f"log.example\n5\n{ROOT}",
        f"log.example\n5\n{ROOT}\n\n",
        f"log.example\n5\n{ROOT}\nextension\n",
        f"\nlog.example\n5\n{ROOT}\n",
        f"log.example\n5\n{ROOT}\ntrailing",
        "log.example\n5\n",
        "",
    ],
)
def test_spare_and_missing_lines_are_refused(text):
    with pytest.raises(NoteError, match="three lines"):
        parse_checkpoint(text)


@pytest.mark.parametrize(
    ("origin", "size", "root"),
    [("", 5, b"r" * 32), ("a\nb", 5, b"r" * 32), ("a", -1, EMPTY_ROOT), ("a", 0, b"r" * 32)],
)
def test_what_cannot_be_a_checkpoint_cannot_be_made(origin, size, root):
    with pytest.raises(NoteError):
        Checkpoint(origin, size, root)


@pytest.mark.parametrize("origin", ["log.example", "log.example/2026h2"])
def test_a_signed_checkpoint_is_read_with_its_key(origin):
    checkpoint = Checkpoint(origin, 5, b"r" * 32)

    assert read_checkpoint(sign_checkpoint(checkpoint, KEY), [KEY.verifier]) == checkpoint


@pytest.mark.parametrize("origin", ["log.example2", "log.exampl", "other/log.example"])
def test_a_checkpoint_of_another_log_is_refused_though_the_key_signed_it(origin):
    signed = sign_checkpoint(Checkpoint(origin, 5, b"r" * 32), KEY)

    with pytest.raises(NoteError, match="is not a log of the key"):
        read_checkpoint(signed, [KEY.verifier])


def test_a_checkpoint_signed_by_somebody_else_is_refused():
    signed = sign_checkpoint(Checkpoint("log.example", 5, b"r" * 32), KEY)

    with pytest.raises(NoteError, match="not signed by a trusted key"):
        read_checkpoint(signed, [SigningKey("log.example", b"x" * 32).verifier])


def test_a_checkpoint_that_was_changed_after_signing_is_refused():
    signed = sign_checkpoint(Checkpoint("log.example", 5, b"r" * 32), KEY)

    with pytest.raises(NoteError, match="is not valid"):
        read_checkpoint(signed.replace(b"\n5\n", b"\n6\n"), [KEY.verifier])
