import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policies.bundle import (
    MAX_BYTES,
    MAX_FILES,
    Bundle,
    BundleError,
    Pin,
    SourceFile,
    decode_bundle,
    read_lock,
    too_large,
    write_lock,
)
from policies.document import DocumentError

DIGEST = "0123456789abcdef" * 4
LOCK = {"own": {"base": Pin("1.2.3", DIGEST)}}


def stored(**changes):
    return json.dumps({"files": [{"name": "own.yaml", "text": "a: 1\n"}], "lock": {}} | changes)


TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
NAMES = st.text(st.sampled_from("ab.-_é"), min_size=1, max_size=10).filter(
    lambda name: name not in {".", ".."}
)
FILES = st.builds(SourceFile, NAMES, TEXTS.map(str.encode))
IDS = st.from_regex(r"[a-z0-9][a-z0-9._-]{0,8}", fullmatch=True)
PINS = st.builds(
    Pin,
    st.tuples(*[st.integers(0, 999999)] * 3).map(lambda parts: "{}.{}.{}".format(*parts)),
    st.text(st.sampled_from("0123456789abcdef"), min_size=64, max_size=64),
)
LOCKS = st.dictionaries(IDS, st.dictionaries(IDS, PINS, min_size=1, max_size=3), max_size=3)


@given(FILES, st.lists(FILES, max_size=4), LOCKS)
def test_a_bundle_comes_back_from_its_bytes(main, others, lock):
    bundle = Bundle(main, tuple(others), lock)

    found = decode_bundle(bundle.encoded())

    assert (found.main, found.lock) == (main, lock)
    assert sorted(found.others, key=repr) == sorted(others, key=repr)
    assert found.encoded() == bundle.encoded()


@given(st.permutations([SourceFile("a", b"1"), SourceFile("a", b"2"), SourceFile("b", b"3")]))
def test_the_order_of_included_files_does_not_count(others):
    main = SourceFile("own.yaml", b"")

    assert (
        Bundle(main, tuple(others)).encoded()
        == Bundle(main, tuple(sorted(others, key=repr))).encoded()
    )


def test_folders_and_long_names_stay_out_of_a_bundle():
    name = "/srv/policies/" + "x" * 300 + "\n.yaml"

    found = decode_bundle(Bundle(SourceFile(name, b"a: 1\n")).encoded())

    assert found.main.name == ("x" * 300 + "?.yaml")[-200:]


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"null",
        b"[]",
        b"{}",
        b'{"files": []}',
        stored(files=[{"name": "", "text": ""}]).encode(),
        stored(files=[{"name": "a\nb", "text": ""}]).encode(),
        stored(files=[{"name": "a", "text": 1}]).encode(),
        stored(files=[{"name": "a", "text": "", "mode": 7}]).encode(),
        stored(files=[{"name": "a", "text": ""}] * (MAX_FILES + 1)).encode(),
        stored(extra=1).encode(),
        stored(lock={"own": {"base": {"version": "1", "digest": DIGEST}}}).encode(),
        stored(lock={"own": {"base": {"version": "1.0.0", "digest": DIGEST.upper()}}}).encode(),
        stored(lock={"../own": {}}).encode(),
        b'{"files": [{"name": "a", "text": "\\ud800"}]}',
        b"[" * 100_000,
        b"\xff\xfe",
        b" " * (MAX_BYTES + 1),
    ],
)
def test_what_is_no_bundle_is_refused_in_a_few_words(content):
    with pytest.raises(BundleError) as caught:
        decode_bundle(content)
    assert len(str(caught.value)) < 400
    assert "\n" not in str(caught.value)


def test_what_could_not_be_read_again_is_too_large():
    small = SourceFile("a", b"")

    assert too_large(Bundle(small, (small,) * (MAX_FILES - 1))) is None
    assert "files" in too_large(Bundle(small, (small,) * MAX_FILES))
    assert "bytes" in too_large(Bundle(SourceFile("a", b"x" * MAX_BYTES)))


@given(LOCKS)
def test_a_lock_comes_back_from_its_text(lock):
    assert read_lock(write_lock(lock).encode()) == lock


def test_a_lock_without_a_pin_is_a_lock():
    assert read_lock(write_lock({}).encode()) == {}
    assert read_lock(b"") == {}


@pytest.mark.parametrize(
    "content",
    [
        b"''",
        b"0",
        b"[]",
        b"own:\n",
        b"own: {base: 1.0.0}",
        b"own: {base: {version: 1.0.0}}",
        f"own: {{base: {{version: 1.0.0, digest: {DIGEST[:-1]}}}}}".encode(),
        f"own: {{base: {{version: 1.0, digest: {DIGEST}}}}}".encode(),
        f"own: {{base: {{version: 1.0.0, digest: {DIGEST}, url: x}}}}".encode(),
        f"own: {{base: &a {{version: 1.0.0, digest: {DIGEST}}}}}".encode(),
        f"own: {{b: {{version: 1.0.0, digest: {DIGEST}}}}}\nown: {{}}".encode(),
        b"- own",
        b"\xff",
        b"own: {",
    ],
)
def test_a_lock_with_odd_content_is_refused_and_placed(content):
    with pytest.raises(DocumentError) as caught:
        read_lock(content)
    assert caught.value.problem.line >= 1
