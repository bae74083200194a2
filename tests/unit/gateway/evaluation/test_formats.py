import gzip
import json
import sys

import pyarrow as arrow
import pytest
from pyarrow import parquet

from gateway.evaluation import formats
from gateway.evaluation.formats import records
from gateway.evaluation.types import EvaluationError, MissingExtra

RECORDS = [{"text": "a", "label": "1"}, {"text": "b,\nc", "label": ""}]
CSV = b'text,label\na,1\n"b,\nc",\n'
_PACKED = gzip.compress(CSV, mtime=0)
DAMAGED = _PACKED[:10] + b"\xff" * 8 + _PACKED[18:]
LINES = b"".join(json.dumps(record).encode() + b"\n" for record in RECORDS)


def file(tmp_path, name, content):
    path = tmp_path / name
    path.write_bytes(content)
    return path


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.csv", CSV),
        ("a.CSV", CSV),
        ("a.csv", b"\xef\xbb\xbf" + CSV),
        ("a.csv", CSV.replace(b"\n", b"\r\n").replace(b"b,\r\nc", b"b,\nc")),
        ("a.csv.gz", gzip.compress(CSV, mtime=0)),
        ("a.tsv", b'text\tlabel\na\t1\n"b,\nc"\t\n'),
        ("a.jsonl", LINES),
        ("a.jsonl", LINES.replace(b"\n", b"\n\n")),
        ("a.ndjson.gz", gzip.compress(LINES, mtime=0)),
        ("a.json", json.dumps(RECORDS).encode()),
    ],
)
def test_the_same_records_come_from_every_format(tmp_path, name, content):
    path = file(tmp_path, name, content)

    assert [record for _, record in records(path)] == RECORDS


def test_parquet_is_read_in_batches(tmp_path, monkeypatch):
    monkeypatch.setattr(formats, "BATCH", 3)
    path = tmp_path / "a.parquet"
    rows = [{"text": f"row {number}", "label": number % 2} for number in range(10)]
    parquet.write_table(arrow.Table.from_pylist(rows), path)

    assert list(records(path)) == list(enumerate(rows, 1))


def test_a_record_is_known_by_the_line_it_starts_on(tmp_path):
    path = file(tmp_path, "a.csv", CSV + b"d,0\n")

    assert [line for line, _ in records(path)] == [2, 3, 5]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.csv", b"", "the file is empty"),
        ("a.csv", b"text,label\na,1\nb\n", ":3: 1 fields, but 2 columns"),
        ("a.csv", b"text,label\na,1\n\xff,1\n", ":3: not UTF-8"),
        ("a.csv", b"text,label,label\na,1,0\n", ":1: there are two columns `label`"),
        ("a.csv", b"text;label\na;1\n", ":1: columns must be separated by `,`"),
        ("a.csv.gz", DAMAGED, "cannot read the file: it is damaged"),
        ("a.csv", b'text,label\n"a,1\n', "not CSV"),
        ("a.csv.gz", b"not gzip at all", "cannot read the file"),
        ("a.csv.gz", gzip.compress(CSV, mtime=0)[:-9], "cannot read the file"),
        ("a.jsonl", b'{"text": 1}\n{"text"\n', ":2: not JSON"),
        ("a.jsonl", b"[1]\n", ":1: not a JSON object"),
        ("a.jsonl", b"[" * 100_000 + b"\n", ":1: not JSON"),
        ("a.json", b'{"text": 1}', "not an array of objects"),
        ("a.json", b"[1]", "not an array of objects"),
        ("a.json", b"[", "not JSON"),
        ("a.parquet", b"PAR?", "not Parquet"),
        ("a.txt", b"", "the name must end in"),
    ],
)
def test_a_mistake_names_file_and_line(tmp_path, name, content, message):
    path = file(tmp_path, name, content)

    with pytest.raises(EvaluationError) as caught:
        list(records(path))

    assert str(caught.value).startswith(str(path))
    assert message in str(caught.value)


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(EvaluationError, match=r"a\.csv: cannot read the file: no such file"):
        list(records(tmp_path / "a.csv"))


def test_a_line_without_end_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(formats, "MAX_RECORD", 1000)
    path = file(tmp_path, "a.csv", b"text\n" + b"x" * 2000)

    with pytest.raises(EvaluationError, match=":2: longer than 1000 bytes"):
        list(records(path))


def test_an_array_has_a_bound(tmp_path, monkeypatch):
    monkeypatch.setattr(formats, "MAX_ARRAY", 10)

    with pytest.raises(EvaluationError, match="larger than 10 bytes; use JSON lines"):
        list(records(file(tmp_path, "a.json", b'[{"text": "long enough"}]')))


def test_rows_are_read_as_they_are_needed(tmp_path):
    path = file(tmp_path, "a.csv", b"text\n" + b"fine\n" * 10 + b"\xff\n" * 10)

    reading = records(path)

    assert next(reading) == (2, {"text": "fine"})


def test_without_pyarrow_the_extra_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)

    with pytest.raises(MissingExtra, match=r"pip install 'ostiary\[eval\]'"):
        list(records(file(tmp_path, "a.parquet", b"")))
