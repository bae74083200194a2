"""Your own labelled sets: which column holds what.

Either one column of labels, for one category; or one column per category, named as the
category is. An empty cell is unknown: the row does not count there. What is neither yes,
no nor empty is a mistake, never a guess.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from classifiers.types import Source
from gateway.evaluation.formats import Record, records
from gateway.evaluation.types import ANY, EvaluationError, LabelledSet, Row

YES = frozenset({"1", "1.0", "true", "yes", "y", "t", "unsafe", "harmful", "positive", "flagged"})
NO = frozenset({"0", "0.0", "false", "no", "n", "f", "safe", "benign", "negative", "unharmful"})
UNKNOWN = frozenset({"", "none", "null", "nan", "unknown", "?"})


@dataclass(frozen=True, slots=True)
class Columns:
    """Where things stand in a set of your own.

    Attributes:
        text: The column of texts.
        label: The column of labels; where a file has none, it has one per category.
        categories: With a label column, the one category it labels, `any` by default.
            Without, the columns to read; empty means every column named like a category.
        prompt: For replies, the column of what they answer; optional.
        kind: The column of what sort of row it is; optional.
        source: The column of who wrote it (`user`, `final`, `tool`); optional, and
            without it a row is a user's message.
    """

    text: str = "text"
    label: str = "label"
    categories: tuple[str, ...] = ()
    prompt: str = "prompt"
    kind: str = "kind"
    source: str = "source"


def labelled_set(
    name: str, path: Path, columns: Columns, known: frozenset[str] = frozenset()
) -> LabelledSet:
    """Return a set that is read as `columns` says.

    Args:
        name: What to call it.
        path: The file.
        columns: Where things stand.
        known: Category names, for files with one column per category.
    """

    def rows() -> Iterator[Row]:
        for line, record in records(path):
            yield _row(record, columns, known, f"{path}:{line}", line)

    return LabelledSet(name, path, rows)


def truth(value: object, where: str, column: str) -> bool | None:
    """Return what a cell says: yes, no, or None for unknown.

    Raises:
        EvaluationError: If it says something else.
    """
    if value is None:
        return None
    said = str(value).strip().lower()
    if said in UNKNOWN:
        return None
    if said not in YES and said not in NO:
        raise EvaluationError(f"{where}: `{column}` must be 1, 0 or empty, not `{said[:40]}`")
    return said in YES


def text_in(record: Record, column: str, where: str) -> str:
    """Return a text cell.

    Raises:
        EvaluationError: If there is no such column, or it holds no text.
    """
    if column not in record:
        have = ", ".join(f"`{name}`" for name in list(record)[:12])
        raise EvaluationError(f"{where}: there is no column `{column}`; there are {have}")
    value = record[column]
    if not isinstance(value, str):
        raise EvaluationError(f"{where}: `{column}` holds no text")
    return value


def _row(record: Record, columns: Columns, known: frozenset[str], where: str, line: int) -> Row:
    return Row(
        text=text_in(record, columns.text, where),
        labels=_labels(record, columns, known, where),
        source=_source(record, columns, where),
        prompt=str(record.get(columns.prompt) or "") if columns.prompt != columns.text else "",
        kind=str(record.get(columns.kind) or ""),
        line=line,
    )


def _labels(record: Record, columns: Columns, known: frozenset[str], where: str) -> dict[str, bool]:
    if columns.label in record:
        if len(columns.categories) > 1:
            raise EvaluationError(f"one column `{columns.label}` cannot label several categories")
        read = {columns.label: (columns.categories or (ANY,))[0]}
    else:
        names = columns.categories or tuple(name for name in record if name in known)
        if missing := [name for name in names if name not in record]:
            raise EvaluationError(f"{where}: there is no column `{missing[0]}`")
        if not names:
            raise EvaluationError(
                f"{where}: there is no column `{columns.label}`, and none named like a category"
            )
        read = {name: name for name in names}
    cells = {name: truth(record[column], where, column) for column, name in read.items()}
    return {name: cell for name, cell in cells.items() if cell is not None}


def _source(record: Record, columns: Columns, where: str) -> Source:
    said = str(record.get(columns.source) or Source.USER)
    if said not in set(Source):
        raise EvaluationError(f"{where}: `{columns.source}` must be one of {', '.join(Source)}")
    return Source(said)
