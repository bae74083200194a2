"""The judges file: which judges there are, whom they ask, and how.

A TOML file with one `[[judge]]` per judge; docs/judges.md has the keys. It is read once, at
start, and whatever is wrong with it is said with the file, the judge and the nearest key.
Keys of other services stand in environment variables and never in the file.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Protocol

from pydantic import AfterValidator, Field, model_validator

from classifiers.judges.asking import Turns
from classifiers.judges.categories import check_category, near
from classifiers.judges.engine import EngineModel
from classifiers.judges.guard import GuardJudge, GuardOptions
from classifiers.judges.guard_file import read_guard
from classifiers.judges.moderations import SAME, Moderations
from classifiers.judges.overseer import Overseer, OverseerOptions, read_rubric
from classifiers.judges.safeguard import Safeguard, SafeguardOptions
from classifiers.judges.service import Service
from classifiers.judges.tables import Table, checked, read_toml
from classifiers.judges.text_model import TextModel
from classifiers.judges.written_policy import read_policy
from classifiers.types import Classifier


class Judge(Classifier, Protocol):
    """A classifier that has something to close."""

    async def aclose(self) -> None:
        """Close connections, or free the model."""
        ...


Line = Annotated[str, Field(min_length=1, max_length=400)]
Seconds = Annotated[float, Field(gt=0, le=600, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=1, le=4096)]
Chars = Annotated[int, Field(ge=1000, le=1_000_000)]


class _Entry(Table):
    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._-]{0,63}$")]
    most_running: Count = 8
    most_waiting: Count = 256

    def turns(self) -> Turns:
        return Turns(self.most_running, self.most_waiting)


class _Served(_Entry):
    """A judge that may ask a server."""

    url: Line | None = None
    model: Line | None = None
    api_key_env: Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]{0,127}$")] | None = None
    timeout_s: Seconds = 10.0

    def service(self) -> Service:
        key = ""
        if self.api_key_env is not None:
            key = os.environ.get(self.api_key_env, "").strip()
            if not key:
                raise ValueError(f"the environment variable `{self.api_key_env}` is not set")
            if not (key.isascii() and key.isprintable()):
                raise ValueError(f"what `{self.api_key_env}` holds is no key")
        return Service(self.url or "", key, self.timeout_s)


class _Modelled(_Served):
    """A judge that asks a language model, wherever it runs."""

    runner: Literal["self", "in-process"] | None = None
    logprobs: bool = True

    @model_validator(mode="after")
    def _check_where(self) -> _Modelled:
        if (self.url is None) == (self.runner is None):
            raise ValueError("it needs either `url` or `runner`")
        if (self.model is None) != (self.runner == "self"):
            raise ValueError('it needs `model`, except with `runner = "self"`')
        return self

    def text_model(self, own: TextModel | None, *, converses: bool) -> TextModel:
        if self.runner == "self":
            if own is None:
                raise ValueError('`runner = "self"` needs a gateway that serves a model')
            return own
        if self.runner == "in-process":
            from classifiers.judges.in_process import load_in_process  # imports torch

            return load_in_process(self.model or "", converses=converses)
        return EngineModel(self.service(), self.model or "")


class SafeguardEntry(_Modelled):
    """A model that reads written policies."""

    kind: Literal["safeguard"]
    policies: Annotated[list[Line], Field(min_length=1, max_length=64)]
    answer: Literal["json", "digit"] = "json"
    role: Literal["system", "developer"] | None = None
    effort: Literal["low", "medium", "high"] = "low"
    max_tokens: Annotated[int, Field(ge=1)] | None = None
    window_chars: Chars = 24_000
    most_windows: Count = 8

    def build(self, beside: Path, own: TextModel | None) -> Judge:
        """Return the judge."""
        policies = [read_policy(name, beside) for name in self.policies]
        options = SafeguardOptions(
            form=self.answer,
            role=self.role or ("developer" if self.runner == "self" else "system"),
            effort=self.effort,
            max_tokens=self.max_tokens,
            logprobs=self.logprobs,
            window_chars=self.window_chars,
            most_windows=self.most_windows,
        )
        model = self.text_model(own, converses=True)
        return Safeguard(self.name, model, policies, options, self.turns())


class GuardEntry(_Modelled):
    """A model trained as a guard."""

    kind: Literal["guard"]
    guard: Line
    own_template: bool = False
    window_chars: Chars = 12_000
    most_windows: Count = 8

    def build(self, beside: Path, own: TextModel | None) -> Judge:
        """Return the judge."""
        guard = read_guard(self.guard, beside)
        if self.runner == "self":
            raise ValueError("a guard is a model of its own: `runner` cannot be `self`")
        options = GuardOptions(
            self.own_template, self.logprobs, self.window_chars, self.most_windows
        )
        model = self.text_model(own, converses=self.own_template)
        return GuardJudge(self.name, model, guard, options, self.turns())


class OverseerEntry(_Modelled):
    """A model that reads trajectories by a rubric."""

    kind: Literal["overseer"]
    rubric: Line = "misalignment"
    role: Literal["system", "developer"] | None = None
    effort: Literal["low", "medium", "high"] = "medium"
    max_tokens: Annotated[int, Field(ge=1)] | None = None
    window_chars: Chars = 96_000

    def build(self, beside: Path, own: TextModel | None) -> Judge:
        """Return the judge."""
        rubric = read_rubric(self.rubric, beside)
        options = OverseerOptions(
            role=self.role or ("developer" if self.runner == "self" else "system"),
            effort=self.effort,
            max_tokens=self.max_tokens,
            logprobs=self.logprobs,
            window_chars=self.window_chars,
        )
        model = self.text_model(own, converses=True)
        return Overseer(self.name, model, rubric, options, self.turns())


class SequenceEntry(_Entry):
    """A sequence classifier in this process."""

    kind: Literal["sequence"]
    model: Line
    labels: Line

    def build(self, beside: Path, own: TextModel | None) -> Judge:
        """Return the judge; loads its model."""
        from classifiers.judges.sequence import load_sequence, read_label_map

        labels = read_label_map(self.labels, beside)
        return load_sequence(self.name, self.model, labels, self.most_waiting)


class ModerationsEntry(_Served):
    """Another server's moderation endpoint."""

    kind: Literal["moderations"]
    url: Line
    labels: (
        Annotated[dict[str, Annotated[str, AfterValidator(check_category)]], Field(min_length=1)]
        | None
    ) = None

    def build(self, beside: Path, own: TextModel | None) -> Judge:
        """Return the judge."""
        labels = SAME if self.labels is None else self.labels
        return Moderations(self.name, self.service(), self.model or "", labels, self.turns())


Entry = SafeguardEntry | GuardEntry | OverseerEntry | SequenceEntry | ModerationsEntry

_KINDS: Mapping[str, type[Entry]] = {
    "guard": GuardEntry,
    "moderations": ModerationsEntry,
    "overseer": OverseerEntry,
    "safeguard": SafeguardEntry,
    "sequence": SequenceEntry,
}


def load_judges(path: Path, own: TextModel | None = None) -> list[Judge]:
    """Read the judges file and build what it names; loads the models that run in process.

    Args:
        path: The file; paths in it start from its folder.
        own: The gateway's own model, for `runner = "self"`.

    Raises:
        ValueError: If anything in the file, or in a file that it names, is wrong.
    """
    _, document = read_toml(path)
    if unknown := document.keys() - {"judge"}:
        wrong = min(unknown)
        raise ValueError(f"{path.name}: unknown key `{wrong[:80]}`{near(wrong, ['judge'])}")
    tables = document.get("judge", [])
    if not isinstance(tables, list) or not all(isinstance(table, dict) for table in tables):
        raise ValueError(f"{path.name}: judges are written as `[[judge]]`")
    entries = [_entry(table, f"{path.name}: {_called(table, n)}") for n, table in enumerate(tables)]
    names = [entry.name for entry in entries]
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"{path.name}: two judges are named `{name}`")
    return [_built(entry, path, own) for entry in entries]


def _called(table: Mapping[str, Any], number: int) -> str:
    name = table.get("name")
    return f"judge `{name[:80]}`" if isinstance(name, str) else f"judge {number + 1}"


def _entry(table: Mapping[str, Any], where: str) -> Entry:
    kind = table.get("kind")
    if kind is None:
        raise ValueError(f"{where}: key `kind` is missing")
    if not isinstance(kind, str) or kind not in _KINDS:
        raise ValueError(f"{where}: unknown kind `{str(kind)[:80]}`{near(str(kind), _KINDS)}")
    return checked(_KINDS[kind], table, where)


def _built(entry: Entry, path: Path, own: TextModel | None) -> Judge:
    build: Callable[[Path, TextModel | None], Judge] = entry.build
    try:
        return build(path.parent, own)
    except ValueError as error:
        raise ValueError(f"{path.name}: judge `{entry.name}`: {error}") from error
