"""CSV is read back by Python's own reader, and no cell is a formula."""

import csv
import io
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.audit.formats.flat import COLUMNS, flat
from gateway.audit.formats.separated import CSV, cell

DANGEROUS = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")


def written(*pages):
    file = io.BytesIO()
    writer = CSV.open(file, "1.0")
    for page in pages:
        writer.write(page)
    writer.close()
    return file.getvalue()


def rows(content):
    return list(csv.DictReader(io.StringIO(content.decode(), newline="")))


def test_what_is_written_is_read_back(all_records):
    found = rows(written(all_records[:5], all_records[5:]))

    assert len(found) == len(all_records)
    for row, record in zip(found, all_records, strict=True):
        assert tuple(row) == COLUMNS
        assert row["entry"].encode() == record.body
        assert int(row["index"]) == record.index
        assert row["determining_rules"].split() == flat(record)["determining_rules"]


def test_an_empty_log_is_a_header():
    assert written() == (",".join(COLUMNS) + "\r\n").encode()


@pytest.mark.parametrize("start", [*DANGEROUS, "'"])
def test_a_cell_that_would_be_a_formula_has_a_quote_before_it(record, start):
    name = f'{start}HYPERLINK("http://x","y")'
    content = written([record(model={"name": name}, actor={"key": name})])
    [row] = rows(content)

    assert row["model"] == row["actor"] == f"'{name}"
    assert row["model"][1:] == json.loads(row["entry"])["model"]["name"]


def test_a_list_that_begins_with_a_formula_has_a_quote_before_it(record):
    [row] = rows(written([record("block", determining_rules=["=1+1", "x"])]))

    assert row["determining_rules"] == "'=1+1 x"


@given(st.lists(st.text(), max_size=4) | st.text() | st.integers() | st.floats() | st.booleans())
def test_no_cell_begins_as_a_formula_does(value):
    written = cell(value)

    assert not str(written).startswith(DANGEROUS)


@given(st.text())
def test_a_reader_that_takes_one_quote_away_has_the_text(text):
    assert str(cell(text)).removeprefix("'") == text.removeprefix("'") or cell(text)[1:] == text
    if text.startswith("'"):
        assert cell(text)[1:] == text
