"""Any sequence classifier of Hugging Face, in this process: Prompt Guard 2 and its like.

A label map says which of the model's labels count in which of our categories, and a label
that it does not know keeps the model from being loaded. A long text is read in overlapping
windows of tokens; the worst window counts, and what was not read is said.

Importing this loads torch only when a model is loaded.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import AfterValidator, Field, model_validator

from classifiers.judges.categories import check_category, near
from classifiers.judges.content import tail
from classifiers.judges.tables import Table, checked, read_toml
from classifiers.judges.text_model import FAILED, OVERLOADED, TOO_LONG
from classifiers.judges.worker import Abandoned, Worker
from classifiers.types import Passage, Verdict

if TYPE_CHECKING:
    import torch

_Window = tuple[int, list[int]]  # a passage's index, and token ids with special tokens

FOLDER = Path(__file__).with_name("sequences")

_BATCH = 16  # windows in one forward pass
_MOST_CHARS = 256 * 1024  # of one passage that are given to the tokenizer
_CONTEXT = 1000  # code points of the text before a passage that are read with it


class SequenceFile(Table):
    """What a label map says."""

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9.-]{0,63}$")]
    version: Annotated[int, Field(ge=1)]
    source: Annotated[str, Field(min_length=1, max_length=2000)]
    activation: Literal["softmax", "sigmoid"]
    max_tokens: Annotated[int, Field(ge=8, le=131072)]
    overlap_tokens: Annotated[int, Field(ge=0)] = 64
    most_windows: Annotated[int, Field(ge=1, le=4096)] = 64
    labels: Annotated[
        dict[str, list[Annotated[str, AfterValidator(check_category)]]], Field(min_length=1)
    ]

    @model_validator(mode="after")
    def _check(self) -> SequenceFile:
        if self.overlap_tokens * 2 > self.max_tokens:
            raise ValueError("`overlap_tokens` must be at most half of `max_tokens`")
        if not any(self.labels.values()):
            raise ValueError("no label counts in any category")
        return self


@dataclass(frozen=True, slots=True)
class LabelMap:
    """A label map and the SHA-256 of its bytes, hex."""

    file: SequenceFile
    digest: str


class SequenceJudge:
    """A classifier on a sequence classification model.

    Args:
        name: Unique within a panel, without version.
        model: The model, in evaluation mode, on its device.
        tokenizer: Its fast tokenizer.
        labels: What its labels mean.
        most_waiting: Calls that wait for the model; one more is refused.

    Attributes:
        name: With the version of the label map.
        digest: SHA-256 over the label map and the weights, hex.
        categories: As the label map says.

    Raises:
        ValueError: If the model has a label that the map does not know, or no fast
            tokenizer.
    """

    def __init__(
        self,
        name: str,
        model: Any,  # noqa: ANN401 - transformers ships no types
        tokenizer: Any,  # noqa: ANN401 - transformers ships no types
        labels: LabelMap,
        most_waiting: int = 256,
    ):
        from classifiers.judges.in_process import digest_of_weights

        if not tokenizer.is_fast:
            raise ValueError("the model has no fast tokenizer, which windows need")
        file = labels.file
        self._columns = _columns(model.config.id2label, file)
        self.name = f"{name}@{file.version}"
        self.categories = frozenset(each for column in self._columns for each in column)
        told = f"{labels.digest} {digest_of_weights(model)}"
        self.digest = hashlib.sha256(told.encode()).hexdigest()
        self._model = model
        self._tokenizer = tokenizer
        self._file = file
        self._worker = Worker("sequence")
        self._most_waiting = most_waiting
        self._waiting = 0

    async def classify(self, passages: Sequence[Passage]) -> list[list[Verdict]]:
        """Judge each passage; `Classifier.classify` has the contract."""
        if self._waiting >= self._most_waiting:
            return [self._silent(OVERLOADED) for _ in passages]
        self._waiting += 1
        try:
            return await self._worker.run(lambda abandoned: self._judge(passages, abandoned))
        except (RuntimeError, ValueError, IndexError):  # what torch and tokenizers raise
            return [self._silent(FAILED) for _ in passages]
        finally:
            self._waiting -= 1

    async def aclose(self) -> None:
        """Stop working."""
        await self._worker.aclose()

    # What follows runs on the worker's thread.

    def _judge(self, passages: Sequence[Passage], abandoned: Event) -> list[list[Verdict]]:
        windows: list[_Window] = []
        complete = []
        for index, passage in enumerate(passages):
            cut, whole = self._windows(passage)
            windows += ((index, token_ids) for token_ids in cut)
            complete.append(whole)
        best: list[dict[str, float]] = [{} for _ in passages]
        # Of like length together, so that little is padded.
        windows.sort(key=lambda window: len(window[1]))
        for start in range(0, len(windows), _BATCH):
            if abandoned.is_set():
                raise Abandoned
            batch = windows[start : start + _BATCH]
            for (index, _), row in zip(batch, self._scores(batch), strict=True):
                for category, score in self._by_category(row):
                    best[index][category] = max(score, best[index].get(category, 0.0))
        return [
            [Verdict(self.name, category, score) for category, score in scores.items()]
            + ([] if whole else self._silent(TOO_LONG))
            for scores, whole in zip(best, complete, strict=True)
        ]

    def _windows(self, passage: Passage) -> tuple[list[list[int]], bool]:
        """Return the windows of a passage as token ids, and whether they hold all of it.

        Of a text with too many, the windows at its beginning and at its end are read.
        """
        text = tail(passage.before, _CONTEXT) + passage.text
        read = text[:_MOST_CHARS].encode("utf-8", "replace").decode()
        cut: list[list[int]] = self._tokenizer(
            read,
            truncation=True,
            max_length=self._file.max_tokens,
            stride=self._file.overlap_tokens,
            return_overflowing_tokens=True,
        )["input_ids"]
        most = self._file.most_windows
        if len(cut) <= most:
            return cut, len(read) == len(text)
        return [*cut[: most - most // 2], *cut[len(cut) - most // 2 :]], False

    def _scores(self, batch: Sequence[_Window]) -> list[list[float]]:
        import torch

        longest = max(len(token_ids) for _, token_ids in batch)
        pad = self._tokenizer.pad_token_id or 0
        device = self._model.device
        rows = [ids + [pad] * (longest - len(ids)) for _, ids in batch]
        mask = [[1] * len(ids) + [0] * (longest - len(ids)) for _, ids in batch]
        with torch.inference_mode():
            logits: torch.Tensor = self._model(  # (batch, labels), before the activation
                input_ids=torch.tensor(rows, device=device),
                attention_mask=torch.tensor(mask, device=device),
            ).logits.float()
        softmax = self._file.activation == "softmax"
        scores: list[list[float]] = (logits.softmax(-1) if softmax else logits.sigmoid()).tolist()
        return scores

    def _by_category(self, row: Sequence[float]) -> Iterator[tuple[str, float]]:
        """Add up what counts in the same category, where labels exclude each other."""
        totals: dict[str, float] = {}
        for column, score in zip(self._columns, row, strict=True):
            for category in column:
                before = totals.get(category, 0.0)
                added = before + score if self._file.activation == "softmax" else max(before, score)
                totals[category] = min(1.0, added)
        yield from totals.items()

    def _silent(self, reason: str) -> list[Verdict]:
        return [Verdict(self.name, each, None, error=reason) for each in sorted(self.categories)]


def builtin_label_maps() -> list[str]:
    """Return the names of the label maps that come with Ostiary."""
    return sorted(path.stem for path in FOLDER.glob("*.toml"))


def read_label_map(name: str, beside: Path) -> LabelMap:
    """Read a label map.

    Args:
        name: One that comes with Ostiary, or a path that ends in `.toml`.
        beside: The folder that a relative path starts from.

    Raises:
        ValueError: If there is none, or it is wrong; names the file.
    """
    builtin = not name.endswith(".toml")
    if builtin and name not in builtin_label_maps():
        raise ValueError(f"unknown label map `{name[:80]}`{near(name, builtin_label_maps())}")
    path = FOLDER / f"{name}.toml" if builtin else beside / name
    content, table = read_toml(path)
    file = checked(SequenceFile, table, path.name)
    return LabelMap(file, hashlib.sha256(content).hexdigest())


def load_sequence(
    name: str, source: str, labels: LabelMap, most_waiting: int = 256
) -> SequenceJudge:
    """Load a model from a directory or by its hub id.

    Raises:
        ValueError: If it cannot be loaded, or has a label that the map does not know.
    """
    import torch
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    from classifiers.judges.in_process import first_line

    device = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        model = AutoModelForSequenceClassification.from_pretrained(source).eval().to(device)
        tokenizer = AutoTokenizer.from_pretrained(source)
    except (OSError, ValueError, RuntimeError, ImportError) as error:
        raise ValueError(f"cannot load a model from `{source}`: {first_line(error)}") from error
    return SequenceJudge(name, model, tokenizer, labels, most_waiting)


def _columns(names: dict[int, str], file: SequenceFile) -> list[list[str]]:
    """Return the categories of each column of the model's output."""
    columns = []
    for index in range(len(names)):
        label = names[index]
        if label not in file.labels:
            hint = near(label, file.labels)
            raise ValueError(f"the label map `{file.name}` lacks the label `{label}`{hint}")
        columns.append(file.labels[label])
    return columns
