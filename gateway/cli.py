"""Command line for operators, policy authors and auditors.

Exit status: 0 the answer is yes, 1 the answer is no, 2 wrong usage or wrong settings.
Results go to stdout, one JSON object per line with --json; messages go to stderr.
Starts without torch, and imports what a command needs when it runs.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import tomllib
from collections.abc import Awaitable, Callable, Coroutine
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Any, NoReturn, TypeVar

import typer

from gateway import eval_commands
from gateway.errors import GatewayError
from gateway.types import Scope

if TYPE_CHECKING:
    from gateway.identity import Identity
    from gateway.settings import Settings
    from gateway.store.session import Database

NO, WRONG_USAGE = 1, 2

Answer = TypeVar("Answer")
Json = Annotated[bool, typer.Option("--json", help="Machine-readable output.")]
PolicyFile = Annotated[str, typer.Argument(help="A policy file, or a built-in policy's name.")]

app = typer.Typer(
    name="ostiary",
    help="The doorkeeper for self-hosted gpt-oss models.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
keys = typer.Typer(help="API keys.", no_args_is_help=True)
policy = typer.Typer(help="Usage policy files.", no_args_is_help=True)
audit = typer.Typer(help="The decision log.", no_args_is_help=True)
app.add_typer(keys, name="keys")
app.add_typer(policy, name="policy")
app.add_typer(audit, name="audit")
app.add_typer(eval_commands.app, name="eval")


def main() -> None:
    """Run one command; the console script's entry point."""
    try:
        app()
    except GatewayError as error:
        _fail(str(error), NO)


@app.command()
def serve() -> None:
    """Run the gateway. Settings are OSTIARY_* variables and ostiary.toml."""
    settings = _settings()
    from gateway.serve import run

    raise typer.Exit(run(settings))


@keys.command("create")
def create_key(
    project: Annotated[str, typer.Option(help="Whose key it is.")] = "default",
    name: Annotated[str, typer.Option(help="What people call it.")] = "unnamed",
    scope: Annotated[list[Scope] | None, typer.Option(help="What it may do; repeatable.")] = None,
    expires_in_days: Annotated[int | None, typer.Option(min=1, help="Lifetime, days.")] = None,
    environment: Annotated[str, typer.Option(help="`live` or `test`.")] = "live",
    as_json: Json = False,
) -> None:
    """Make an API key and print it; it cannot be printed again."""
    from gateway.identity import NewKey

    lifetime = timedelta(days=expires_in_days) if expires_in_days else None
    new = NewKey(
        project=project,
        name=name,
        scopes=frozenset(scope or [Scope.CALLER]),
        expires_at=datetime.now(UTC) + lifetime if lifetime else None,
        environment=environment,
    )
    settings = _settings()
    key = _with_database(settings, lambda db: _identity(db, settings).create(new, actor="cli"))
    _print(json.dumps({"key": key, "project": project}) if as_json else key)


@keys.command("list")
def list_keys(
    project: Annotated[str | None, typer.Option(help="Only this project's.")] = None,
    as_json: Json = False,
) -> None:
    """List API keys, newest first, without their secrets."""
    from gateway.store.keys import listed

    found = _with_database(_settings(), lambda database: listed(database, project))
    rows = [
        {
            "id": key.prefix,
            "project": key.project,
            "name": key.name,
            "scopes": " ".join(sorted(key.scopes)),
            "created_at": f"{key.created_at:%Y-%m-%d %H:%M}",
            "expires_at": f"{key.expires_at:%Y-%m-%d %H:%M}" if key.expires_at else None,
            "revoked_at": f"{key.revoked_at:%Y-%m-%d %H:%M}" if key.revoked_at else None,
        }
        for key in found
    ]
    _rows(rows, as_json=as_json)


@keys.command("revoke")
def revoke_key(
    prefix: Annotated[str, typer.Argument(help="The key's id: its third part.")],
) -> None:
    """Revoke an API key; in force everywhere within a second."""
    settings = _settings()
    revoked = _with_database(
        settings, lambda db: _identity(db, settings).revoke(prefix, actor="cli")
    )
    if not revoked:
        _fail(f"there is no key `{prefix}` in force", NO)
    _print(f"revoked {prefix}")


@policy.command("lint")
def lint_policy(file: PolicyFile, as_json: Json = False) -> None:
    """Look for mistakes. Exit status 1 if the policy cannot be used."""
    from gateway.policy_commands import lint

    findings, usable = lint(file)
    for finding in findings:
        _print(json.dumps(finding) if as_json else f"{finding['where']}: {finding['message']}")
    if not usable:
        raise typer.Exit(NO)
    if not findings and not as_json:
        _print(f"{file}: no findings")


@policy.command("test")
def run_policy_tests(file: PolicyFile, as_json: Json = False) -> None:
    """Run the tests in the file, text ones with the real classifiers."""
    from gateway.policy_commands import run_tests

    outcomes = _of_policy(run_tests(file))
    failed = 0
    for outcome in outcomes:
        failed += not outcome["passed"]
        if as_json:
            _print(json.dumps(outcome))
        elif not outcome["passed"]:
            _print(f"{outcome['where']}: {outcome['message']}")
    if not as_json:
        _print(f"{len(outcomes) - failed} passed, {failed} failed")
    if failed:
        raise typer.Exit(NO)


@policy.command("explain")
def explain_policy(
    file: PolicyFile,
    text: Annotated[str, typer.Option(help="The text to judge; `-` reads standard input.")],
    stage: Annotated[str, typer.Option(help="Where it stands.")] = "input",
    as_json: Json = False,
) -> None:
    """Show how a text would be decided: each rule, what it saw, which one determined."""
    from gateway.policy_commands import explain
    from policies.types import Stage

    if stage not in set(Stage):
        _fail(f"`{stage}` is not one of {', '.join(Stage)}", WRONG_USAGE)
    read = sys.stdin.read() if text == "-" else text
    lines, decision = _of_policy(explain(file, Stage(stage), read))
    _print(json.dumps(decision) if as_json else "\n".join(lines))
    if decision["action"] in {"block", "review"}:
        raise typer.Exit(NO)


@audit.command("tail")
def tail_log(
    lines: Annotated[int, typer.Option("-n", min=1, max=10_000, help="How many entries.")] = 20,
    after: Annotated[int | None, typer.Option(help="Entries after this number.")] = None,
    as_json: Json = False,
) -> None:
    """Print the end of the decision log, oldest first."""
    from gateway.audit.queries import tail

    for entry in _with_database(_settings(), lambda database: tail(database, lines, after)):
        _print(json.dumps(entry) if as_json else _one_line(entry))


@audit.command("show")
def show_entry(
    id: Annotated[str, typer.Argument(help="An entry's, a decision's or a request's id.")],
    as_json: Json = False,
) -> None:
    """Print what the log holds about one entry, decision or request."""
    from gateway.audit.queries import show

    entries = _with_database(_settings(), lambda database: show(database, id))
    if not entries:
        _fail(f"there is nothing in the log about `{id}`", NO)
    for entry in entries:
        _print(json.dumps(entry) if as_json else json.dumps(entry, indent=2))


def _settings() -> Settings:
    from pydantic import ValidationError
    from pydantic_settings import SettingsError

    from gateway.settings import Settings

    try:
        return Settings()
    except ValidationError as invalid:
        for error in invalid.errors(include_url=False, include_input=False):
            name = "_".join(["OSTIARY", *(str(step).upper() for step in error["loc"])])
            typer.echo(f"{name}: {error['msg'].lower()}", err=True)
        raise typer.Exit(WRONG_USAGE) from None
    except SettingsError as unreadable:  # a list that is not JSON
        _fail(str(unreadable), WRONG_USAGE)
    except tomllib.TOMLDecodeError as unreadable:
        _fail(f"{os.environ.get('OSTIARY_CONFIG', 'ostiary.toml')}: {unreadable}", WRONG_USAGE)


def _identity(database: Database, settings: Settings) -> Identity:
    from gateway.identity import Identity
    from gateway.store.keyfile import read_or_create

    return Identity(
        database,
        read_or_create(settings.home / "keys" / "pepper"),
        requests_per_minute=settings.requests_per_minute,
        tokens_per_minute=settings.tokens_per_minute,
    )


def _with_database(settings: Settings, ask: Callable[[Database], Awaitable[Answer]]) -> Answer:
    from gateway.store.session import Database

    async def run() -> Answer:
        database = Database(settings.resolved_database_url)
        try:
            await database.migrate()
            return await ask(database)
        finally:
            await database.aclose()

    return asyncio.run(run())


def _of_policy(work: Coroutine[Any, Any, Answer]) -> Answer:
    from policies.load import PolicyError

    try:
        return asyncio.run(work)
    except PolicyError as error:
        _fail("\n".join(error.lines()), NO)
    except ValueError as error:  # a setting: an unknown classifier, a judges file
        _fail(str(error), WRONG_USAGE)


def _rows(rows: list[dict[str, Any]], *, as_json: bool) -> None:
    if as_json:
        for row in rows:
            _print(json.dumps(row))
        return
    from rich.console import Console
    from rich.table import Table

    if not rows:
        typer.echo("nothing found", err=True)
        return
    table = Table(*rows[0], box=None, pad_edge=False)
    for row in rows:
        table.add_row(*(str(value) if value is not None else "-" for value in row.values()))
    Console().print(table)


def _one_line(entry: dict[str, Any]) -> str:
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
    return f"{entry['seq']:>8}  {when}  {entry['type']:<28} {request:<36}  {said}".rstrip()


def _print(text: str) -> None:
    typer.echo(text)


def _fail(message: str, status: int) -> NoReturn:
    typer.echo(message, err=True)
    raise SystemExit(status)


if __name__ == "__main__":
    main()
