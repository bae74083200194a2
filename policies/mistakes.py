"""Says in plain words, and at the right place, what pydantic found wrong with a file."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from functools import cache
from typing import Any

from pydantic import BaseModel, ValidationError

from policies.document import Document, Path, Problem
from policies.schema import PolicyDocument

# Beyond this many, it is no policy with mistakes in it but something else altogether.
MOST = 200

_TAGS = {"word", "mapping"}  # pydantic names the spelling it tried; the file does not


def suggestion(wrong: str, known: Iterable[str]) -> str:
    """Return `; did you mean ...?` if something known looks like `wrong`, else nothing."""
    near = get_close_matches(wrong, list(known), n=1, cutoff=0.6)
    return f"; did you mean `{near[0]}`?" if near else ""


def schema_problems(
    error: ValidationError, document: Document, model: type[BaseModel] = PolicyDocument
) -> list[Problem]:
    """Return one problem per mistake, placed where the mistake stands.

    Args:
        error: What pydantic found.
        document: Where the values stand.
        model: What the file was to be; its keys are what an unknown one is compared with.
    """
    return [_problem(detail, document, model) for detail in error.errors(include_url=False)]


def _problem(detail: Mapping[str, Any], document: Document, model: type[BaseModel]) -> Problem:
    path = tuple(
        part
        for index, part in enumerate(detail["loc"])
        if part != "[key]" and not (part in _TAGS and detail["loc"][:index] not in _OPEN)
    )
    kind = str(detail["type"])
    if kind == "extra_forbidden":
        return Problem(*document.place(path, of_key=True), _unknown_key(path, model))
    if kind == "missing":
        place = document.place(path[:-1], of_key=bool(path[:-1]) and isinstance(path[-2], str))
        return Problem(*place, f"key `{path[-1]}` is missing")
    of_key = "[key]" in detail["loc"]
    return Problem(*document.place(path, of_key=of_key), _reason(kind, detail, path))


# Here a tag's name may be the author's own key.
_OPEN: set[Path] = {("categories",), ("redactors",), ("disclaimers",)}


def _unknown_key(path: Path, model: type[BaseModel]) -> str:
    key = str(path[-1])
    return f"unknown key `{key[:80]}`{suggestion(key, keys_at(path[:-1], model))}"


def keys_at(path: Path, model: type[BaseModel]) -> Iterable[str]:
    """Return the keys the schema knows at `path`, by walking its JSON Schema."""
    schema = _schema(model)
    here: Any = schema
    for part in path:
        here = _step(schema, here, part)
    return _properties(schema, here)


@cache
def _schema(model: type[BaseModel]) -> Mapping[str, Any]:
    return model.model_json_schema()


def _step(schema: Mapping[str, Any], here: Any, part: str | int) -> Any:  # noqa: ANN401 - JSON
    for option in _options(schema, here):
        if isinstance(part, int) and "items" in option:
            return option["items"]
        if part in option.get("properties", {}):
            return option["properties"][part]
        for entry in option.get("patternProperties", {}).values():  # one pattern for all keys
            return entry
        if isinstance(option.get("additionalProperties"), dict):
            return option["additionalProperties"]
    return {}


def _options(schema: Mapping[str, Any], here: Any) -> list[Any]:  # noqa: ANN401 - JSON
    here = schema["$defs"][here["$ref"].rsplit("/", 1)[1]] if "$ref" in here else here
    choices = here.get("oneOf", here.get("anyOf", []))
    return [here, *(option for choice in choices for option in _options(schema, choice))]


def _properties(schema: Mapping[str, Any], here: Any) -> list[str]:  # noqa: ANN401 - JSON
    return [key for option in _options(schema, here) for key in option.get("properties", {})]


def _reason(kind: str, detail: Mapping[str, Any], path: Path) -> str:
    given = detail["input"]
    key = next((part for part in reversed(path) if isinstance(part, str)), "the file")
    if kind == "literal_error":
        if isinstance(given, dict):
            return f"`{key}` has to be one word"
        known = [word.strip("' ") for word in _choices(detail)]
        noun = _NOUNS.get(str(key), str(key))
        listed = "; one of " + ", ".join(f"`{word}`" for word in known)
        return f"unknown {noun} `{str(given)[:80]}`{suggestion(str(given), known) or listed}"
    reason = str(detail["msg"])
    return f"`{key}`: {reason[:1].lower()}{reason[1:200]}"


_NOUNS = {"stages": "stage", "actions": "action", "expect": "action", "on_unavailable": "action"}


def _choices(detail: Mapping[str, Any]) -> list[str]:
    return str(detail["ctx"]["expected"]).replace(" or ", ", ").split(",")
