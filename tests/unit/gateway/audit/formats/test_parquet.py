"""Parquet is read back by pyarrow."""

import io
import sys
from datetime import datetime

import pytest
from pyarrow import parquet

from gateway.audit.formats.flat import COLUMNS, flat
from gateway.audit.formats.parquet import PARQUET
from gateway.audit.formats.types import MissingLibrary


def written(*pages):
    file = io.BytesIO()
    file.write(b"what stands before it in an archive")
    begin = file.tell()
    writer = PARQUET.open(_Part(file, begin), "1.0")
    for page in pages:
        writer.write(page)
    writer.close()
    return file.getvalue()[begin:]


class _Part(io.RawIOBase):
    """A file within a file that can only be written to the end of."""

    def __init__(self, file, begin):
        self._file, self._begin = file, begin

    def writable(self):
        return True

    def write(self, content):
        return self._file.write(content)

    def tell(self):
        return self._file.tell() - self._begin


def test_what_is_written_is_read_back(all_records):
    table = parquet.read_table(io.BytesIO(written(all_records[:4], all_records[4:])))

    assert tuple(table.column_names) == COLUMNS
    for row, record in zip(table.to_pylist(), all_records, strict=True):
        wanted = flat(record)
        assert row["entry"].encode() == record.body
        moment = row.pop("recorded_at")
        assert moment == datetime.fromisoformat(wanted.pop("recorded_at"))
        assert moment.tzinfo is not None
        assert row == wanted


def test_columns_have_types_that_can_be_reckoned_with(all_records):
    schema = parquet.read_schema(io.BytesIO(written(all_records)))

    types = {name: str(schema.field(name).type) for name in COLUMNS}
    assert types["recorded_at"] == "timestamp[us, tz=UTC]"
    assert (types["index"], types["duration_ms"], types["stream"]) == ("int64", "double", "bool")
    assert types["rules"].startswith("list<")
    assert schema.metadata[b"ostiary.mapping"] == b"1"


def test_an_empty_log_has_its_columns():
    assert parquet.read_table(io.BytesIO(written())).num_rows == 0


def test_many_rows_are_several_groups(record, monkeypatch):
    monkeypatch.setattr("gateway.audit.formats.parquet._GROUP", 10)
    file = parquet.ParquetFile(io.BytesIO(written(*[[record()] * 7] * 5)))

    assert file.metadata.num_rows == 35
    assert file.metadata.num_row_groups == 3


def test_without_the_library_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(MissingLibrary, match=r"pip install 'ostiary\[export\]'"):
        PARQUET.open(io.BytesIO(), "1.0")
