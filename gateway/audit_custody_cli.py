"""`ostiary audit grants`: who may write the log, and who may not change it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated

import typer

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
    from gateway.settings import Settings

app = typer.Typer()


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
