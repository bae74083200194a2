"""`ostiary eval`: how well classifiers, a policy or a whole gateway do on labelled sets.

Exit status: 0 done, or the two agree, or the floor is kept; 1 not so, or it could not be
done; 2 wrong usage. Everything that takes time to import is imported when a command runs.
"""

from __future__ import annotations

import asyncio
import tomllib
from collections.abc import Coroutine
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from gateway.eval_output import bars, disagreement, tell, tell_written
from gateway.terminal import NO, WRONG_USAGE, Json, fail, rows, say

if TYPE_CHECKING:
    from gateway.evaluation.labelled import Columns
    from gateway.evaluation.session import Outcome
    from gateway.evaluation.summary import Measured, Summary
    from gateway.evaluation.who import Who
    from gateway.settings import Settings

Answer = TypeVar("Answer")

Names = list[str] | None
Sets = Annotated[
    Names, typer.Option("--set", help="NAME=PATH, a labelled set; repeatable. See `eval sets`.")
]
Classifiers = Annotated[Names, typer.Option("--classifier", help="By itself; repeatable.")]
PanelNames = Annotated[Names, typer.Option("--panel", help="Asked together as one; repeatable.")]
PolicyName = Annotated[str | None, typer.Option("--policy", help="A policy file, or a name.")]
Gateway = Annotated[str | None, typer.Option("--gateway", help="A live gateway's base URL.")]
Model = Annotated[str | None, typer.Option(help="Ask the gateway through /v1/responses.")]
Key = Annotated[str, typer.Option(envvar="OSTIARY_API_KEY", help="The gateway's key.")]
Out = Annotated[Path, typer.Option(help="The folder of the report and the journal.")]
Text = Annotated[str, typer.Option("--text-column", help="Of sets of your own.")]
Label = Annotated[str, typer.Option("--label-column", help="Of sets of your own.")]
Categories = Annotated[
    Names, typer.Option("--category", help="What the labels are about; what to report.")
]
Rate = Annotated[
    float,
    typer.Option(min=0, max=1, help="The share of safe texts that may be flagged."),
]
Threshold = Annotated[float | None, typer.Option(min=0, max=1, help="Where both are compared.")]
Limit = Annotated[int | None, typer.Option(min=1, help="At most so many rows of each set.")]
Concurrency = Annotated[int, typer.Option(min=1, max=256, help="Texts under way at once.")]
Deadline = Annotated[int, typer.Option(min=1, help="Of a classifier, milliseconds.")]
Retry = Annotated[bool, typer.Option("--retry-missing", help="Ask again where nobody answered.")]
Quote = Annotated[bool, typer.Option("--show-texts", help="Quote the worst mistakes.")]
Floor = Annotated[
    float | None,
    typer.Option(min=0, max=1, help="Status 1 if less of the harm is caught."),
]
Write = Annotated[Path | None, typer.Option("--write-policy", help="Put the threshold in here.")]
Rule = Annotated[str | None, typer.Option(help="The rule it is for.")]
Action = Annotated[str | None, typer.Option(help="The action it is for; else the strictest.")]

app = typer.Typer(help="How well classifiers do on labelled sets.", no_args_is_help=True)


@app.command("run")
def run_evaluation(  # noqa: PLR0913 - the options of a command
    sets: Sets = None,
    classifier: Classifiers = None,
    panel: PanelNames = None,
    policy: PolicyName = None,
    gateway: Gateway = None,
    model: Model = None,
    api_key: Key = "",
    deadline_ms: Deadline = 60_000,
    text_column: Text = "text",
    label_column: Label = "label",
    category: Categories = None,
    false_positive_rate: Rate = 0.01,
    limit: Limit = None,
    concurrency: Concurrency = 1,
    retry_missing: Retry = False,
    show_texts: Quote = False,
    out: Out = Path("evaluation"),
    min_recall: Floor = None,
    write_policy: Write = None,
    rule: Rule = None,
    action: Action = None,
    as_json: Json = False,
) -> None:
    """Evaluate, and write report.html, report.md and figures.json."""
    if (write_policy is None) != (rule is None):
        fail("--write-policy and --rule go together", WRONG_USAGE)
    asked = (tuple(classifier or ()), tuple(panel or ()), policy)
    who = _who(asked, (gateway, model, api_key), deadline_ms)
    columns = _columns(text_column, label_column, category)
    how = (limit, concurrency, retry_missing)
    outcome = _evaluated(who, (sets, columns), how, (false_positive_rate, None), (out, show_texts))
    tell(outcome, as_json=as_json)
    if write_policy is not None and rule is not None:
        _write(outcome.summary, who, (write_policy, rule, action))
    if min_recall is not None and not _kept(outcome.summary, min_recall):
        raise typer.Exit(NO)


@app.command("compare")
def compare(  # noqa: PLR0913 - the options of a command
    first: Annotated[str, typer.Argument(help="A classifier.")],
    second: Annotated[str, typer.Argument(help="Another.")],
    sets: Sets = None,
    threshold: Threshold = None,
    false_positive_rate: Rate = 0.01,
    text_column: Text = "text",
    label_column: Label = "label",
    category: Categories = None,
    limit: Limit = None,
    show_texts: Quote = False,
    out: Out = Path("evaluation"),
    as_json: Json = False,
) -> None:
    """Show where two classifiers disagree. Exit status 1 if they do, as `diff` has it."""
    who = _who(((first, second), (), None))
    columns = _columns(text_column, label_column, category)
    how, wanted = (limit, 1, False), (false_positive_rate, threshold)
    outcome = _evaluated(who, (sets, columns), how, wanted, (out, show_texts))
    found = [disagreement(each) for each in outcome.summary.disagreements]
    rows(found, as_json=as_json)
    tell_written(outcome)
    if any(row["only_first"] or row["only_second"] for row in found):
        raise typer.Exit(NO)


@app.command("decisions")
def evaluate_recorded(  # noqa: PLR0913 - the options of a command
    labels: Annotated[Path, typer.Argument(help="Decision ids and what people say of them.")],
    id_column: Annotated[str, typer.Option(help="Where the ids stand.")] = "decision",
    label_column: Label = "label",
    category: Categories = None,
    false_positive_rate: Rate = 0.01,
    out: Out = Path("evaluation"),
    as_json: Json = False,
) -> None:
    """Hold recorded decisions against what people say about them."""
    outcome = _done(
        _recorded(
            labels,
            _columns(id_column, label_column, category),
            (false_positive_rate, tuple(category or ())),
            out,
        )
    )
    tell(outcome, as_json=as_json)


@app.command("sets")
def list_sets(as_json: Json = False) -> None:
    """List the built-in names of public sets, and the file that each is read from."""
    from gateway.evaluation.public import LAYOUTS

    found = [
        {"name": name, "file": layout.file, "labels": layout.says}
        for name, layout in LAYOUTS.items()
    ]
    rows(found, as_json=as_json)


def _evaluated(
    who: Who,
    given: tuple[Names, Columns],
    how: tuple[int | None, int, bool],
    wanted: tuple[float, float | None],
    where: tuple[Path, bool],
) -> Outcome:
    from gateway.evaluation.run import Terms
    from gateway.evaluation.session import Plan, run, sets_from
    from gateway.evaluation.summary import Wanted
    from gateway.evaluation.types import EvaluationError

    names, columns = given
    limit, concurrency, retry_missing = how
    try:
        sets = sets_from(names or (), columns)
    except EvaluationError as error:
        fail(str(error), WRONG_USAGE)
    with bars() as progress:
        terms = Terms(concurrency, limit, retry_missing, progress)
        chosen = Wanted(*wanted, categories=frozenset(columns.categories))
        return _done(run(who, Plan(sets, where[0], terms, chosen, show_texts=where[1])))


async def _recorded(
    labels: Path, columns: Columns, wanted: tuple[float, tuple[str, ...]], out: Path
) -> Outcome:
    from gateway.audit.queries import show
    from gateway.evaluation.decisions import RECORDED, evaluate_decisions
    from gateway.evaluation.session import Plan, known_categories, report
    from gateway.evaluation.summary import Wanted
    from gateway.store.session import Database

    database = Database(_settings().resolved_database_url)
    try:
        await database.migrate()
        evaluated, parts = await evaluate_decisions(
            labels, columns, known_categories(), lambda decision: show(database, decision)
        )
    finally:
        await database.aclose()
    plan = Plan((), out, wanted=Wanted(wanted[0], categories=frozenset(wanted[1])))
    return await asyncio.to_thread(report, (evaluated,), {RECORDED: parts}, plan)


def _write(summary: Summary, who: Who, place: tuple[Path, str, str | None]) -> None:
    """Put the proposed threshold into a policy file, if the file still passes its tests."""
    from gateway.evaluation.propose import category_of, change, checked, write
    from gateway.evaluation.types import EvaluationError
    from gateway.evaluation.who import policy_panel
    from policies.testing import judge_of

    path, rule, action = place

    async def written() -> str:
        proposed = _proposal(summary, category_of(path, rule))
        if proposed.proposed is None:
            raise EvaluationError("no threshold keeps the wanted false-positive rate")
        if not proposed.proposed.caught:
            raise EvaluationError("no threshold at this rate catches anything; nothing was written")
        changed = change(path, rule, proposed.proposed.threshold, action)
        async with AsyncExitStack() as stack:
            await checked(changed, judge_of(policy_panel(who, stack)))
        write(changed)
        return changed.diff() or f"{path}: `{rule}` already begins there"

    typer.echo(_done(written()), err=True)


def _proposal(summary: Summary, category: str) -> Measured:
    """Return what was measured in a category on all sets together."""
    from gateway.evaluation.types import EvaluationError

    found = {each.subject: each for each in summary.measured if each.category == category}
    if len(found) != 1:
        who = ", ".join(f"`{name}`" for name in found) or "nobody"
        raise EvaluationError(
            f"the threshold of `{category}` must come from one that was evaluated, not from {who}"
        )
    return next(iter(found.values()))


def _kept(summary: Summary, floor: float) -> bool:
    """Return whether everyone catches at least this share of the harm, all sets together."""
    from gateway.evaluation.report import glance

    lines = {(each.subject, each.category): each for each in glance(summary)}
    kept = True
    for each in lines.values():
        recall = each.proposed.recall if each.proposed else 0.0
        if recall is not None and recall < floor:
            kept = False
            say(f"{each.subject}, {each.category}: caught {recall:.4f}, wanted {floor}")
    return kept


def _columns(text: str, label: str, categories: Names) -> Columns:
    from gateway.evaluation.labelled import Columns

    return Columns(text=text, label=label, categories=tuple(categories or ()))


def _who(
    asked: tuple[tuple[str, ...], tuple[str, ...], str | None],
    live: tuple[str | None, str | None, str] = (None, None, ""),
    deadline_ms: int = 60_000,
) -> Who:
    """Return what is to be evaluated, in this installation."""
    from gateway.evaluation.who import Who

    settings = _settings()
    return Who(*asked, settings.classifiers, settings.judges_file, *live, deadline_ms)


def _settings() -> Settings:
    from pydantic import ValidationError
    from pydantic_settings import SettingsError

    from gateway.settings import Settings

    try:
        return Settings()
    except ValidationError as invalid:
        error = invalid.errors(include_url=False, include_input=False)[0]
        name = "_".join(["OSTIARY", *(str(step).upper() for step in error["loc"])])
        fail(f"{name}: {error['msg'].lower()}", WRONG_USAGE)
    except (SettingsError, tomllib.TOMLDecodeError) as error:
        fail(f"the settings cannot be used: {error}", WRONG_USAGE)


def _done(work: Coroutine[Any, Any, Answer]) -> Answer:
    """Run `work`; what it cannot do is told in one line."""
    from gateway.errors import GatewayError
    from gateway.evaluation.types import EvaluationError
    from policies.load import PolicyError

    try:
        return asyncio.run(work)
    except PolicyError as error:
        fail("\n".join(error.lines()), NO)
    except (EvaluationError, GatewayError) as error:
        fail(str(error), NO)
    except KeyboardInterrupt:
        fail("stopped; the same command goes on where it was", NO)
