"""Who is evaluated, by name: classifiers, judges, policies, live gateways."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from difflib import get_close_matches
from typing import TYPE_CHECKING

from classifiers.panel import Panel
from classifiers.registry import CLASSIFIERS, UnknownClassifier, build
from classifiers.types import Classifier
from gateway.evaluation.live import find_gateway
from gateway.evaluation.subjects import PanelSubject, PolicySubject, Subject
from gateway.evaluation.types import EvaluationError
from gateway.judging import open_judges
from policies.cascade import base
from policies.load import load_policy

if TYPE_CHECKING:
    from classifiers.judges.configure import Judge

DEADLINE_MS = 60_000


@dataclass(frozen=True, slots=True)
class Who:
    """What is to be evaluated.

    Attributes:
        classifiers: Names of classifiers and judges, each by itself.
        panel: Likewise, asked together as one.
        policy: A policy file or built-in name, over `installed` and all judges.
        installed: The classifiers of this installation.
        judges_file: Where its judges stand; empty means that there are none.
        gateway: A live gateway's base URL.
        model: Ask the gateway through this model rather than for moderation.
        api_key: The gateway's key.
        deadline_ms: How long a classifier may take, milliseconds.
    """

    classifiers: tuple[str, ...] = ()
    panel: tuple[str, ...] = ()
    policy: str | None = None
    installed: tuple[str, ...] = ()
    judges_file: str = ""
    gateway: str | None = None
    model: str | None = None
    api_key: str = ""
    deadline_ms: int = DEADLINE_MS


class _Bench:
    """The classifiers and judges of an installation, built once and when they are named.

    A judge that asks the gateway's own model has none to ask here, and gives no answer.
    """

    def __init__(self, judges_file: str, stack: AsyncExitStack):
        self._judges_file, self._stack = judges_file, stack
        self._built: dict[str, Classifier] = {}
        self._judges: list[Judge] | None = None

    def named(self, names: Iterable[str]) -> list[Classifier]:
        """Return classifiers and judges by name.

        Raises:
            UnknownClassifier: If there is none of a name.
            ValueError: If weights or the judges file cannot be used.
        """
        return [self._named(name) for name in names]

    def judges(self) -> list[Judge]:
        """Return all judges."""
        if self._judges is None:
            self._judges = open_judges(self._judges_file, None)
            for judge in self._judges:
                self._stack.push_async_callback(judge.aclose)
        return self._judges

    def _named(self, name: str) -> Classifier:
        if name not in self._built:
            self._built[name] = build([name])[0] if name in CLASSIFIERS else self._judge(name)
        return self._built[name]

    def _judge(self, name: str) -> Classifier:
        judges = {base(judge.name): judge for judge in self.judges()}
        if name in judges:
            return judges[name]
        known = sorted({*CLASSIFIERS, *judges})
        near = get_close_matches(name, known, n=1)
        listed = ", ".join(f"`{each}`" for each in known)
        hint = f"did you mean `{near[0]}`?" if near else f"known are {listed}"
        raise UnknownClassifier(f"unknown classifier `{name[:80]}`; {hint}")


async def subjects_of(who: Who, stack: AsyncExitStack) -> list[Subject]:
    """Return what is evaluated; loading weights may take seconds.

    Args:
        who: What is to be evaluated.
        stack: Closes connections and models in the end.

    Raises:
        EvaluationError: If there is nothing, something twice, or an unknown name.
        PolicyError: If the policy cannot be used.
    """
    bench = _Bench(who.judges_file, stack)
    subjects: list[Subject] = []
    try:
        subjects += [PanelSubject(bench.named([name]), who.deadline_ms) for name in who.classifiers]
        if who.panel:
            subjects.append(PanelSubject(bench.named(who.panel), who.deadline_ms))
        if who.policy:
            panel = Panel(bench.named(who.installed), bench.judges())
            subjects.append(PolicySubject(load_policy(who.policy), panel))
    except (UnknownClassifier, ValueError) as error:  # PolicyError is no ValueError
        raise EvaluationError(str(error)) from error
    if who.gateway:
        timeout_s = who.deadline_ms / 1000
        subjects.append(
            await find_gateway(who.gateway, who.api_key, model=who.model, timeout_s=timeout_s)
        )
    for subject in subjects:
        stack.push_async_callback(subject.aclose)
    names = [subject.name for subject in subjects]
    if not names:
        known = ", ".join(f"`{name}`" for name in sorted(CLASSIFIERS))
        raise EvaluationError(f"give --classifier ({known}), --panel, --policy or --gateway")
    if len(set(names)) < len(names):
        raise EvaluationError("something is to be evaluated twice")
    return subjects


def policy_panel(who: Who, stack: AsyncExitStack) -> Panel:
    """Return the panel of this installation, for the tests of a policy.

    Raises:
        EvaluationError: If a classifier or the judges file cannot be used.
    """
    bench = _Bench(who.judges_file, stack)
    try:
        return Panel(bench.named(who.installed), bench.judges())
    except ValueError as error:
        raise EvaluationError(str(error)) from error
