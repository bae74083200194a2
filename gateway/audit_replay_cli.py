"""`ostiary audit replay`: does the log lead to what the tables hold?

Exit status: 0 it does and nothing is missing, 1 it does not, 2 a bundle cannot be used.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gateway.terminal import NO, Json, answered, read_settings, with_database

if TYPE_CHECKING:
    from gateway.audit.replay import Disagreement, Replayed
    from gateway.store.session import Database

app = typer.Typer()

_NAMES = {
    "strike": "strikes",
    "stop": "stops",
    "hold": "holds",
    "erasure": "erasures",
    "key": "keys",
}


@app.command("replay")
def replay_log(
    bundles: Annotated[
        list[Path] | None,
        typer.Argument(help="What `export` wrote, in log order; instead of the database."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Fold the log, compare it with the tables, and name what is missing in it.

    Folded are strikes, sanctions, stopped conversations, holds, erasures and keys. With
    bundles there are no tables; verify them first.
    """
    with answered(), _counter() as progress:
        found = _of_bundles(bundles, progress) if bundles else _of_database(progress)
    if as_json:
        typer.echo(json.dumps(found.document()))
    else:
        for line in _told(found):
            typer.echo(line)
    raise typer.Exit(0 if found.equal else NO)


def _of_bundles(bundles: list[Path], progress: Callable[[int], None]) -> Replayed:
    from gateway.audit.replay import replay_bundles

    return replay_bundles(bundles, progress)


def _of_database(progress: Callable[[int], None]) -> Replayed:
    from datetime import UTC, datetime

    from gateway.audit.replay import replay
    from gateway.user_commands import ladders_in_force

    settings = read_settings()

    async def ask(database: Database) -> Replayed:
        ladders = await ladders_in_force(settings, database)
        return await replay(database, ladders, datetime.now(UTC), progress)

    return with_database(settings, ask)


def _told(found: Replayed) -> Iterator[str]:
    """Yield a report as people read it."""
    held = ", ".join(f"{_NAMES[kind]} {count}" for kind, count in found.counts.items())
    yield f"{found.entries} entries lead to: {held}"
    if not found.whole:
        yield "they do not begin with the log's first, so what was before is not known"
    for each in found.disagreements:
        yield f"{each.kind} {'/'.join(each.about)}: {_against(each)}"
    for lack in found.missing:
        yield f"missing ({lack.kind}) {lack.about}: {lack.detail}"
    if found.open:
        yield f"{found.open} requests have not ended yet"
    if not found.compared:
        yield "there were no tables to compare with"
    elif not found.disagreements:
        yield "the tables say the same"


def _against(each: Disagreement) -> str:
    """Return what the log says and what the table says, where they differ."""
    if each.log is None or each.table is None:
        return f"log {_row(each.log)}; table {_row(each.table)}"
    names = [
        name
        for name, value in each.log.items()
        if each.table[name] != value and (value is not None or each.kind == "sanction")
    ]
    log, table = ({name: row[name] for name in names} for row in (each.log, each.table))
    return f"log {_row(log)}; table {_row(table)}"


def _row(row: dict[str, object] | None) -> str:
    if row is None:
        return "nothing"
    return ", ".join(f"{name} {value}" for name, value in row.items())


@contextmanager
def _counter() -> Iterator[Callable[[int], None]]:
    """Show on a terminal, on standard error, how many entries are folded."""
    from rich.console import Console
    from rich.progress import Progress, TextColumn

    console = Console(stderr=True)
    columns = (TextColumn("folding {task.completed} entries"),)
    with Progress(*columns, console=console, disable=not console.is_terminal) as bar:
        task = bar.add_task("", total=None)
        yield lambda done: bar.update(task, completed=done)
