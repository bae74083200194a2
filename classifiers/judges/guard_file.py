"""How a generative guard is asked and understood: one TOML file per guard.

The head of `guards/llama-guard-3.toml` explains the keys. Templates are Jinja in a sandbox
and see `user`, `reply` and `question`; patterns run on RE2, in time linear in the answer.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import re2
from jinja2 import DictLoader, StrictUndefined, TemplateError
from jinja2.sandbox import ImmutableSandboxedEnvironment
from pydantic import AfterValidator, Field, model_validator

from classifiers.judges.categories import check_category, near
from classifiers.judges.tables import Table, checked, read_toml

FOLDER = Path(__file__).with_name("guards")

Category = Annotated[str, AfterValidator(check_category)]
Weight = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
Text = Annotated[str, Field(min_length=1, max_length=20_000)]


class Side(Table):
    """One of the two things a guard judges: a prompt, or a reply to one."""

    template: Text
    pattern: Text


class GuardQuestion(Table):
    """One principle, for guards that are asked about one at a time."""

    id: Text
    prompt: Text
    reply: Text
    categories: Annotated[list[Category], Field(min_length=1)]


class GuardFile(Table):
    """What a guard's file says."""

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9.-]{0,63}$")]
    version: Annotated[int, Field(ge=1)]
    source: Text
    architecture: Text
    own_template: bool = False
    max_tokens: Annotated[int, Field(ge=1, le=4096)]
    must_end: bool = True
    marks: Annotated[list[Text], Field(default_factory=list)]
    labels: Annotated[dict[str, Weight], Field(min_length=2)]
    overall: Category | None = None
    separator: Text = ","
    codes: Annotated[dict[str, list[Category]], Field(default_factory=dict)]
    prompt: Side
    reply: Side
    question: Annotated[list[GuardQuestion], Field(default_factory=list)]

    @model_validator(mode="after")
    def _check(self) -> GuardFile:
        if self.codes and self.question:
            raise ValueError("a guard has either `codes` or `question`")
        if not (self.codes or self.question or self.overall):
            raise ValueError("a guard needs `codes`, `question` or `overall`")
        if not any(self.labels.values()):
            raise ValueError("no label counts as harmful")
        return self


@dataclass(frozen=True, slots=True)
class Said:
    """An answer, taken apart.

    Attributes:
        label: One of the file's labels.
        start: Where it begins in the answer, code points.
        codes: The guard's categories as it wrote them, or None if it wrote none.
    """

    label: str
    start: int
    codes: str | None


class Guard:
    """A guard's file, compiled.

    Args:
        file: What it says.
        digest: SHA-256 of its bytes, hex.

    Attributes:
        file: As given.
        digest: As given.
        categories: Every category an answer can concern.

    Raises:
        ValueError: If a template or a pattern does not compile, or a template leaves out
            what is to be judged.
    """

    def __init__(self, file: GuardFile, digest: str):
        self.file = file
        self.digest = digest
        named = [each for codes in file.codes.values() for each in codes]
        named += [each for question in file.question for each in question.categories]
        self.categories = frozenset(named) | ({file.overall} if file.overall else set())
        self._patterns = {
            False: _pattern(file.prompt.pattern, file),
            True: _pattern(file.reply.pattern, file),
        }
        # The prompt is for a model, not for a browser: escaping it would change the text.
        environment = ImmutableSandboxedEnvironment(
            autoescape=False,
            undefined=StrictUndefined,
            keep_trailing_newline=True,
            loader=DictLoader({}),
        )
        try:
            self._templates = {
                False: environment.from_string(file.prompt.template),
                True: environment.from_string(file.reply.template),
            }
            self._check_templates()
        except (TemplateError, TypeError, ArithmeticError) as error:
            raise ValueError(f"a template does not compile: {error}") from error

    def _check_templates(self) -> None:
        """See that nothing to be judged is left out: an empty text is always safe."""
        asked = GuardQuestion(id="q", prompt="OF-PROMPTS", reply="OF-REPLIES", categories=["any"])
        needed = {
            "prompt": (self.render("USER-TEXT", None, asked), ("USER-TEXT", "OF-PROMPTS")),
            "reply": (self.render("USER-TEXT", "REPLY-TEXT", asked), ("REPLY-TEXT", "OF-REPLIES")),
        }
        for side, (rendered, (text, question)) in needed.items():
            if text not in rendered:
                name = "user" if side == "prompt" else "reply"
                raise ValueError(f"the template of `{side}` leaves out `{name}`")
            if self.file.question and question not in rendered:
                raise ValueError(f"the template of `{side}` leaves out `question`")

    def render(self, user: str, reply: str | None, question: GuardQuestion | None) -> str:
        """Return the prompt; the texts must be unable to act as structure."""
        texts = {"user": user, "reply": reply or "", "question": _wording(question, reply)}
        rendered: str = self._templates[reply is not None].render(texts)
        return rendered

    def read(self, text: str, *, is_reply: bool) -> Said | None:
        """Return what an answer says, or None if it is not of the right form."""
        pattern = self._patterns[is_reply]
        try:
            found = pattern.search(text)
        except UnicodeEncodeError:  # a lone surrogate is no part of any form
            return None
        if found is None or found["label"] not in self.file.labels:
            return None
        start = found.start(pattern.groupindex["label"])
        return Said(found["label"], start, found["codes"] if self.file.codes else None)


def builtin_guards() -> list[str]:
    """Return the names of the guards that come with Ostiary."""
    return sorted(path.stem for path in FOLDER.glob("*.toml"))


def read_guard(name: str, beside: Path) -> Guard:
    """Read a guard.

    Args:
        name: One that comes with Ostiary, or a path that ends in `.toml`.
        beside: The folder that a relative path starts from.

    Raises:
        ValueError: If there is none, or its file is wrong; names the file.
    """
    builtin = not name.endswith(".toml")
    if builtin and name not in builtin_guards():
        raise ValueError(f"unknown guard `{name[:80]}`{near(name, builtin_guards())}")
    path = FOLDER / f"{name}.toml" if builtin else beside / name
    content, table = read_toml(path)
    file = checked(GuardFile, table, path.name)
    try:
        return Guard(file, hashlib.sha256(content).hexdigest())
    except ValueError as error:
        raise ValueError(f"{path.name}: {error}") from error


def _wording(question: GuardQuestion | None, reply: str | None) -> str:
    if question is None:
        return ""
    return question.prompt if reply is None else question.reply


def _pattern(pattern: str, file: GuardFile) -> Any:  # noqa: ANN401 - re2 ships no types
    options = re2.Options()
    options.log_errors = False
    try:
        compiled = re2.compile(pattern, options)
    except re2.error as error:
        raise ValueError(f"a pattern does not compile: {error}") from error
    groups: Mapping[str, int] = compiled.groupindex
    if "label" not in groups or bool(file.codes) != ("codes" in groups):
        raise ValueError("a pattern needs the group `label`, and `codes` if there are any")
    return compiled
