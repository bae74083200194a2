import pytest

from gateway.notes import Note, NoteError, SigningKey, parse_note, sign
from gateway.policy_signatures import Trust, statement, trust_in

ALICE, BOB, MALLORY = (SigningKey(name, name[0].encode() * 32) for name in ("alice", "bob", "mal"))
TEXT = statement("acme", "1.2.3", "ab" * 32)
TWO = Trust((ALICE.verifier, BOB.verifier), 2)


def note(*keys, text=TEXT):
    made = Note(text)
    for key in keys:
        made = sign(made, key)
    return made.encode()


def test_a_statement_names_the_policy_its_version_and_its_content():
    text = statement("acme", "1.2.3", "ab" * 32)

    assert text == f"ostiary-policy/v1\nacme\n1.2.3\n{'ab' * 32}\n"


def test_without_trusted_keys_no_signature_is_needed():
    assert Trust().signers(None, TEXT) == ()


def test_two_keys_are_four_eyes():
    assert TWO.signers(note(ALICE, BOB), TEXT) == ("alice", "bob")


@pytest.mark.parametrize("keys", [(ALICE,), (ALICE, MALLORY), (MALLORY,)])
def test_fewer_trusted_signatures_than_wanted_are_refused(keys):
    with pytest.raises(NoteError, match="2 signatures by trusted keys are needed; there are"):
        TWO.signers(note(*keys), TEXT)


def test_one_person_who_signs_twice_is_not_two():
    twice = parse_note(note(ALICE)).signatures * 2

    with pytest.raises(NoteError, match="there are 1"):
        TWO.signers(Note(TEXT, twice).encode(), TEXT)


def test_a_policy_without_a_note_is_not_signed():
    with pytest.raises(NoteError, match="there are 0"):
        TWO.signers(None, TEXT)


@pytest.mark.parametrize(
    "text",
    [
        statement("other", "1.2.3", "ab" * 32),
        statement("acme", "1.2.4", "ab" * 32),
        statement("acme", "1.2.3", "cd" * 32),
    ],
)
def test_signatures_of_anything_else_do_not_count(text):
    with pytest.raises(NoteError, match="about another policy, version or content"):
        TWO.signers(note(ALICE, BOB, text=text), TEXT)


def test_signatures_that_come_one_by_one_add_up():
    merged = TWO.merged(note(ALICE), note(BOB), TEXT)

    assert TWO.signers(merged, TEXT) == ("alice", "bob")
    assert TWO.merged(merged, note(BOB), TEXT) == merged


def test_strangers_cannot_fill_a_note():
    strangers = [SigningKey(f"stranger{number}", bytes([number]) * 32) for number in range(15)]

    assert TWO.merged(None, note(*strangers, ALICE), TEXT) == note(ALICE)
    with pytest.raises(NoteError, match="not signed by a trusted key"):
        TWO.merged(note(ALICE), note(*strangers), TEXT)


def test_a_forged_signature_is_not_taken_in():
    forged = Note(TEXT, (BOB.sign("another\n"),)).encode()

    with pytest.raises(NoteError, match="not valid"):
        TWO.merged(note(ALICE), forged, TEXT)


def test_what_was_taken_in_before_keys_were_trusted_cannot_spoil_a_note():
    forged = Trust().merged(note(ALICE), Note(TEXT, (BOB.sign("another\n"),)).encode(), TEXT)

    assert TWO.merged(forged, note(BOB), TEXT) == note(ALICE, BOB)


def test_more_signatures_than_keys_cannot_be_wanted():
    with pytest.raises(ValueError, match="3 signatures are wanted, by 2 keys"):
        Trust(TWO.keys, 3)


def test_trust_is_read_from_a_file_of_keys():
    assert trust_in(f"{ALICE.verifier}\n{BOB.verifier}\n", 2) == TWO


def test_a_file_without_keys_is_no_trust_at_all():
    with pytest.raises(ValueError, match="no key"):
        trust_in("# nobody yet\n", 1)
