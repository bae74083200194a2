import json
from base64 import b64encode
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.notes import (
    MAX_SIGNATURES,
    Note,
    NoteError,
    Signature,
    SigningKey,
    VerifierKey,
    new_key,
    parse_note,
    parse_signing_key,
    parse_trusted_keys,
    parse_verifier_key,
    sign,
    verify,
)

VECTORS = json.loads((Path(__file__).parents[2] / "vectors" / "signed-notes.json").read_text())
GO = VECTORS["go"]
PETER, ENOCH = (parse_verifier_key(text) for text in GO["verifier_keys"])
ALICE, BOB = SigningKey("alice", b"a" * 32), SigningKey("bob.example/key", b"b" * 32)
TEXT = "ostiary-policy/v1\nacme\n1.0.0\nabcd\n"

names = st.text(st.characters(min_codepoint=0x21, exclude_categories=["Zs", "Zl", "Zp", "Cs"]))
names = names.filter(lambda name: name and "+" not in name and not any(map(str.isspace, name)))
texts = st.text(st.characters(min_codepoint=0x20, exclude_categories=["Cs"]) | st.just("\n"))
texts = texts.map(lambda text: f"{text}\n")
keys = st.builds(SigningKey, names, st.binary(min_size=32, max_size=32))
lines = st.builds(
    Signature, names, st.binary(min_size=4, max_size=4), st.binary(min_size=1, max_size=80)
)


def go_note(*numbers):
    return (GO["text"] + "\n" + "".join(GO["lines"][number] for number in numbers)).encode()


def signed(*keys, text=TEXT):
    note = Note(text)
    for key in keys:
        note = sign(note, key)
    return note


@pytest.mark.parametrize("name", VECTORS)
def test_a_published_note_verifies_with_each_of_its_keys(name):
    vector = VECTORS[name]
    trusted = [parse_verifier_key(text) for text in vector["verifier_keys"]]

    note = parse_note((vector["text"] + "\n" + "".join(vector["lines"])).encode())

    assert note.text == vector["text"]
    assert verify(note, trusted) == tuple(trusted)
    assert [str(key) for key in trusted] == vector["verifier_keys"]


def test_the_published_key_makes_the_published_signature():
    key = parse_signing_key(GO["signing_key"])

    assert key.verifier == PETER
    assert sign(Note(GO["text"]), key).encode() == go_note(0)
    assert key.secret_text() == GO["signing_key"]


@pytest.mark.parametrize("text", GO["refused_keys"])
def test_a_key_of_another_length_or_kind_is_refused(text):
    with pytest.raises(NoteError, match=r"base64|not an Ed25519 key"):
        parse_verifier_key(text)


@pytest.mark.parametrize(
    ("parse", "text"),
    [(parse_verifier_key, GO["verifier_keys"][0]), (parse_signing_key, GO["signing_key"])],
    ids=["verifier", "signing"],
)
def test_no_part_of_a_key_and_no_changed_key_is_a_key(parse, text):
    parts = {text[i:j] for i in range(len(text)) for j in range(i + 1, len(text) + 1)} - {text}
    changed = {
        text[:at] + chr(ord(text[at]) + step) + text[at + 1 :]
        for at in range(len(text))
        for step in (-1, 1)
    }

    for malformed in parts | changed:
        with pytest.raises(NoteError):
            parse(malformed)


@settings(deadline=None)
@given(names)
def test_a_key_that_was_made_reads_back(name):
    key = new_key(name)

    assert parse_signing_key(key.secret_text()) == key
    assert parse_verifier_key(str(key.verifier)) == key.verifier


def test_two_keys_of_one_name_differ():
    assert new_key("alice") != new_key("alice")


def test_a_signing_key_does_not_show_its_secret():
    assert repr(ALICE) == "SigningKey('alice')"


@pytest.mark.parametrize("name", ["", "a b", "a+b", "a\n", "a\u00a0b", "a\u2028", "\x00"])
def test_a_name_that_would_not_stay_one_word_is_refused(name):
    with pytest.raises(NoteError, match="name"):
        new_key(name)


@settings(deadline=None)
@given(texts, st.lists(lines, min_size=1, max_size=MAX_SIGNATURES))
def test_a_note_reads_back_as_it_was_written(text, signatures):
    note = Note(text, tuple(signatures))

    assert parse_note(note.encode()) == note


@settings(deadline=None)
@given(st.binary(max_size=300) | st.builds(lambda a, b: a + b"\n\n" + b, st.binary(), st.binary()))
def test_what_is_read_can_only_be_written_as_it_was(content):
    try:
        note = parse_note(content)
    except NoteError:
        return
    assert note.encode() == content


@settings(deadline=None)
@given(texts, keys)
def test_what_was_signed_verifies(text, key):
    note = parse_note(sign(Note(text), key).encode())

    assert verify(note, [key.verifier]) == (key.verifier,)


@pytest.mark.parametrize("at", range(len(signed(ALICE).encode())))
def test_no_flipped_bit_verifies(at):
    content = bytearray(signed(ALICE).encode())
    for bit in range(8):
        content[at] ^= 1 << bit
        with pytest.raises(NoteError):
            verify(parse_note(bytes(content)), [ALICE.verifier])
        content[at] ^= 1 << bit


@settings(deadline=None)
@given(st.integers(0, len(signed(ALICE).encode()) - 1))
def test_no_part_of_a_note_verifies(length):
    with pytest.raises(NoteError):
        verify(parse_note(signed(ALICE).encode()[:length]), [ALICE.verifier])


def test_a_signature_of_another_text_does_not_verify():
    foreign = Note("another text\n", signed(ALICE).signatures)

    with pytest.raises(NoteError, match="by `alice` is not valid"):
        verify(foreign, [ALICE.verifier])


def test_lines_by_unknown_keys_are_ignored():
    same_name = SigningKey("alice", b"c" * 32)

    assert verify(signed(BOB, same_name, ALICE), [ALICE.verifier]) == (ALICE.verifier,)


def test_a_note_without_a_trusted_signature_is_refused():
    with pytest.raises(NoteError, match="not signed by a trusted key"):
        verify(signed(BOB), [ALICE.verifier])


def test_one_bad_signature_by_a_trusted_key_spoils_the_note():
    good, [bad] = signed(ALICE), Note(TEXT, (BOB.sign("another\n"),)).signatures
    note = Note(TEXT, (*good.signatures, bad))

    assert verify(note, [ALICE.verifier]) == (ALICE.verifier,)
    with pytest.raises(NoteError, match=r"by `bob\.example/key` is not valid"):
        verify(note, [ALICE.verifier, BOB.verifier])


def test_who_signs_twice_counts_once():
    twice = Note(TEXT, signed(ALICE).signatures * 2)

    assert verify(twice, [ALICE.verifier]) == (ALICE.verifier,)
    assert signed(ALICE, BOB, ALICE).signatures == signed(BOB, ALICE).signatures


def test_a_public_key_that_is_no_point_verifies_nothing():
    nonsense = VerifierKey("alice", b"\xff" * 32)
    note = Note(TEXT, (Signature("alice", nonsense.key_id, bytes(64)),))

    with pytest.raises(NoteError, match="not valid"):
        verify(note, [nonsense])


BODY = b64encode(b"abcd" + b"s" * 64).decode()


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("", "blank line"),
        ("text\n", "blank line"),
        (f"text\n— a {BODY}\n", "blank line"),
        (f"text\n\n— a {BODY}", "newline"),
        ("text\n\n", "newline"),
        (f"text\n\n— a {BODY}\n\n", "newline"),
        (f"text\n\n— a {BODY}\nmore\n", "signature line"),
        (f"text\n\n- a {BODY}\n", "signature line"),
        (f"text\n\n—  a {BODY}\n", "signature line"),
        (f"text\n\n— a {BODY} \n", "signature line"),
        (f"text\n\n— {BODY}\n", "signature line"),
        (f"text\n\n— a+b {BODY}\n", "name"),
        (f"text\n\n—  {BODY}\n", "name"),
        (f"te\rxt\n\n— a {BODY}\n", "control"),
        (f"te\x00xt\n\n— a {BODY}\n", "control"),
        (f"text\n\n— a {BODY[:-1]}\n", "base64"),
        (f"text\n\n— a {BODY}====\n", "base64"),
        (f"text\n\n— a {BODY[:8]}\u00e9{BODY[9:]}\n", "base64"),
        ("text\n\n— a YWJjZA==\n", "longer than the id"),
        ("text\n\n— a YWJjZGF=\n", "another way"),
        (f"text\n\n{f'— a {BODY}' + chr(10)}" + f"— a {BODY}\n" * MAX_SIGNATURES, "more than 16"),
        ("x" * 1_000_000 + f"\n\n— a {BODY}\n", "larger"),
    ],
)
def test_what_is_no_note_is_refused(content, reason):
    with pytest.raises(NoteError, match=reason):
        parse_note(content.encode())


def test_a_note_that_is_not_utf8_is_refused():
    with pytest.raises(NoteError, match="UTF-8"):
        parse_note(f"te\xffxt\n\n— a {BODY}\n".encode("latin-1", "replace").replace(b"?", b"\xff"))


@pytest.mark.parametrize(
    ("text", "reason"), [("no newline", "end in a newline"), ("a\tb\n", "control")]
)
def test_a_text_that_cannot_be_signed_is_refused(text, reason):
    with pytest.raises(NoteError, match=reason):
        Note(text)


def test_a_text_that_is_not_unicode_is_refused():
    with pytest.raises(NoteError, match="Unicode"):
        sign(Note("\ud800\n"), ALICE)


def test_a_note_without_signatures_is_not_written():
    with pytest.raises(NoteError, match="must have a signature"):
        Note(TEXT).encode()


def test_trusted_keys_are_read_one_a_line():
    text = f"# who approves\n\n{ALICE.verifier}\n  {BOB.verifier}\n"

    assert parse_trusted_keys(text) == (ALICE.verifier, BOB.verifier)


def test_one_key_under_two_names_is_refused_as_it_would_count_twice():
    alias = SigningKey("other", ALICE.seed).verifier

    with pytest.raises(NoteError, match="line 2: this key is there already"):
        parse_trusted_keys(f"{ALICE.verifier}\n{alias}\n")


def test_a_malformed_line_among_trusted_keys_is_named():
    with pytest.raises(NoteError, match="line 2: a key must read"):
        parse_trusted_keys(f"{ALICE.verifier}\nbob\n")
