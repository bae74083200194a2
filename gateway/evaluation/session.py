"""Puts an evaluation together: who is asked, about what, and where the report goes."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from classifiers.panel import Panel
from classifiers.registry import CLASSIFIERS, UnknownClassifier, build
from classifiers.training.example import HEADS
from gateway.evaluation.journal import Journal
from gateway.evaluation.labelled import Columns, labelled_set
from gateway.evaluation.public import LAYOUTS, public_set
from gateway.evaluation.report import Run, figures, html, markdown, texts_of
from gateway.evaluation.run import Evaluated, Terms, evaluate_set
from gateway.evaluation.subjects import GatewaySubject, PanelSubject, PolicySubject, Subject
from gateway.evaluation.summary import POOLED, Summary, Wanted, summarise
from gateway.evaluation.types import EvaluationError, LabelledSet, MissingExtra
from policies.load import load_policy

KNOWN = frozenset(
    {
        *HEADS,
        "secrets.credential",
        *(f"pii.{kind}" for kind in ("email", "phone", "card", "iban", "ssn", "ip")),
    }
)
DEADLINE_MS = 60_000


@dataclass(frozen=True, slots=True)
class Who:
    """What is to be evaluated.

    Attributes:
        classifiers: Registered names, each by itself.
        panel: Registered names, asked together as one.
        policy: A policy file or built-in name, over `installed`.
        installed: The classifiers of this installation.
        gateway: A live gateway's base URL.
        model: Ask the gateway through this model rather than for moderation.
        api_key: The gateway's key.
        deadline_ms: How long a classifier may take, milliseconds.
    """

    classifiers: tuple[str, ...] = ()
    panel: tuple[str, ...] = ()
    policy: str | None = None
    installed: tuple[str, ...] = ()
    gateway: str | None = None
    model: str | None = None
    api_key: str = ""
    deadline_ms: int = DEADLINE_MS


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a run found, and what it wrote.

    Attributes:
        summary: All figures.
        evaluated: The sets and the answers.
        files: What was written.
        warning: Why something was not.
    """

    summary: Summary
    evaluated: tuple[Evaluated, ...]
    files: tuple[Path, ...] = ()
    warning: str | None = None


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be done.

    Attributes:
        sets: What is asked about.
        out: The folder of the journal and the report.
        terms: How to ask.
        wanted: What to work out.
        title: The report's heading.
        show_texts: Whether the report may quote the worst mistakes.
    """

    sets: tuple[LabelledSet, ...]
    out: Path
    terms: Terms = field(default_factory=Terms)
    wanted: Wanted = field(default_factory=Wanted)
    title: str = "Evaluation"
    show_texts: bool = False


def sets_from(given: Sequence[str], columns: Columns) -> tuple[LabelledSet, ...]:
    """Return the sets that `NAME=PATH` arguments mean.

    A built-in name is read in its own layout, any other as `columns` says.

    Raises:
        EvaluationError: If an argument is not of this form, or two have one name.
    """
    found: dict[str, LabelledSet] = {}
    for each in given:
        name, equals, path = each.partition("=")
        if not equals or not name or not path:
            raise EvaluationError(f"`{each[:80]}` must be NAME=PATH")
        if name in found or name == POOLED:
            raise EvaluationError(f"a second set is named `{name[:80]}`")
        place = Path(path)
        if name in LAYOUTS:
            found[name] = public_set(name, place)
        else:
            found[name] = labelled_set(name, place, columns, KNOWN)
    if not found:
        raise EvaluationError("give at least one set: --set NAME=PATH")
    return tuple(found.values())


async def subjects_of(who: Who) -> list[Subject]:
    """Return what is evaluated; loading weights may take seconds.

    Raises:
        EvaluationError: If there is nothing, something twice, or an unknown name.
        PolicyError: If the policy cannot be used.
    """
    subjects: list[Subject] = []
    try:
        subjects.extend(PanelSubject(build([each]), who.deadline_ms) for each in who.classifiers)
        if who.panel:
            subjects.append(PanelSubject(build(who.panel), who.deadline_ms))
        if who.policy:
            policy = load_policy(who.policy)
            subjects.append(PolicySubject(policy, Panel(build(who.installed))))
    except (UnknownClassifier, ValueError) as error:
        raise EvaluationError(str(error)) from error
    if who.gateway:
        subjects.append(await _gateway(who))
    names = [subject.name for subject in subjects]
    if not names:
        known = ", ".join(f"`{name}`" for name in sorted(CLASSIFIERS))
        raise EvaluationError(f"give --classifier ({known}), --panel, --policy or --gateway")
    if len(set(names)) < len(names):
        raise EvaluationError("something is to be evaluated twice")
    return subjects


async def run(who: Who, plan: Plan) -> Outcome:
    """Ask, work out, write.

    Raises:
        EvaluationError: If the sets or the subjects cannot be used.
        PolicyError: If the policy cannot be used.
    """
    subjects = await subjects_of(who)
    try:
        with Journal(plan.out / "journal.jsonl") as journal:
            evaluated = [
                await evaluate_set(labelled, subjects, journal, plan.terms)
                for labelled in plan.sets
            ]
    finally:
        for subject in subjects:
            await subject.aclose()
    parts = {subject.name: subject.parts for subject in subjects}
    return await asyncio.to_thread(report, tuple(evaluated), parts, plan)


def report(
    evaluated: tuple[Evaluated, ...],
    parts: Mapping[str, tuple[tuple[str, str], ...]],
    plan: Plan,
) -> Outcome:
    """Work out the figures and write the report; without matplotlib, all but its page."""
    summary = summarise(evaluated, plan.wanted)
    if not summary.measured:
        raise EvaluationError("the sets label nothing that was scored; see --category")
    made = Run(
        title=plan.title,
        date=f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
        version=version("ostiary"),
        parts=parts,
        concurrency=plan.terms.concurrency,
        texts=texts_of(summary, plan.sets) if plan.show_texts else None,
    )
    document = {
        "title": made.title,
        "date": made.date,
        "version": made.version,
        "subjects": {name: dict(each) for name, each in parts.items()},
        "sets": {each.name: {"sha256": each.sha256, "rows": len(each.facts)} for each in evaluated},
        "figures": figures(summary),
    }
    files = [_written(plan.out / "report.md", markdown(summary, evaluated, made))]
    files.append(_written(plan.out / "figures.json", json.dumps(document, indent=1) + "\n"))
    try:
        files.append(_written(plan.out / "report.html", html(summary, evaluated, made)))
    except MissingExtra as error:
        return Outcome(summary, evaluated, tuple(files), f"no report.html: {error}")
    return Outcome(summary, evaluated, tuple(files))


def _written(path: Path, content: str) -> Path:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content, encoding="utf-8", errors="replace")
    except OSError as error:
        reason = (error.strerror or "").lower()
        raise EvaluationError(f"{path}: cannot write: {reason}") from error
    return path


async def _gateway(who: Who) -> Subject:
    """Return the live gateway, named by the policy it says it has in force."""
    import aiohttp

    url = (who.gateway or "").rstrip("/")
    root = url.removesuffix("/v1")
    try:
        timeout = aiohttp.ClientTimeout(total=10)
        async with (
            aiohttp.ClientSession(timeout=timeout) as session,
            session.get(f"{root}/readyz") as reply,
        ):
            said = await reply.json(content_type=None)
        digest = str(said["policy"]["digest"])
    except (aiohttp.ClientError, TimeoutError, ValueError, KeyError, TypeError) as error:
        raise EvaluationError(f"{root}: there is no gateway that answers /readyz") from error
    return GatewaySubject(
        f"{root}/v1",
        who.api_key,
        digest=digest,
        model=who.model,
        timeout_s=who.deadline_ms / 1000,
    )
