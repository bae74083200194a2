"""`ostiary eval`: how well classifiers, a policy or a whole gateway do on labelled sets.

Exit status: 0 done, or the two agree, or the floor is kept; 1 not so, or it could not be
done; 2 wrong usage. Everything that takes time to import is imported when a command runs.
"""

from __future__ import annotations

import asyncio
import json
import tomllib
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn, TypeVar

import typer

if TYPE_CHECKING:
    from gateway.evaluation.labelled import Columns
    from gateway.evaluation.run import Progress
    from gateway.evaluation.session import Outcome, Who
    from gateway.evaluation.summary import Disagreement, Measured, Summary

NO, WRONG_USAGE = 1, 2
WIDTH = 200  # of a table that is written into a file
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
    float, typer.Option(min=0, max=1, help="The share of safe texts that may be flagged.")
]
Threshold = Annotated[float | None, typer.Option(min=0, max=1, help="Where both are compared.")]
Limit = Annotated[int | None, typer.Option(min=1, help="At most so many rows of each set.")]
Concurrency = Annotated[int, typer.Option(min=1, max=256, help="Texts under way at once.")]
Deadline = Annotated[int, typer.Option(min=1, help="Of a classifier, milliseconds.")]
Retry = Annotated[bool, typer.Option("--retry-missing", help="Ask again where nobody answered.")]
Quote = Annotated[bool, typer.Option("--show-texts", help="Quote the worst mistakes.")]
Floor = Annotated[
    float | None, typer.Option(min=0, max=1, help="Status 1 if less of the harm is caught.")
]
Write = Annotated[Path | None, typer.Option("--write-policy", help="Put the threshold in here.")]
Rule = Annotated[str | None, typer.Option(help="The rule it is for.")]
Action = Annotated[str | None, typer.Option(help="The action it is for; else the strictest.")]
Json = Annotated[bool, typer.Option("--json", help="Machine-readable output.")]

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
        _fail("--write-policy and --rule go together", WRONG_USAGE)
    from gateway.evaluation.session import Who

    installed = _installed() if policy else ()
    asked = (tuple(classifier or ()), tuple(panel or ()), policy, installed)
    who = Who(*asked, gateway, model, api_key, deadline_ms)
    columns = _columns(text_column, label_column, category)
    how = (limit, concurrency, retry_missing)
    outcome = _evaluated(who, (sets, columns), how, (false_positive_rate, None), (out, show_texts))
    _tell(outcome, as_json=as_json)
    if write_policy is not None and rule is not None:
        _write(outcome.summary, write_policy, rule, action)
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
    from gateway.evaluation.session import Who

    who = Who(classifiers=(first, second))
    columns = _columns(text_column, label_column, category)
    how, wanted = (limit, 1, False), (false_positive_rate, threshold)
    outcome = _evaluated(who, (sets, columns), how, wanted, (out, show_texts))
    rows = [_disagreement(each) for each in outcome.summary.disagreements]
    _rows(rows, as_json=as_json)
    _say(f"written: {', '.join(str(path) for path in outcome.files)}")
    if any(row["only_first"] or row["only_second"] for row in rows):
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
    _tell(outcome, as_json=as_json)


@app.command("sets")
def list_sets(as_json: Json = False) -> None:
    """List the built-in names of public sets, and the file that each is read from."""
    from gateway.evaluation.public import LAYOUTS

    rows = [
        {"name": name, "file": layout.file, "labels": layout.says}
        for name, layout in LAYOUTS.items()
    ]
    _rows(rows, as_json=as_json)


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
        _fail(str(error), WRONG_USAGE)
    with _bars() as progress:
        terms = Terms(concurrency, limit, retry_missing, progress)
        chosen = Wanted(*wanted, categories=frozenset(columns.categories))
        return _done(run(who, Plan(sets, where[0], terms, chosen, show_texts=where[1])))


async def _recorded(
    labels: Path, columns: Columns, wanted: tuple[float, tuple[str, ...]], out: Path
) -> Outcome:
    from gateway.audit.queries import show
    from gateway.evaluation.decisions import RECORDED, evaluate_decisions
    from gateway.evaluation.session import KNOWN, Plan, report
    from gateway.evaluation.summary import Wanted
    from gateway.settings import Settings
    from gateway.store.session import Database

    database = Database(Settings().resolved_database_url)
    try:
        await database.migrate()
        evaluated, parts = await evaluate_decisions(
            labels, columns, KNOWN, lambda decision: show(database, decision)
        )
    finally:
        await database.aclose()
    plan = Plan((), out, wanted=Wanted(wanted[0], categories=frozenset(wanted[1])))
    return await asyncio.to_thread(report, (evaluated,), {RECORDED: parts}, plan)


def _write(summary: Summary, path: Path, rule: str, action: str | None) -> None:
    """Put the proposed threshold into a policy file, if the file still passes its tests."""
    from classifiers.panel import Panel
    from classifiers.registry import build
    from gateway.evaluation.propose import category_of, change, checked, write
    from gateway.evaluation.types import EvaluationError
    from policies.testing import judge_of

    async def written() -> str:
        proposed = _proposal(summary, category_of(path, rule))
        if proposed.proposed is None:
            raise EvaluationError("no threshold keeps the wanted false-positive rate")
        changed = change(path, rule, proposed.proposed.threshold, action)
        await checked(changed, judge_of(Panel(build(_installed()))))
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
            _say(f"{each.subject}, {each.category}: caught {recall:.4f}, wanted {floor}")
    return kept


def _tell(outcome: Outcome, *, as_json: bool) -> None:
    from gateway.evaluation import report

    if as_json:
        for figure in report.figures(outcome.summary):
            typer.echo(json.dumps(figure))
    else:
        _rows([_line(each) for each in report.glance(outcome.summary)], as_json=False)
    for note in report.notes(outcome.summary):
        _say(note)
    if outcome.warning:
        _say(outcome.warning)
    _say(f"written: {', '.join(str(path) for path in outcome.files)}")


def _line(each: Measured) -> dict[str, Any]:
    from gateway.evaluation.report import number, share, threshold

    at = each.proposed
    return {
        "set": each.set,
        "evaluated": each.subject,
        "category": each.category,
        "caught": share(at.recall) if at else None,
        "flagged": share(at.false_positive_rate) if at else None,
        "threshold": threshold(at.threshold) if at else None,
        "AUPRC": number(each.auprc),
        "AUROC": number(each.auroc),
        "no answer": each.missing_positives + each.missing_negatives,
    }


def _disagreement(each: Disagreement) -> dict[str, Any]:
    def count(first: bool, second: bool) -> int:
        return sum(rows for (a, b, _), rows in each.cells.items() if (a, b) == (first, second))

    return {
        "set": each.set,
        "category": each.category,
        "both": count(True, True),
        "only_first": count(True, False),
        "only_second": count(False, True),
        "neither": count(False, False),
        "missing": each.missing,
        "kappa": None if each.kappa is None else round(each.kappa, 4),
        "thresholds": list(each.thresholds),
    }


def _columns(text: str, label: str, categories: Names) -> Columns:
    from gateway.evaluation.labelled import Columns

    return Columns(text=text, label=label, categories=tuple(categories or ()))


def _installed() -> tuple[str, ...]:
    """Return the names of this installation's classifiers."""
    from pydantic import ValidationError
    from pydantic_settings import SettingsError

    from gateway.settings import Settings

    try:
        return Settings().classifiers
    except (ValidationError, SettingsError, tomllib.TOMLDecodeError) as error:
        _fail(f"the settings cannot be used: {error}", WRONG_USAGE)


def _done(work: Coroutine[Any, Any, Answer]) -> Answer:
    """Run `work`; what it cannot do is told in one line."""
    from gateway.errors import GatewayError
    from gateway.evaluation.types import EvaluationError
    from policies.load import PolicyError

    try:
        return asyncio.run(work)
    except PolicyError as error:
        _fail("\n".join(error.lines()), NO)
    except (EvaluationError, GatewayError) as error:
        _fail(str(error), NO)
    except KeyboardInterrupt:
        _fail("stopped; the same command goes on where it was", NO)


@contextmanager
def _bars() -> Iterator[Progress]:
    """Yield what shows progress on standard error, one bar per set and subject."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bars

    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Bars(
        *columns, TimeRemainingColumn(), console=console, disable=not console.is_terminal
    ) as bars:
        tasks: dict[str, Any] = {}

        def progress(name: str, done: int, rows: int) -> None:
            if name not in tasks:
                tasks[name] = bars.add_task(name, total=rows)
            bars.update(tasks[name], completed=done)

        yield progress


def _rows(rows: list[dict[str, Any]], *, as_json: bool) -> None:
    if as_json:
        for row in rows:
            typer.echo(json.dumps(row))
        return
    from rich.console import Console
    from rich.table import Table

    if not rows:
        _say("nothing found")
        return
    table = Table(box=None, pad_edge=False)
    for name in rows[0]:
        table.add_column(name, overflow="fold")
    for row in rows:
        table.add_row(*(str(value) if value is not None else "-" for value in row.values()))
    console = Console()
    console.print(table, width=None if console.is_terminal else WIDTH)


def _say(message: str) -> None:
    typer.echo(message, err=True)


def _fail(message: str, status: int) -> NoReturn:
    _say(message)
    raise SystemExit(status)
