import pytest

from gateway.audit.checkpoint import Checkpoint, sign_checkpoint
from gateway.audit.succession import Keyring, Succession, hand_over, parse_succession
from gateway.notes import Note, NoteError, SigningKey, parse_note, sign

FIRST, SECOND, THIRD, STRANGER = (SigningKey("log.example", bytes([n]) * 32) for n in range(1, 5))


def head(size, shard="2026h2"):
    return Checkpoint(f"log.example/{shard}", size, b"r" * 32)


def signed(size, *keys, shard="2026h2"):
    note = Note(head(size, shard).text())
    for key in keys:
        note = sign(note, key)
    return note.encode()


def change(old, new, size, shard="2026h2"):
    return parse_succession(hand_over(head(size, shard), old, new))


CHANGES = [change(FIRST, SECOND, 10), change(SECOND, THIRD, 5, "2027h1")]


def test_a_change_of_key_is_read_back_as_it_was_signed():
    note = hand_over(head(10), FIRST, SECOND)

    assert parse_succession(note) == Succession(FIRST.verifier, SECOND.verifier, head(10))


@pytest.mark.parametrize("signers", [(FIRST,), (SECOND,), (STRANGER,), (FIRST, STRANGER)])
def test_a_change_of_key_that_not_both_signed_is_none(signers):
    note = Note(parse_note(hand_over(head(10), FIRST, SECOND)).text)
    for key in signers:
        note = sign(note, key)

    with pytest.raises(NoteError):
        parse_succession(note.encode())


@pytest.mark.parametrize(
    "text",
    [
        head(10).text(),
        f"ostiary log key/v2\n{FIRST.verifier}\n{SECOND.verifier}\n{head(10).text()}",
        f"ostiary log key/v1\n{FIRST.verifier}\n{SECOND.verifier}\nother/2026h2\n0\n\n",
        f"ostiary log key/v1\n{FIRST.verifier}\n{FIRST.verifier}\n{head(10).text()}",
        f"ostiary log key/v1\n{FIRST.verifier}\n{SECOND.verifier}\n{head(10).text()}more\n",
    ],
)
def test_what_is_no_change_of_key_is_refused(text):
    with pytest.raises(NoteError):
        parse_succession(sign(sign(Note(text), FIRST), SECOND).encode())


def test_a_new_key_must_be_of_the_same_log():
    with pytest.raises(NoteError, match="of the same name"):
        hand_over(head(10), FIRST, SigningKey("other.example", b"o" * 32))
    with pytest.raises(NoteError, match="not a log of the key"):
        hand_over(Checkpoint("other.example/2026h2", 1, b"r" * 32), FIRST, SECOND)


@pytest.mark.parametrize("trusted", [FIRST, SECOND, THIRD])
def test_whoever_trusts_one_key_believes_each_where_it_was_the_logs(trusted):
    ring = Keyring([trusted.verifier], CHANGES)

    believed = [
        signed(10, FIRST),
        signed(10, SECOND),
        signed(11, SECOND),
        signed(5, SECOND, shard="2027h1"),
        signed(6, THIRD, shard="2027h1"),
        signed(1, THIRD, shard="2027h2"),
        signed(11, SECOND, FIRST),
    ]
    for note in believed:
        assert ring.read(note).root == b"r" * 32
    assert (ring.current, ring.previous) == (THIRD.verifier, SECOND.verifier)


@pytest.mark.parametrize("trusted", [FIRST, SECOND, THIRD])
@pytest.mark.parametrize(
    "note",
    [
        signed(11, FIRST),
        signed(1, FIRST, shard="2027h1"),
        signed(9, SECOND),
        signed(6, SECOND, shard="2027h1"),
        signed(4, THIRD, shard="2027h1"),
        signed(99, THIRD),
    ],
)
def test_a_key_is_not_believed_where_it_was_not_the_logs(trusted, note):
    with pytest.raises(NoteError, match="had another key"):
        Keyring([trusted.verifier], CHANGES).read(note)


ANOTHER = sign_checkpoint(Checkpoint("log.example/2026h2", 10, b"x" * 32), FIRST)


@pytest.mark.parametrize("trusted", [FIRST, SECOND])
def test_at_the_announced_size_only_the_announced_root_is_believed(trusted):
    with pytest.raises(NoteError, match="another log when its key was changed"):
        Keyring([trusted.verifier], CHANGES[:1]).read(ANOTHER)


@pytest.mark.parametrize("note", [signed(9, FIRST), signed(10**9, FIRST, shard="2026h1")])
def test_before_the_announced_checkpoint_the_old_key_vouches_for_nothing_alone(note):
    assert Keyring([FIRST.verifier], CHANGES).vouches(note)
    assert not Keyring([SECOND.verifier], CHANGES).vouches(note)
    assert not Keyring([THIRD.verifier], CHANGES).vouches(note)


def test_what_the_trusted_key_announced_or_signed_is_vouched_for():
    ring = Keyring([SECOND.verifier], CHANGES)

    for note in (signed(10, FIRST), signed(11, SECOND), signed(6, THIRD, shard="2027h1")):
        assert ring.vouches(note)


def test_what_a_replaced_key_announced_is_not_vouched_for():
    assert not Keyring([THIRD.verifier], CHANGES).vouches(signed(10, FIRST))
    assert Keyring([THIRD.verifier], CHANGES).vouches(signed(5, SECOND, shard="2027h1"))


def test_without_the_changes_only_the_trusted_key_is_believed():
    ring = Keyring([FIRST.verifier])

    assert ring.read(signed(99, FIRST)).size == 99
    assert ring.read(signed(99, SECOND, FIRST)).size == 99
    with pytest.raises(NoteError, match="not signed by a trusted key"):
        ring.read(signed(11, SECOND))


def test_a_change_between_strangers_counts_for_nobody():
    ring = Keyring([FIRST.verifier], [change(STRANGER, THIRD, 10)])

    assert (ring.changes, ring.current) == ((), FIRST.verifier)
    with pytest.raises(NoteError):
        ring.read(sign_checkpoint(head(11), THIRD))


def test_a_key_that_handed_over_to_two_is_believed_no_more():
    with pytest.raises(NoteError, match="to two others"):
        Keyring([FIRST.verifier], [CHANGES[0], change(FIRST, STRANGER, 12)])
    with pytest.raises(NoteError, match="from two"):
        Keyring([FIRST.verifier], [CHANGES[0], change(STRANGER, SECOND, 12)])
