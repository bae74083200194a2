"""Reads a TOML file into a pydantic model, and says plainly what is wrong with it."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar, get_args

from pydantic import BaseModel, ConfigDict, ValidationError

from classifiers.judges.categories import near

_Read = TypeVar("_Read", bound="Table")
_MOST = 10  # mistakes that are listed
_MAX_BYTES = 1024 * 1024


class Table(BaseModel):
    """A table that may hold no key but its own."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


def read_toml(path: Path) -> tuple[bytes, dict[str, Any]]:
    """Return the bytes of a file and what they say.

    Raises:
        ValueError: If it cannot be read, or is not TOML; names the file.
    """
    try:
        content = path.read_bytes()
        if len(content) > _MAX_BYTES:
            raise ValueError(f"{path.name}: it is longer than {_MAX_BYTES} bytes")
        return content, tomllib.loads(content.decode())
    except OSError as error:
        raise ValueError(f"cannot read `{path.name}`: {error.strerror}") from error
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ValueError(f"{path.name}: not TOML: {error}") from error


def checked(model: type[_Read], table: Mapping[str, Any], where: str) -> _Read:
    """Return `table` as a `model`.

    Args:
        model: Its shape.
        table: What a file says.
        where: How a message begins, `judges.toml: judge `x``.

    Raises:
        ValueError: If it is not of that shape; one line per mistake, with the nearest key.
    """
    try:
        return model.model_validate(table)
    except ValidationError as error:
        problems = [_problem(model, detail) for detail in error.errors(include_url=False)]
        lines = (f"{where}: {problem}" for problem in problems[:_MOST])
        raise ValueError("\n".join(lines)) from error


def _problem(model: type[BaseModel], detail: Mapping[str, Any]) -> str:
    path = detail["loc"]
    place = ".".join(str(part) for part in path if part != "[key]")[:120]
    if detail["type"] == "extra_forbidden":
        return f"unknown key `{place}`{near(str(path[-1]), _keys(model, path[:-1]))}"
    if detail["type"] == "missing":
        return f"key `{place}` is missing"
    message = str(detail["msg"]).removeprefix("Value error, ")
    return f"`{place}`: {message[:1].lower()}{message[1:]}" if place else message


def _keys(model: type[BaseModel], path: tuple[Any, ...]) -> list[str]:
    """Return the keys that the table at `path` may hold."""
    for part in path:
        if isinstance(part, int):
            continue
        field = model.model_fields.get(str(part))
        nested = next(_models(field.annotation), None) if field else None
        if nested is None:
            return []
        model = nested
    return list(model.model_fields)


def _models(annotation: Any) -> Iterator[type[BaseModel]]:  # noqa: ANN401 - any annotation
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for part in get_args(annotation):
        yield from _models(part)
