from dataclasses import replace

import pytest
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA44PublicKey

from gateway.audit.checkpoint import Checkpoint, read_checkpoint
from gateway.audit.mldsa import (
    MldsaSigningKey,
    check_mldsa,
    parse_mldsa_key,
    parse_mldsa_signing_key,
    sign_mldsa,
)
from gateway.notes import Note, NoteError, SigningKey, parse_note, sign

KEY = MldsaSigningKey("log.example", b"k" * 32)
ED25519 = SigningKey("log.example", b"e" * 32)
HEAD = Checkpoint("log.example/2026h2", 7, b"r" * 32)
NOTE = sign_mldsa(sign(Note(HEAD.text()), ED25519), KEY, 1_795_000_000)


def test_a_checkpoint_is_signed_by_both_keys():
    read = parse_note(NOTE.encode())

    check_mldsa(read, KEY.verifier)
    assert read_checkpoint(NOTE.encode(), [ED25519.verifier]) == HEAD


def test_what_is_signed_is_the_cosigned_message_of_the_specification():
    [line] = [each for each in NOTE.signatures if each.key_id == KEY.verifier.key_id]
    message = (
        b"subtree/v1\n\0"
        b"\x0blog.example"
        + (1_795_000_000).to_bytes(8, "big")
        + b"\x12log.example/2026h2"
        + (0).to_bytes(8, "big")
        + (7).to_bytes(8, "big")
        + b"r" * 32
    )

    assert line.value[:8] == (1_795_000_000).to_bytes(8, "big")
    assert len(line.value) == 8 + 2420
    MLDSA44PublicKey.from_public_bytes(KEY.verifier.public_key).verify(line.value[8:], message)


def altered(change):
    signatures = tuple(
        change(each) if each.key_id == KEY.verifier.key_id else each for each in NOTE.signatures
    )
    return replace(NOTE, signatures=signatures)


@pytest.mark.parametrize(
    "note",
    [
        replace(NOTE, text=replace(HEAD, size=8).text()),
        replace(NOTE, text=replace(HEAD, root=b"x" * 32).text()),
        replace(NOTE, text=replace(HEAD, origin="log.example/2027h1").text()),
        altered(lambda line: replace(line, value=b"\1" + line.value[1:])),
        altered(lambda line: replace(line, value=line.value[:-1])),
        altered(lambda line: replace(line, value=line.value + b"x")),
        sign(Note(HEAD.text()), ED25519),
        sign_mldsa(sign(Note(HEAD.text()), ED25519), MldsaSigningKey("log.example", b"x" * 32), 1),
    ],
)
def test_what_the_key_did_not_sign_is_refused(note):
    with pytest.raises(NoteError, match="ML-DSA-44"):
        check_mldsa(note, KEY.verifier)


def test_keys_are_read_back_as_they_were_written():
    assert parse_mldsa_key(str(KEY.verifier)) == KEY.verifier
    assert parse_mldsa_signing_key(KEY.secret_text()) == KEY
    assert "k" * 8 not in repr(KEY)


@pytest.mark.parametrize(
    "text",
    [
        str(ED25519.verifier),
        str(KEY.verifier).replace("log", "lag"),
        KEY.secret_text(),
        "log.example+00000000+AA==",
    ],
)
def test_what_is_no_mldsa_key_is_refused(text):
    with pytest.raises(NoteError):
        parse_mldsa_key(text)


@pytest.mark.parametrize("text", [ED25519.secret_text(), str(KEY.verifier)])
def test_what_is_no_mldsa_signing_key_is_refused(text):
    with pytest.raises(NoteError):
        parse_mldsa_signing_key(text)
