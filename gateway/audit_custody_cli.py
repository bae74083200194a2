"""`ostiary audit grants | rotate-key`: who may write the log, and with which key it is signed."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated

import typer

from gateway.policy_lifecycle_cli import Operator
from gateway.terminal import (
    NO,
    WRONG_USAGE,
    Json,
    answered,
    fail,
    read_settings,
    with_database,
)

if TYPE_CHECKING:
    from gateway.audit.log_key import FileLogKeys
    from gateway.settings import Settings
    from gateway.store.session import Database

app = typer.Typer()


@app.command("rotate-key")
def rotate_log_key(
    reason: Annotated[str | None, typer.Option(help="Why; it goes into the log.")] = None,
    retire: Annotated[
        bool, typer.Option("--retire", help="Instead, destroy all keys but the one that signs.")
    ] = False,
    operator: Operator = None,
    as_json: Json = False,
) -> None:
    """Give the log a new key, announced in the log and signed by the old key and the new.

    The key before signs too until it is retired. Gateways need no restart.
    """
    if retire == (reason is not None):
        fail("say why with --reason, or retire the keys before with --retire", WRONG_USAGE)
    settings = read_settings()
    from gateway.audit.log_key import open_log_keys

    with answered():
        keys = open_log_keys(settings)
        if reason is None:
            _retire(settings, keys, as_json=as_json)
        else:
            _rotate(settings, keys, reason, operator, as_json=as_json)


def _rotate(
    settings: Settings, keys: FileLogKeys, reason: str, operator: str | None, *, as_json: bool
) -> None:
    from gateway.audit.heads import open_heads
    from gateway.audit.key_rotation import Rotated, rotate_key
    from gateway.policy_lifecycle import operator as actor

    async def ask(database: Database) -> Rotated:
        heads = open_heads(settings.resolved_head_keeper, settings.home)
        try:
            return await rotate_key(database, keys, heads, actor=actor(operator).id, reason=reason)
        finally:
            await heads.aclose()

    done = with_database(settings, ask)
    if as_json:
        line = {"old": str(done.old), "new": str(done.new), "size": done.last.size}
        typer.echo(json.dumps({**line, "origin": done.last.origin, "note": done.note.decode()}))
    else:
        typer.echo(f"from entry {done.last.size} of {done.last.origin} on: {done.new}")


def _retire(settings: Settings, keys: FileLogKeys, *, as_json: bool) -> None:
    from gateway.audit.heads import open_heads
    from gateway.audit.key_rotation import retire_keys

    async def ask(database: Database) -> int:
        heads = open_heads(settings.resolved_head_keeper, settings.home)
        try:
            return await retire_keys(database, keys, heads)
        finally:
            await heads.aclose()

    gone = with_database(settings, ask)
    typer.echo(json.dumps({"destroyed": gone}) if as_json else f"destroyed {gone}")


@app.command("grants")
def grant_role(
    role: Annotated[
        str | None, typer.Option(help="The role that gateways run as; it must be there.")
    ] = None,
    apply: Annotated[
        bool, typer.Option("--apply", help="Migrate and grant, as the tables' owner.")
    ] = False,
    check: Annotated[
        bool,
        typer.Option("--check", help="Say whether the role in the settings could change entries."),
    ] = False,
    as_json: Json = False,
) -> None:
    """Print the SQL that lets a PostgreSQL role write the log and not change it, or run it.

    With `--check`, status 1 if the role that the settings name could change the log.
    """
    if check == (role is not None):
        fail("name a role with --role, or ask with --check", WRONG_USAGE)
    if role is None:
        _check(as_json=as_json)
        return
    from gateway.store.grants import grant, statements

    if not apply:
        for statement in statements(role):
            typer.echo(f"{statement};")
        return
    settings = _postgresql()
    with answered():
        with_database(settings, lambda database: grant(database, role))
    typer.echo(json.dumps({"role": role}) if as_json else f"granted to {role}")


def _check(*, as_json: bool) -> None:
    from gateway.store.grants import powers

    settings = _postgresql()
    with answered():
        found = with_database(settings, powers)
    if as_json:
        typer.echo(json.dumps({"restricted": not found, "could": found}))
    elif found:
        typer.echo(f"this role could change the log: {', '.join(found)}")
    else:
        typer.echo("this role can write the log, and not change it")
    raise typer.Exit(NO if found else 0)


def _postgresql() -> Settings:
    settings = read_settings()
    if not settings.resolved_database_url.startswith("postgresql"):
        fail("SQLite has no roles: whoever has the file has the log", WRONG_USAGE)
    return settings
