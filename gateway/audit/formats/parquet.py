"""Parquet, by pyarrow: one row an entry, compressed, a row group every `_GROUP` rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import IO, Any

from gateway.audit.formats.flat import COLUMNS, LISTS, MAPPING, flat
from gateway.audit.formats.types import Format, MissingLibrary, Record
from gateway.store.times import from_text

_GROUP = 16_384  # rows; what is in memory at once
_WHOLE = frozenset(
    {
        "index",
        "seq",
        "denial_status",
        "input_tokens",
        "output_tokens",
        "reasoning_tokens",
        "replica_seq",
    }
)


class _Writer:
    def __init__(self, file: IO[bytes], build: str):
        try:
            import pyarrow as arrow
            from pyarrow import parquet
        except ImportError as error:
            raise MissingLibrary(
                "writing Parquet needs `pyarrow`: pip install 'ostiary[export]'"
            ) from error
        self._arrow = arrow
        self._schema = arrow.schema(
            [(name, _type(arrow, name)) for name in COLUMNS],
            {"ostiary.mapping": str(MAPPING), "ostiary.build": build},
        )
        self._file = parquet.ParquetWriter(file, self._schema, compression="zstd")
        self._rows: list[dict[str, Any]] = []

    def write(self, records: Sequence[Record]) -> None:
        for record in records:
            row = flat(record)
            row["recorded_at"] = from_text(row["recorded_at"])
            self._rows.append(row)
        if len(self._rows) >= _GROUP:
            self._flush()

    def close(self) -> None:
        self._flush()
        self._file.close()

    def _flush(self) -> None:
        if self._rows:
            self._file.write_table(self._arrow.Table.from_pylist(self._rows, self._schema))
            self._rows.clear()


def _type(arrow: Any, name: str) -> Any:  # noqa: ANN401 - untyped library
    if name in LISTS:
        return arrow.list_(arrow.string())
    if name in _WHOLE:
        return arrow.int64()
    if name == "recorded_at":
        return arrow.timestamp("us", tz="UTC")
    special = {"stream": arrow.bool_(), "duration_ms": arrow.float64()}
    return special.get(name, arrow.string())


PARQUET = Format("parquet", MAPPING, "parquet", _Writer)
