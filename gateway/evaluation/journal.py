"""What was already answered, kept on disk so that a run that was cut off can go on.

One JSON line per answer, keyed by who was asked and what about, so a changed classifier
is asked anew and a finished run asks nobody. Texts are not in it. A last line that was
cut off is dropped. Answers are in a journal once `note` has returned and the operating
system lives on; what a crash of the machine takes is asked again.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
from pathlib import Path
from types import TracebackType
from typing import BinaryIO

from gateway.evaluation.types import Answer, EvaluationError, Row


def key_of(subject_digest: str, row: Row) -> str:
    """Return what names a question: SHA-256 over who is asked, what kind and the texts."""
    parts = (subject_digest, row.source.value, row.prompt, row.text)
    encoded = [part.encode("utf-8", "surrogatepass") for part in parts]
    lengths = ":".join(str(len(part)) for part in encoded).encode()
    return hashlib.sha256(b"\0".join([lengths, *encoded])).hexdigest()


class Journal:
    """The answers of one output folder. Open it with `with`; one process at a time."""

    def __init__(self, path: Path):
        self._path = path
        self._answers: dict[str, Answer] = {}
        self._file: BinaryIO | None = None

    def __enter__(self) -> Journal:
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._file = self._path.open("a+b")
        except OSError as error:
            reason = (error.strerror or "").lower()
            raise EvaluationError(f"{self._path}: cannot write: {reason}") from error
        try:
            self._lock(self._file)
            self._load(self._file)
        except EvaluationError:
            self._file.close()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None

    def __len__(self) -> int:
        return len(self._answers)

    def get(self, key: str) -> Answer | None:
        """Return the answer to a question, if it was given."""
        return self._answers.get(key)

    def note(self, key: str, answer: Answer) -> None:
        """Keep an answer; a later one to the same question stands for it."""
        if self._file is None:
            raise ValueError("the journal is not open")
        self._answers[key] = answer
        record = {
            "key": key,
            "scores": dict(answer.scores),
            "ms": round(answer.duration_ms, 3),
            **({"errors": list(answer.errors)} if answer.errors else {}),
        }
        self._file.write(json.dumps(record, separators=(",", ":")).encode() + b"\n")
        self._file.flush()

    def _lock(self, file: BinaryIO) -> None:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)  # until it is closed, or we die
        except OSError:
            message = f"{self._path}: another run is writing it; give this one another --out"
            raise EvaluationError(message) from None

    def _load(self, file: BinaryIO) -> None:
        file.seek(0)
        whole = 0
        for number, line in enumerate(file, 1):
            if not line.endswith(b"\n"):
                break
            try:
                record = json.loads(line)
                answer = Answer(record["scores"], record["ms"], tuple(record.get("errors", ())))
                self._answers[record["key"]] = answer
            except (ValueError, KeyError, TypeError):
                message = f"{self._path}:{number}: not a line of a journal; move the file away"
                raise EvaluationError(message) from None
            whole += len(line)
        file.truncate(whole)  # half a line would spoil the next one
