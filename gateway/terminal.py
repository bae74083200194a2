"""What all commands share: settings, the database, and how they speak and end.

Results go to standard output, talk to standard error; the exit status is the answer.
"""

from __future__ import annotations

import asyncio
import json
import os
import tomllib
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any, NoReturn, TypeVar

import typer

if TYPE_CHECKING:
    from rich.text import Text

    from gateway.settings import Settings
    from gateway.store.session import Database

NO, WRONG_USAGE = 1, 2
WIDTH = 200  # of a table that is written into a file

_CONTROLS = {*range(0x20), *range(0x7F, 0xA0)} - {ord("\n"), ord("\t")}
_BIDI = {0x061C, 0x200E, 0x200F, *range(0x202A, 0x202F), *range(0x2066, 0x206A)}
_ESCAPED = {
    code: f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" for code in _CONTROLS | _BIDI
}

Answer = TypeVar("Answer")
Moment = Annotated[str | None, typer.Option(help="ISO 8601, with a time zone; a day is UTC.")]
Progress = Callable[[int, int], None]
Json = Annotated[bool, typer.Option("--json", help="Machine-readable output.")]


def read_settings() -> Settings:
    """Return the settings; ends with status 2 and a line for each that is wrong."""
    from pydantic import ValidationError
    from pydantic_settings import SettingsError

    from gateway.settings import Settings

    try:
        return Settings()
    except ValidationError as invalid:
        for error in invalid.errors(include_url=False, include_input=False):
            name = "_".join(["OSTIARY", *(str(step).upper() for step in error["loc"])])
            say(f"{name}: {error['msg'].lower()}")
        raise typer.Exit(WRONG_USAGE) from None
    except SettingsError as unreadable:  # a list that is not JSON
        fail(str(unreadable), WRONG_USAGE)
    except tomllib.TOMLDecodeError as unreadable:
        fail(f"{os.environ.get('OSTIARY_CONFIG', 'ostiary.toml')}: {unreadable}", WRONG_USAGE)


def with_database(settings: Settings, ask: Callable[[Database], Awaitable[Answer]]) -> Answer:
    """Return what `ask` makes of the migrated database."""
    from gateway.store.session import Database

    async def run() -> Answer:
        database = Database(settings.resolved_database_url)
        try:
            await database.migrate()
            return await ask(database)
        finally:
            await database.aclose()

    return asyncio.run(run())


def of_policy(work: Coroutine[Any, Any, Answer]) -> Answer:
    """Return what `work` on a policy does; ends with its mistakes if it cannot be used."""
    from policies.load import PolicyError

    try:
        return asyncio.run(work)
    except PolicyError as error:
        fail("\n".join(error.lines()), NO)
    except ValueError as error:  # a setting: an unknown classifier, a judges file
        fail(str(error), WRONG_USAGE)


@contextmanager
def answered() -> Iterator[None]:
    """End with what went wrong: 1 where the answer is no, 2 where a file is missing."""
    from gateway.errors import GatewayError
    from gateway.notes import NoteError
    from policies.load import PolicyError

    try:
        yield
    except PolicyError as error:
        fail("\n".join(error.lines()), NO)
    except (NoteError, GatewayError) as error:
        fail(str(error), NO)
    except ValueError as error:
        fail(str(error), WRONG_USAGE)
    except OSError as error:
        fail(f"{error.filename}: {(error.strerror or 'it cannot be used').lower()}", WRONG_USAGE)


def rows(found: list[dict[str, Any]], *, as_json: bool) -> None:
    """Print a table, or a JSON object per line."""
    if as_json:
        for row in found:
            typer.echo(json.dumps(row))
        return
    from rich.console import Console
    from rich.table import Table

    if not found:
        say("nothing found")
        return
    table = Table(box=None, pad_edge=False)
    for name in found[0]:
        title = name.replace("_", " ")
        table.add_column(title, overflow="fold", min_width=max(map(len, title.split())))
    for row in found:
        table.add_row(*(_cell(value) for value in row.values()))
    console = Console()
    if not console.is_terminal:
        console = Console(width=WIDTH)  # a file has no edge to fold at
    console.print(table)


def shown(text: str) -> str:
    r"""Return text that is not ours so that it can be printed.

    A model or whoever leads it must not move the cursor, erase, colour or reorder what somebody
    reads in order to decide: controls other than newline and tab stand as `\x1b`, `\u202e`.
    """
    return text.translate(_ESCAPED)


def indented(line: str, by: int = 4) -> None:
    """Print a line further in, controls escaped; on a terminal, what it is folded into is too."""
    from rich.console import Console
    from rich.text import Text

    line = shown(line)
    console = Console(highlight=False)
    width = max(console.width - by, 1) if console.is_terminal else len(line)
    for part in Text(line).wrap(console, max(width, 1)):
        typer.echo(" " * by + part.plain.rstrip())


def entry_line(entry: Mapping[str, Any]) -> str:
    """Return an entry of the decision log as one line."""
    decision, outcome = entry.get("decision") or {}, entry.get("outcome") or {}
    request = (entry.get("request") or {}).get("id", "")
    said = " ".join(
        str(part)
        for part in (
            decision.get("stage"),
            decision.get("action"),
            ",".join(entry.get("determining_rules") or []),
            outcome.get("reason"),
        )
        if part
    )
    when = str(entry["recorded_at"])[:23]
    line = f"{entry['seq']:>8}  {when}  {entry['type']:<28} {request:<36}  {said}".rstrip()
    return shown(line)


@contextmanager
def progress_bar(what: str) -> Iterator[Progress]:
    """Show a progress bar on a terminal, on standard error; say nothing elsewhere."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    console = Console(stderr=True)
    columns = (what, BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Bar(*columns, console=console, disable=not console.is_terminal) as bar:
        task = bar.add_task(what)
        yield lambda done, total: bar.update(task, completed=done, total=total)


def moment_text(text: str | None) -> str | None:
    """Return a moment that somebody typed as the log writes it; ends if it is none."""
    if text is None:
        return None
    from datetime import UTC, datetime

    from gateway.store.times import as_text

    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        fail(f"`{text}` is no moment in ISO 8601, as in `2026-07-01` or `2026-07-01T12:00Z`", 2)
    return as_text(moment if moment.tzinfo else moment.replace(tzinfo=UTC))


def say(message: str) -> None:
    """Print a line on standard error."""
    typer.echo(message, err=True)


def fail(message: str, status: int) -> NoReturn:
    """Print a line on standard error, and end."""
    say(message)
    raise SystemExit(status)


def _cell(value: object) -> Text:
    from rich.text import Text

    if isinstance(value, list):
        value = ", ".join(str(each) for each in value)
    # What is in it is not ours: brackets and colons in it are no markup.
    return Text("-" if value is None else shown(str(value)))
