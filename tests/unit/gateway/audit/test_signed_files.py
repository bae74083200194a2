import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.audit.signed_files import FileList, LogPart, parse_list
from gateway.notes import NoteError

MADE = "2026-07-01T00:00:00.000000Z"
LIST = FileList(
    "export csv/1",
    MADE,
    "-",
    MADE,
    (LogPart("log.example/2026h1", 3, 4, 9), LogPart("log.example/2026h2", 0, 1, 1)),
    {"checkpoint-2026h1": "ab" * 32, "entries.csv": "cd" * 32},
)


def test_a_list_is_written_as_it_is_read():
    assert parse_list(LIST.text()) == LIST
    assert LIST.logs[0].shard == "2026h1"


def test_its_lines_are_those_of_sha256sum():
    assert LIST.text().splitlines()[-1] == f"{'cd' * 32}  entries.csv"


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("ostiary-files/1", "ostiary-files/2"),
        ("what export csv/1", "what"),
        ("made 2026", "made  2026"),
        (f"until {MADE}", "until now"),
        ("log log.example/2026h1 3 4 9", "log log.example/2026h1 3 4"),
        ("log log.example/2026h1 3 4 9", "log log.example/2026h1 +3 4 9"),
        ("log log.example/2026h1 3 4 9", "log log.example/2026h1 03 4 9"),
        ("ab" * 32, "AB" * 32),
        ("  entries.csv", " entries.csv"),
        ("  entries.csv", "  ../entries.csv"),
        ("  entries.csv", "  manifest"),
        ("  entries.csv", "  aa"),
        ("entries.csv\n", "entries.csv"),
        ("entries.csv\n", "entries.csv\n\n"),
        ("entries.csv\n", "entries.csv\nlog log.example/2026h2 0 1 1\n"),
    ],
)
def test_a_list_that_is_not_written_in_the_one_way_is_refused(old, new):
    altered = LIST.text().replace(old, new)
    assert altered != LIST.text()
    with pytest.raises(NoteError):
        parse_list(altered)


@given(st.text())
def test_whatever_is_read_is_refused_or_means_itself(text):
    for candidate in (text, LIST.text() + text, LIST.text().replace("export", text)):
        try:
            read = parse_list(candidate)
        except NoteError:
            continue
        assert read.text() == candidate


def test_a_list_without_files_is_none():
    with pytest.raises(NoteError):
        FileList("export csv/1", MADE, "-", "-", (), {})
