"""Writes a threshold into a policy file, and nothing else of the file changes.

The file is edited where the number stands, so comments, order and layout stay to the
byte. What goes with the number moves with it: the rule's own tests that stand on the old
threshold or just below it, and the number in the developer's message. The result is
written only if it loads and all its tests pass.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from difflib import unified_diff
from pathlib import Path
from typing import Any

from gateway.evaluation.types import EvaluationError
from policies.document import Document
from policies.document import Path as Place
from policies.load import PolicyFile, builtin_names, parse_policy, refuse_failures
from policies.testing import Judge, run_tests
from policies.types import Action

NEAR = 0.02  # a test this little below the threshold is about the threshold
_NUMBER = re.compile(r"[^\s,}\]#]+")


@dataclass(frozen=True, slots=True)
class Change:
    """A policy file before and after.

    Attributes:
        path: The file.
        before: Its bytes.
        after: What they become.
        action: The action whose threshold moves.
        old: Where it began.
        new: Where it begins.
    """

    path: Path
    before: bytes
    after: bytes
    action: str
    old: float
    new: float

    def diff(self) -> str:
        """Return the change as a unified diff."""
        before, after = (
            content.decode("utf-8-sig").splitlines(keepends=True)
            for content in (self.before, self.after)
        )
        names = (f"{self.path} (before)", f"{self.path} (after)")
        return "".join(unified_diff(before, after, *names))


def category_of(path: Path, rule: str) -> str:
    """Return the category that a rule watches.

    Raises:
        EvaluationError: If the file is built in, cannot be read, or has no such rule.
        PolicyError: If it is not a policy.
    """
    file = _read(path)[1]
    return next(each.category for each in file.policy.rules if each.id == _known(file, rule))


def change(path: Path, rule: str, threshold: float, action: str | None = None) -> Change:
    """Return what the file becomes when a rule's action begins at `threshold`.

    Args:
        path: The policy file; nothing is written.
        rule: The rule's id.
        threshold: In [0, 1].
        action: Which action; None is the strictest that the rule takes.

    Raises:
        EvaluationError: As `category_of`, or if the rule has no such action.
        PolicyError: If it is not a policy, before or after.
    """
    content, file = _read(path)
    place = _place(file, rule)
    entry = _at(file.document, place)
    index, name = _band(entry["bands"], rule, action)
    old = float(entry["bands"][index]["gte"])
    new = round(threshold, 4)
    edits = dict(_moved(entry, place, old, new))
    edits[(*place, "bands", index, "gte")] = new
    after = _edited(content, file.document, edits)
    after = _told(after, file.document, place, content, (old, new))
    parse_policy(after, str(path))
    return Change(path, content, after, name, old, new)


async def checked(changed: Change, judge: Judge) -> None:
    """Run all tests of the changed policy, those with texts included.

    Raises:
        PolicyError: If one fails.
    """
    file = parse_policy(changed.after, str(changed.path))
    refuse_failures(file, await run_tests(file.policy, file.tests, judge))


def write(changed: Change) -> None:
    """Put the new file in the old one's place, whole or not at all.

    Raises:
        EvaluationError: If the file changed meanwhile, or cannot be written.
    """
    path = changed.path
    try:
        if path.read_bytes() != changed.before:
            raise EvaluationError(f"{path}: the file changed meanwhile; nothing was written")
        handle, name = tempfile.mkstemp(dir=path.resolve().parent, prefix=f".{path.name}.")
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(changed.after)
                file.flush()
                os.fsync(file.fileno())
            shutil.copymode(path, name)
            Path(name).replace(path.resolve())
        except OSError:
            with contextlib.suppress(OSError):
                Path(name).unlink()
            raise
    except OSError as error:
        raise EvaluationError(f"{path}: cannot write: {(error.strerror or '').lower()}") from error


def _read(path: Path) -> tuple[bytes, PolicyFile]:
    if str(path) in builtin_names():
        raise EvaluationError(f"`{path}` is built in; give a copy of your own")
    try:
        content = path.read_bytes()
    except OSError as error:
        reason = (error.strerror or "").lower()
        raise EvaluationError(f"{path}: cannot read the file: {reason}") from error
    return content, parse_policy(content, str(path))


def _known(file: PolicyFile, rule: str) -> str:
    if all(each.id != rule for each in file.policy.rules):
        raise EvaluationError(f"{file.name}: there is no rule `{rule[:80]}`")
    return rule


def _place(file: PolicyFile, rule: str) -> Place:
    _known(file, rule)
    ids = [each["id"] for each in file.document.value["rules"]]
    return ("rules", ids.index(rule))


def _at(document: Document, place: Place) -> Any:  # noqa: ANN401 - a value of a YAML file
    value = document.value
    for step in place:
        value = value[step]
    return value


def _band(bands: list[dict[str, Any]], rule: str, action: str | None) -> tuple[int, str]:
    """Return the band where an action begins, and the action's name."""
    names = {member.name.lower(): member for member in Action}
    found = [
        (names[word], -float(band["gte"]), index)
        for index, band in enumerate(bands)
        for word in band["actions"]
        if isinstance(word, str) and word in names and action in {None, word}
    ]
    if not found:
        what = f"action `{action}`" if action else "action with a threshold"
        raise EvaluationError(f"rule `{rule}` has no {what}")
    strictest, _, index = max(found)
    return index, strictest.name.lower()


def _moved(
    entry: dict[str, Any], place: Place, old: float, new: float
) -> Iterator[tuple[Place, float]]:
    """Yield the scores of the rule's own tests that are about the threshold."""
    category = entry["category"]
    for index, test in enumerate(entry.get("tests", ())):
        score = (test["given"].get("scores") or {}).get(category)
        if isinstance(score, int | float) and -1e-9 <= old - score <= NEAR:
            moved = round(max(0.0, new - (old - score)), 4)
            yield (*place, "tests", index, "given", "scores", category), moved


def _edited(content: bytes, document: Document, edits: dict[Place, float]) -> bytes:
    lines = content.decode("utf-8").split("\n")
    for place in sorted(edits, key=lambda each: document.values[each], reverse=True):
        line, column = document.values[place]
        shift = len(lines[0]) - len(lines[0].removeprefix("\ufeff")) if line == 1 else 0
        start = column - 1 + shift
        token = _NUMBER.match(lines[line - 1], start)
        if token is None:
            raise EvaluationError(f"line {line} of the policy cannot be edited; change it by hand")
        written = lines[line - 1]
        lines[line - 1] = written[:start] + _text(edits[place]) + written[token.end() :]
    return "\n".join(lines).encode()


def _told(
    after: bytes, document: Document, place: Place, before: bytes, numbers: tuple[float, float]
) -> bytes:
    """Put the new number into the developer's message, where the old one stands in it."""
    where = document.values.get((*place, "message", "developer"))
    if where is None:
        return after
    old, new = numbers
    line = where[0] - 1
    lines, unchanged = after.decode("utf-8").split("\n"), before.decode("utf-8").split("\n")
    if lines[line] != unchanged[line]:
        return after  # a threshold stands on the same line, and columns have moved
    start = where[1] - 1
    said = re.compile(rf"(?<![\d.]){re.escape(f'{old:g}')}0*(?![\d.]*\d)")
    lines[line] = lines[line][:start] + said.sub(_text(new), lines[line][start:])
    return "\n".join(lines).encode()


def _text(value: float) -> str:
    shortest = f"{value:.4f}".rstrip("0")
    return shortest + "0" * max(0, 4 - len(shortest))
