"""Notes the secrets that a model is told in an exchange, so that it is seen if one leaves.

Credentials in instructions and in what tools gave back, as the classifiers find them, and the
canaries that the operator set out. What the end user says is theirs to pass on. Held in memory
for as long as the exchange lives, never shown and never written down.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from classifiers.carried import CANARY, INSTRUCTIONS, MOST, TOOL
from classifiers.disguises import SHORTEST_CANARY, worth_noting
from classifiers.types import Assessment, Passage, Secret, Secrets, Source, Verdict

CREDENTIAL = "secrets.credential"
LIKELY = 0.6  # from which score on a find is noted
LONGEST = 4096  # code points; of a longer one, such as a key of many lines, its first

_TOLD = frozenset({Source.SYSTEM, Source.DEVELOPER, Source.TOOL})


class CanaryError(ValueError):
    """A file of canaries cannot be used; the message names file and line, not the canary."""


class Noted:
    """The secrets of one exchange, as they are noted.

    Args:
        canaries: What the operator set out.
    """

    def __init__(self, canaries: Iterable[Secret] = ()) -> None:
        self._known = dict.fromkeys(canaries)
        self._complete = True
        self._users: list[str] = []
        self._whole: Secrets | None = None

    def read(self, assessment: Assessment) -> None:
        """Note what was found in some passages of the prompt."""
        for passage, verdicts in zip(assessment.passages, assessment.verdicts, strict=True):
            if passage.source is Source.USER:
                self._users.append(passage.text)
            elif passage.source in _TOLD:
                mine = [verdict for verdict in verdicts if verdict.category == CREDENTIAL]
                self._complete &= bool(assessment.covered.get(CREDENTIAL)) and all(map(_told, mine))
                for start, end in _places(mine):
                    self._note(passage.text[start : min(end, start + LONGEST)], passage)
                self._whole = None

    def _note(self, text: str, passage: Passage) -> None:
        if not worth_noting(text):
            return
        if len(self._known) >= MOST:
            self._complete = False
            return
        told = passage.source is not Source.TOOL
        self._known[Secret(text, INSTRUCTIONS if told else f"{TOOL}{passage.tool}")] = None

    @property
    def secrets(self) -> Secrets:
        """What was noted so far; the same object until more is."""
        if self._whole is None:
            known = tuple(secret for secret in self._known if not self._is_users(secret))
            self._whole = Secrets(known, self._complete)
        return self._whole

    def _is_users(self, secret: Secret) -> bool:
        """Return whether a tool gave back what the end user had said."""
        return secret.origin.startswith(TOOL) and any(secret.text in said for said in self._users)


def _told(verdict: Verdict) -> bool:
    """Return whether it is known what was found: nothing likely, or where it stands."""
    return verdict.score is not None and (verdict.score < LIKELY or bool(verdict.spans))


def _places(verdicts: Iterable[Verdict]) -> list[tuple[int, int]]:
    likely = (verdict for verdict in verdicts if (verdict.score or 0.0) >= LIKELY)
    return sorted((max(span.start, 0), span.end) for each in likely for span in each.spans)


def read_canaries(file: str) -> tuple[Secret, ...]:
    """Return what an operator set out: one a line; empty lines and `#` comments are skipped.

    Args:
        file: Where; empty means that there are none.

    Raises:
        CanaryError: If the file cannot be read, or a line is too short or too uniform to be
            known again.
    """
    if not file:
        return ()
    path = Path(file)
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise CanaryError(f"{path}: this is no file of canaries") from error
    return tuple(dict.fromkeys(_canaries(text.splitlines(), path)))


def _canaries(lines: Iterable[str], path: Path) -> Iterator[Secret]:
    for number, line in enumerate(lines, 1):
        said = line.strip()
        if not said or said.startswith("#"):
            continue
        if not worth_noting(said, canary=True):
            message = f"a canary needs {SHORTEST_CANARY} letters and digits, 5 of them different"
            raise CanaryError(f"{path}:{number}: {message}")
        yield Secret(said, CANARY)
