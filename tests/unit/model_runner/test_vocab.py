from hashlib import sha256

import pytest

from model_runner import harmony
from model_runner.vocab import unpack
from model_runner.vocab.unpack import FILE_NAME, SHA256, unpack_vocabulary


@pytest.fixture(scope="module")
def unpacked(tmp_path_factory):
    return unpack_vocabulary(tmp_path_factory.mktemp("vocabulary") / "new")


def test_the_unpacked_vocabulary_has_the_pinned_digest(unpacked):
    assert unpacked.name == FILE_NAME
    assert sha256(unpacked.read_bytes()).hexdigest() == SHA256


def test_an_intact_copy_is_kept(unpacked):
    before = unpacked.stat().st_ino

    unpack_vocabulary(unpacked.parent)

    assert unpacked.stat().st_ino == before


def test_a_tampered_copy_is_replaced(tmp_path, unpacked):
    copy = tmp_path / FILE_NAME
    copy.write_bytes(unpacked.read_bytes().replace(b"IQ== 0", b"IQ== 1", 1))

    assert sha256(unpack_vocabulary(tmp_path).read_bytes()).hexdigest() == SHA256


def test_a_copy_cut_short_is_replaced_and_leaves_no_part_behind(tmp_path, unpacked):
    (tmp_path / FILE_NAME).write_bytes(unpacked.read_bytes()[:1000])

    unpack_vocabulary(tmp_path)

    assert [path.name for path in tmp_path.iterdir()] == [FILE_NAME]


def test_a_wrong_bundled_vocabulary_is_never_used(tmp_path, monkeypatch):
    monkeypatch.setattr(unpack, "SHA256", "00" * 32)

    with pytest.raises(ValueError, match="pinned digest"):
        unpack_vocabulary(tmp_path)

    assert list(tmp_path.iterdir()) == []


def test_loading_uses_no_directory_but_ours_and_restores_the_environment(tmp_path, monkeypatch):
    monkeypatch.setenv("TIKTOKEN_ENCODINGS_BASE", "/nonexistent")

    loaded = harmony.load_harmony(tmp_path)

    assert loaded.stop_token_ids == (200002, 200012)
    assert harmony.os.environ["TIKTOKEN_ENCODINGS_BASE"] == "/nonexistent"


def test_the_home_directory_is_the_default_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("OSTIARY_HOME", str(tmp_path))

    harmony.load_harmony()

    assert (tmp_path / "cache" / FILE_NAME).exists()


def test_a_cache_that_cannot_be_written_is_no_reason_not_to_start(tmp_path, monkeypatch):
    monkeypatch.delenv("TIKTOKEN_ENCODINGS_BASE", raising=False)
    (tmp_path / "file").write_text("not a directory")

    loaded = harmony.load_harmony(tmp_path / "file" / "cache")

    assert loaded.stop_token_ids == (200002, 200012)
    assert "TIKTOKEN_ENCODINGS_BASE" not in harmony.os.environ
