"""CSV (RFC 4180), which a spreadsheet may open without running what somebody wrote into it.

A cell that begins with `=`, `+`, `-`, `@`, a tab or a line break is taken for a formula by
spreadsheets. Such a cell has a `'` put before it, and so has one that begins with `'`: who
takes one `'` from the front of a cell has what the log says.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from typing import IO, Any

from gateway.audit.formats.flat import COLUMNS, MAPPING, flat
from gateway.audit.formats.types import Format, Record

# The full-width forms too: some spreadsheets read them as the plain ones.
_RUN = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20", "'")


class _Writer:
    def __init__(self, file: IO[bytes], build: str):
        self._text = io.StringIO()
        self._rows = csv.writer(self._text, lineterminator="\r\n")
        self._file = file
        self._rows.writerow(COLUMNS)

    def write(self, records: Sequence[Record]) -> None:
        for record in records:
            self._rows.writerow([cell(value) for value in flat(record).values()])
        self.close()

    def close(self) -> None:
        self._file.write(self._text.getvalue().encode())
        self._text.seek(0)
        self._text.truncate()


def cell(value: Any) -> str | int | float:  # noqa: ANN401 - whatever the JSON holds
    """Return what stands in a cell: lists with spaces between, nothing for None."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float) and str(value)[0].isdigit():
        return value
    text = " ".join(map(str, value)) if isinstance(value, list) else str(value)
    return f"'{text}" if text.startswith(_RUN) else text


CSV = Format("csv", MAPPING, "csv", _Writer)
