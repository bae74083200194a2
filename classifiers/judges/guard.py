"""A generative guard: Llama Guard, ShieldGemma, WildGuard, Granite Guardian, Qwen3Guard.

The guard's file says how to ask and how to read the answer; here it is asked, and what it
says becomes verdicts. What the file does not foresee is no answer: a code that it does not
know, or "unsafe" without saying of what kind, is never taken for harmless.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from classifiers.judges.asking import Turns
from classifiers.judges.content import Windows, conversation, plain, windows
from classifiers.judges.guard_file import Guard, GuardQuestion
from classifiers.judges.label_score import label_score
from classifiers.judges.text_model import (
    MALFORMED,
    TOO_LONG,
    Answer,
    Message,
    Question,
    TextModel,
    TextModelError,
)
from classifiers.types import Passage, Verdict

_TOP_LOGPROBS = 10
_OVERLAP = 500  # code points that two windows share


@dataclass(frozen=True, slots=True)
class GuardOptions:
    """How a guard is asked.

    Attributes:
        own_template: Send the conversation and let the engine render it by the model's
            own chat template, instead of ours.
        logprobs: Whether to ask how sure the model is.
        window_chars: What is read at once, code points.
        most_windows: What does not fit into so many windows is not read, and said so.
    """

    own_template: bool = False
    logprobs: bool = True
    window_chars: int = 12_000
    most_windows: int = 8


@dataclass(frozen=True, slots=True)
class _Case:
    """One question: a window of a passage, and the principle if it is asked about one."""

    passage: int
    user: str
    reply: str | None
    question: GuardQuestion | None


# What one answer says: by category a score, or None where it should have said one.
_Reading = dict[str, float | None]


class GuardJudge:
    """A classifier that asks a guard model.

    Args:
        name: Unique within a panel, without version.
        model: Who is asked.
        guard: How.
        options: The rest of how.
        turns: How many questions are out at once.

    Attributes:
        name: With the version of the guard's file.
        digest: SHA-256 over the file, the options and the model's name, hex. It does not
            cover weights behind a server.
        categories: As the file says.

    Raises:
        ValueError: If the engine is to use the model's own template and it needs ours.
    """

    def __init__(
        self,
        name: str,
        model: TextModel,
        guard: Guard,
        options: GuardOptions | None = None,
        turns: Turns | None = None,
    ):
        self._options = options or GuardOptions()
        if self._options.own_template and not guard.file.own_template:
            raise ValueError(f"`{guard.file.name}` cannot be asked by its own template")
        self.name = f"{name}@{guard.file.version}"
        self.categories = guard.categories
        told = "\0".join([model.name, repr(self._options), guard.digest])
        self.digest = hashlib.sha256(told.encode()).hexdigest()
        self._model = model
        self._guard = guard
        self._turns = turns or Turns()

    async def classify(self, passages: Sequence[Passage]) -> list[list[Verdict]]:
        """Judge each passage; `Classifier.classify` has the contract."""
        return await self.classify_for(passages, [self.categories] * len(passages))

    async def classify_for(
        self, passages: Sequence[Passage], wanted: Sequence[frozenset[str]]
    ) -> list[list[Verdict]]:
        """Judge each passage, asking only what the wanted categories need."""
        cut = [self._windows(passage) for passage in passages]
        cases = [
            case
            for index, passage in enumerate(passages)
            for case in self._cases(index, passage, cut[index], wanted[index])
        ]
        told = await self._turns.each(self._ask, cases)
        readings: list[list[tuple[_Case, _Reading | str]]] = [[] for _ in passages]
        for case, reading in zip(cases, told, strict=True):
            readings[case.passage].append((case, reading))
        return [
            self._verdicts(readings[index], wanted[index], complete=cut[index].complete)
            for index in range(len(passages))
        ]

    async def aclose(self) -> None:
        """Close the model."""
        await self._model.aclose()

    def _windows(self, passage: Passage) -> Windows:
        user, reply = conversation(passage)
        options = self._options
        text = user if reply is None else reply
        return windows(text, options.window_chars, _OVERLAP, options.most_windows)

    def _cases(
        self, index: int, passage: Passage, cut: Windows, wanted: frozenset[str]
    ) -> Iterator[_Case]:
        user, reply = conversation(passage)
        marks = self._guard.file.marks
        user = plain(user, marks) if reply is not None else ""
        for text in cut.texts:
            safe = plain(text, marks)
            asked, replied = (safe, None) if reply is None else (user, safe)
            for question in self._questions(wanted):
                yield _Case(index, asked, replied, question)

    def _questions(self, wanted: frozenset[str]) -> list[GuardQuestion] | list[None]:
        file = self._guard.file
        if not file.question:
            return [None]
        if file.overall in wanted:
            return file.question
        return [each for each in file.question if not wanted.isdisjoint(each.categories)]

    async def _ask(self, case: _Case) -> _Reading:
        file, options = self._guard.file, self._options
        answer = await self._model.generate(
            Question(
                messages=_messages(case) if options.own_template else (),
                prompt="" if options.own_template else self._rendered(case),
                max_tokens=file.max_tokens,
                top_logprobs=_TOP_LOGPROBS if options.logprobs else 0,
            )
        )
        return self._read(answer, case)

    def _rendered(self, case: _Case) -> str:
        return self._guard.render(case.user, case.reply, case.question)

    def _read(self, answer: Answer, case: _Case) -> _Reading:
        """Return what an answer says. Raises `TextModelError` if it says nothing."""
        file = self._guard.file
        found = self._guard.read(answer.text, is_reply=case.reply is not None)
        # Cut off, `S1` could have become `S10`.
        if found is None or (file.must_end and not answer.ended):
            raise TextModelError(MALFORMED)
        score = label_score(answer, found.label, found.start, file.labels)
        said: _Reading = {file.overall: score} if file.overall else {}
        if case.question is not None:
            return said | dict.fromkeys(case.question.categories, score)
        if not file.codes or file.labels[found.label] == 0:
            return said
        return said | self._coded(found.codes, score)

    def _coded(self, codes: str | None, score: float) -> _Reading:
        """Return what an unsafe answer says by the codes that it gives."""
        file = self._guard.file
        named = [code.strip() for code in (codes or "").split(file.separator) if code.strip()]
        if not named:  # unsafe, but not of what kind
            return dict.fromkeys(self.categories - {file.overall})
        if not file.codes.keys() >= set(named):
            raise TextModelError(MALFORMED)
        categories = {category for code in named for category in file.codes[code]}
        if categories:
            return dict.fromkeys(categories, score)
        # Unsafe by the guard's taxonomy in a way that ours does not know, as in bad advice.
        return {file.overall: 0.0} if file.overall else {}

    def _verdicts(
        self,
        told: Sequence[tuple[_Case, _Reading | str]],
        wanted: frozenset[str],
        *,
        complete: bool,
    ) -> list[Verdict]:
        """Return the worst score per category, and a missing answer wherever one is missing."""
        scores: dict[str, float] = {}
        missing: dict[str, str] = {} if complete else dict.fromkeys(self.categories, TOO_LONG)
        for case, reading in told:
            if isinstance(reading, str):
                concerned = case.question.categories if case.question else self.categories
                missing |= dict.fromkeys((*concerned, *self._overall()), reading)
                continue
            for category, score in reading.items():
                if score is None:
                    missing[category] = MALFORMED
                else:
                    scores[category] = max(score, scores.get(category, 0.0))
        verdicts = [Verdict(self.name, each, score) for each, score in scores.items() if score > 0]
        verdicts += [Verdict(self.name, each, None, error=why) for each, why in missing.items()]
        return [verdict for verdict in verdicts if verdict.category in wanted]

    def _overall(self) -> tuple[str, ...]:
        overall = self._guard.file.overall
        return (overall,) if overall else ()


def _messages(case: _Case) -> tuple[Message, ...]:
    asked = Message("user", case.user)
    return (asked,) if case.reply is None else (asked, Message("assistant", case.reply))
