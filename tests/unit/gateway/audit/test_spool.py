import fcntl
import os
import stat

import pytest

from gateway.audit.entry import Entry
from gateway.audit.spool import Spool, SpoolDamaged, SpoolFull, _locked, _taken_over
from gateway.store.content import ContentRow, KeyRow, Sealed

ROOM = 1 << 20
SEALED = Sealed(
    (KeyRow("key", "acme", 1, None, b"\x00wrapped", "2026-10-05T10:00:00.000000Z"),),
    (ContentRow("id", "input", "key", "2026-10-05T10:00:00.000000Z", b"\xffbox"),),
)


def entry(number, **fields):
    return Entry("decision.recorded", {"number": number, "rows": [[1, None]]}, "req_1", **fields)


@pytest.fixture
def new_spool(tmp_path):
    """Opens spools of one directory; a spool that is closed is one whose process ended."""
    made = []

    def make(room=ROOM):
        spool = Spool(tmp_path / "spool", room)
        spool.open()
        made.append(spool)
        return spool

    yield make
    for spool in made:
        spool.close()


def drained(spool):
    batches = []
    while batch := spool.oldest():
        batches.append(batch)
        spool.forget(batch)
    return batches


def files(tmp_path):
    return list((tmp_path / "spool").glob("*"))


def test_batches_come_back_in_order_and_leave_nothing_behind(new_spool, tmp_path):
    spool = new_spool()
    batches = [[entry(1), entry(2)], [entry(3, sealed=SEALED)], [entry(4, terminal=True)]]
    for batch in batches:
        spool.append(batch)
    assert spool.entries == 4
    assert spool.size == sum(path.stat().st_size for path in files(tmp_path))

    assert drained(spool) == batches
    assert (spool.entries, spool.size) == (0, 0)
    assert files(tmp_path) == []


def test_what_a_process_left_is_taken_over_by_the_next(new_spool, tmp_path):
    first = new_spool()
    first.append([entry(1)])
    first.append([entry(2)])
    first.forget(first.oldest())
    first.close()
    second = new_spool()
    second.append([entry(3)])

    assert second.entries == 3  # the first one is in the log already, which tells by its id
    assert [each.body["number"] for batch in drained(second) for each in batch] == [1, 2, 3]


def test_files_of_a_process_that_lives_are_its_own(new_spool):
    first = new_spool()
    first.append([entry(1)])
    second = new_spool()

    assert (first.entries, second.entries) == (1, 0)
    second.append([entry(2)])
    assert [each.body["number"] for batch in drained(first) for each in batch] == [1]


@pytest.mark.parametrize("left", [1, 10, -1])
def test_a_last_line_that_is_cut_off_was_never_acknowledged(new_spool, tmp_path, left):
    spool = new_spool()
    spool.append([entry(1)])
    whole = spool.size
    spool.append([entry(2)])
    [path] = files(tmp_path)
    spool.close()
    os.truncate(path, whole + left if left > 0 else path.stat().st_size + left)
    again = new_spool()

    assert [each.body["number"] for batch in drained(again) for each in batch] == [1]


def test_a_file_of_nothing_but_a_cut_off_line_is_dropped(new_spool, tmp_path):
    spool = new_spool()
    spool.append([entry(1)])
    [path] = files(tmp_path)
    spool.close()
    os.truncate(path, 20)

    assert new_spool().entries == 0
    assert files(tmp_path) == []


def test_a_changed_line_is_an_error_and_is_left_alone(new_spool, tmp_path):
    spool = new_spool()
    spool.append([entry(1)])
    spool.append([entry(2)])
    [path] = files(tmp_path)
    spool.close()
    changed = path.read_bytes().replace(b'"number":1', b'"number":9', 1)
    path.write_bytes(changed)

    with pytest.raises(SpoolDamaged):
        new_spool()
    assert path.read_bytes() == changed


def test_what_does_not_fit_is_refused_whole(new_spool):
    spool = new_spool(room=2000)
    fitted = 0
    with pytest.raises(SpoolFull):
        for fitted in range(100):
            spool.append([entry(fitted)])

    assert spool.size <= 2000
    assert len(drained(spool)) == fitted


def test_there_is_room_as_long_as_an_entry_of_any_size_fits(new_spool):
    assert new_spool().has_room
    assert not new_spool(room=1000).has_room


def test_nobody_else_may_read_it(new_spool, tmp_path):
    new_spool().append([entry(1)])

    [path] = files(tmp_path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_text_that_is_no_unicode_does_not_stop_it(new_spool):
    spool = new_spool()
    spool.append([Entry("test", {"name": "lone \ud800 surrogate"})])

    [[found]] = drained(spool)
    assert found.body["name"] == "lone ? surrogate"


def test_a_disk_that_is_full_leaves_nothing_half_written(new_spool, monkeypatch):
    spool = new_spool()
    spool.append([entry(1)])

    def half(descriptor, content):
        os.pwrite(descriptor, content[: len(content) // 2], spool.size)
        raise OSError("no space left on device")

    with monkeypatch.context() as patched:
        patched.setattr("gateway.audit.spool._write", half)
        with pytest.raises(OSError, match="no space"):
            spool.append([entry(2)])
    spool.append([entry(3)])

    assert [each.body["number"] for batch in drained(spool) for each in batch] == [1, 3]


def test_a_file_that_another_process_finishes_meanwhile_is_passed_over(new_spool, tmp_path):
    first = new_spool()
    first.append([entry(1)])
    [path] = files(tmp_path)
    assert _taken_over(path) is None
    drained(first)

    assert _taken_over(path) is None
    assert new_spool().entries == 0


def _drop(tmp_path, new_spool):
    new_spool()  # drops an empty file that nobody holds


def _hold(tmp_path, new_spool):
    [path] = files(tmp_path)
    fcntl.flock(os.open(path, os.O_RDWR), fcntl.LOCK_EX | fcntl.LOCK_NB)


@pytest.mark.parametrize("meanwhile", [_drop, _hold])
def test_a_new_file_that_another_process_takes_before_it_is_held_is_left_to_it(
    new_spool, tmp_path, monkeypatch, meanwhile
):
    first, asked = new_spool(), []

    def locked(descriptor):
        asked.append(descriptor)
        if len(asked) == 1:
            meanwhile(tmp_path, new_spool)
        return _locked(descriptor)

    monkeypatch.setattr("gateway.audit.spool._locked", locked)
    first.append([entry(1)])
    first.close()

    assert [each.body["number"] for [each] in drained(new_spool())] == [1]
