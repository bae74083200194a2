"""Reads files of records one at a time: CSV, TSV, JSON lines, JSON, Parquet; also gzipped.

A mistake names the file and the line. A record never outgrows `MAX_RECORD` and a file of
any size is read in bounded memory, but for a JSON array, which has a bound of its own.
"""

from __future__ import annotations

import csv
import gzip
import json
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, cast

from gateway.evaluation.types import EvaluationError, MissingExtra

MAX_RECORD = 16 * 1024 * 1024  # bytes of one line, code points of one field
MAX_ARRAY = 256 * 1024 * 1024  # bytes of a `.json` file
BATCH = 512  # rows of a Parquet file that are in memory at once

Record = dict[str, Any]
Numbered = tuple[int, Record]


def records(path: Path) -> Iterator[Numbered]:
    """Yield each record with the line it starts on; for Parquet, the row; both from 1.

    Raises:
        EvaluationError: If the file cannot be read or is not what its name says.
        MissingExtra: If it is Parquet and pyarrow is not installed.
    """
    suffixes = [suffix.lower() for suffix in path.suffixes]
    suffix = suffixes[-2] if suffixes[-1:] == [".gz"] and len(suffixes) > 1 else path.suffix.lower()
    try:
        if suffix in {".csv", ".tsv"}:
            yield from _separated(path, "\t" if suffix == ".tsv" else ",")
        elif suffix in {".jsonl", ".ndjson"}:
            yield from _json_lines(path)
        elif suffix == ".json":
            yield from _json_array(path)
        elif suffix == ".parquet":
            yield from _parquet(path)
        else:
            raise EvaluationError(
                f"{path}: the name must end in `.csv`, `.tsv`, `.jsonl`, `.json` or `.parquet`"
            )
    except (OSError, EOFError, zlib.error) as error:
        reason = (getattr(error, "strerror", None) or "it is damaged").lower()
        raise EvaluationError(f"{path}: cannot read the file: {reason}") from error


def _opened(path: Path) -> IO[bytes]:
    if path.suffix.lower() == ".gz":
        return cast("IO[bytes]", gzip.open(path, "rb"))
    return path.open("rb")


def _lines(path: Path) -> Iterator[str]:
    with _opened(path) as file:
        number = 0
        while line := file.readline(MAX_RECORD + 1):
            number += 1
            if len(line) > MAX_RECORD:
                raise EvaluationError(f"{path}:{number}: longer than {MAX_RECORD} bytes")
            try:
                text = line.decode("utf-8-sig" if number == 1 else "utf-8")
            except UnicodeDecodeError:
                raise EvaluationError(f"{path}:{number}: not UTF-8") from None
            yield text


def _separated(path: Path, delimiter: str) -> Iterator[Numbered]:
    csv.field_size_limit(MAX_RECORD)
    reader = csv.reader(_lines(path), delimiter=delimiter, strict=True)
    try:
        header = next(reader, None)
        if header is None:
            raise EvaluationError(f"{path}: the file is empty")
        if len(header) == 1 and ";" in header[0] and delimiter == ",":
            raise EvaluationError(f"{path}:1: columns must be separated by `,`, not by `;`")
        if twice := sorted({name for name in header if name and header.count(name) > 1}):
            raise EvaluationError(f"{path}:1: there are two columns `{twice[0][:80]}`")
        line = reader.line_num + 1
        for fields in reader:
            if fields and len(fields) != len(header):
                raise EvaluationError(
                    f"{path}:{line}: {len(fields)} fields, but {len(header)} columns"
                )
            if fields:
                yield line, dict(zip(header, fields, strict=True))
            line = reader.line_num + 1
    except csv.Error as error:
        raise EvaluationError(f"{path}:{reader.line_num}: not CSV: {error}") from error


def _json_lines(path: Path) -> Iterator[Numbered]:
    for number, line in enumerate(_lines(path), 1):
        if not line.strip():
            continue
        try:
            record = json.loads(line)
        except (ValueError, RecursionError):
            raise EvaluationError(f"{path}:{number}: not JSON") from None
        if not isinstance(record, dict):
            raise EvaluationError(f"{path}:{number}: not a JSON object")
        yield number, record


def _json_array(path: Path) -> Iterator[Numbered]:
    with _opened(path) as file:
        content = file.read(MAX_ARRAY + 1)
    if len(content) > MAX_ARRAY:
        raise EvaluationError(f"{path}: larger than {MAX_ARRAY} bytes; use JSON lines")
    try:
        array = json.loads(content)
    except (ValueError, RecursionError):
        raise EvaluationError(f"{path}: not JSON") from None
    if not isinstance(array, list) or not all(isinstance(record, dict) for record in array):
        raise EvaluationError(f"{path}: not an array of objects")
    yield from enumerate(array, 1)


def _parquet(path: Path) -> Iterator[Numbered]:
    try:
        import pyarrow as arrow
        from pyarrow import parquet
    except ImportError as error:
        raise MissingExtra("reading Parquet", "pyarrow") from error
    try:
        with parquet.ParquetFile(path) as file:
            number = 0
            for batch in file.iter_batches(batch_size=BATCH):
                for record in batch.to_pylist():
                    number += 1
                    yield number, record
    except arrow.ArrowException as error:
        raise EvaluationError(f"{path}: not Parquet") from error
