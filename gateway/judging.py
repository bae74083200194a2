"""Judges, as the gateway opens them; and its own model, asked as one.

The latter is a `TextModel` on a `Runner`. It shares the model, its queue and its faults with
the replies it judges, so a second model is the better judge; it is here for installations
that have only one. It tells no log-probabilities.
"""

from __future__ import annotations

from contextlib import aclosing
from pathlib import Path
from typing import TYPE_CHECKING

import structlog

from classifiers.judges.overseer import Overseer
from classifiers.judges.text_model import (
    MALFORMED,
    REJECTED,
    TIMEOUT,
    UNAVAILABLE,
    Answer,
    Question,
    TextModelError,
)
from classifiers.panel import Panel
from classifiers.probe import Probe
from model_runner.types import (
    Channel,
    Delta,
    Effort,
    Finish,
    FinishReason,
    MalformedOutput,
    Message,
    Prompt,
    PromptRejected,
    Role,
    Runner,
    RunnerError,
    RunnerTimeout,
    Sampling,
)
from policies.footing import footings
from policies.types import Policy

if TYPE_CHECKING:
    from classifiers.judges.configure import Judge

log = structlog.get_logger(__name__)

_MAX_CHARS = 64 * 1024  # of an answer; a model that rambles gives none


class RunnerModel:
    """A `TextModel` on a runner, which it does not close: the gateway owns it."""

    def __init__(self, runner: Runner):
        self._runner = runner

    @property
    def name(self) -> str:
        """The model's id and the kind of its runner."""
        return f"{self._runner.model} ({self._runner.kind})"

    async def generate(self, question: Question) -> Answer:
        """Answer greedily; see `TextModel.generate`."""
        if not question.messages:  # a rendered prompt is for another model
            raise TextModelError(REJECTED)
        try:
            return await self._collected(_prompt(self._runner.model, question))
        except RunnerError as error:
            raise TextModelError(_reason(error)) from error

    async def aclose(self) -> None:
        """Do nothing."""

    async def _collected(self, prompt: Prompt) -> Answer:
        text = ""
        finish: Finish | None = None
        async with aclosing(self._runner.generate(prompt)) as stream:
            async for item in stream:
                if isinstance(item, Finish):
                    finish = item
                else:
                    text += _final(item)
                if len(text) > _MAX_CHARS:
                    raise TextModelError(MALFORMED)
        if finish is None:  # it was cut off
            raise TextModelError(MALFORMED)
        return Answer(text, ended=finish.reason is FinishReason.STOP)


class NoModel:
    """Stands in for the gateway's own model where none is served, as in `policy test`."""

    name = "no model"

    async def generate(self, question: Question) -> Answer:
        """Give no answer."""
        raise TextModelError(UNAVAILABLE)

    async def aclose(self) -> None:
        """Do nothing."""


def _final(delta: Delta) -> str:
    return delta.text if delta.channel is Channel.FINAL and delta.tool is None else ""


def _prompt(model: str, question: Question) -> Prompt:
    return Prompt(
        model=model,
        messages=tuple(Message(Role(message.role), message.text) for message in question.messages),
        effort=Effort(question.effort or "low"),
        sampling=Sampling(temperature=0.0, max_tokens=question.max_tokens),
    )


def _reason(error: RunnerError) -> str:
    if isinstance(error, RunnerTimeout):
        return TIMEOUT
    if isinstance(error, PromptRejected):
        return REJECTED
    return MALFORMED if isinstance(error, MalformedOutput) else UNAVAILABLE


def open_judges(judges_file: str, runner: Runner | None) -> list[Judge]:
    """Build the judges that a file names; loads the models that run in process.

    Args:
        judges_file: The setting; empty means that there are none.
        runner: The gateway's own model, for judges that ask it; if it is None, they
            give no answer.

    Raises:
        ValueError: If anything in the file is wrong.
    """
    if not judges_file:
        return []
    from classifiers.judges.configure import load_judges  # only where there are judges

    return load_judges(Path(judges_file), RunnerModel(runner) if runner else NoModel())


def open_reviewer(panel: Panel, name: str) -> Overseer | None:
    """Return the judge that reviews exchanges which have ended, or None if none is named.

    Raises:
        ValueError: If there is no such judge, or it does not read trajectories.
    """
    if not name:
        return None
    judges = {each.partition("@")[0]: judge for each, judge in panel.judges.items()}
    judge = judges.get(name)
    if judge is None:
        raise ValueError(f"no judge is called `{name[:80]}`, which `oversight_judge` names")
    if isinstance(judge, Overseer):
        return judge
    raise ValueError(f"the judge `{name}` is not of kind `overseer`: it reads no trajectories")


def open_probes(probes_file: str) -> list[Probe]:
    """Return the classifier that speaks for the model's own probes, if there are any.

    Args:
        probes_file: The setting; empty means that there are none.

    Raises:
        ValueError: If the file cannot be used.
    """
    if not probes_file:
        return []
    from model_runner.probes.file import read_probes  # only where there are probes

    probes = read_probes(Path(probes_file))
    return [Probe(probes.digest, probes.categories)]


def warn_of_missing(policy: Policy, panel: Panel) -> None:
    """Say which rules rely on somebody who is not there; what they doubt is not answered."""
    for footing in footings(policy, panel.covered, panel.on_request, frozenset()):
        if footing.degraded:
            log.warning(
                "classifier_not_found", rule=footing.rule, classifiers=list(footing.missing)
            )
