"""`ostiary audit erase | hold` and `ostiary keys rotate-vault`: what becomes of kept content."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Annotated

import typer

from gateway.policy_lifecycle_cli import Operator
from gateway.terminal import (
    Answer,
    Json,
    answered,
    read_settings,
    rows,
    with_database,
)
from gateway.user_cli import Identifier, Project, Subject, named_subject

if TYPE_CHECKING:
    from gateway.settings import Settings
    from gateway.store.session import Database

Reason = Annotated[str, typer.Option(help="Why; it goes into the decision log. Name nobody in it.")]

audit = typer.Typer()
hold = typer.Typer(help="Holds: what is neither erased nor expires.", no_args_is_help=True)
keys = typer.Typer()
audit.add_typer(hold, name="hold")


@audit.command("erase")
def erase_content(
    reason: Reason,
    project: Project = "default",
    safety_identifier: Identifier = None,
    subject: Subject = None,
    operator: Operator = None,
    as_json: Json = False,
) -> None:
    """Destroy the keys of all content of an end user; the log stays as it is.

    Exit status 1 if a hold keeps it.
    """
    from gateway.audit.erasure import erase

    settings = read_settings()
    who = named_subject(settings, project, safety_identifier, subject)
    by = _actor(operator)
    count = _answer(
        settings, lambda database: erase(database, project, who, reason=reason, actor=by)
    )
    if as_json:
        typer.echo(json.dumps({"project": project, "subject": who, "keys": count}))
    else:
        typer.echo(f"erased {who}: {count} keys destroyed")


@hold.command("add")
def add_hold(
    reason: Reason,
    project: Project = "default",
    safety_identifier: Identifier = None,
    subject: Subject = None,
    operator: Operator = None,
    as_json: Json = False,
) -> None:
    """Keep content from erasure and expiry: an end user's, or else a whole project's."""
    from gateway.audit.erasure import add_hold

    settings = read_settings()
    who = None
    if safety_identifier is not None or subject is not None:
        who = named_subject(settings, project, safety_identifier, subject)
    by = _actor(operator)
    made = _answer(
        settings, lambda database: add_hold(database, project, who, reason=reason, actor=by)
    )
    typer.echo(json.dumps(made._asdict()) if as_json else made.id)


@hold.command("list")
def list_holds(as_json: Json = False) -> None:
    """List what is held, oldest first."""
    from gateway.audit.erasure import holds

    found = _answer(read_settings(), holds)
    rows([each._asdict() for each in found], as_json=as_json)


@hold.command("release")
def release_hold(
    id: Annotated[str, typer.Argument(help="The hold's id.")],
    reason: Reason,
    operator: Operator = None,
) -> None:
    """End a hold. Exit status 1 if there is none with this id."""
    from gateway.audit.erasure import release_hold

    by = _actor(operator)
    _answer(read_settings(), lambda database: release_hold(database, id, reason=reason, actor=by))
    typer.echo(f"released {id}")


@keys.command("rotate-vault")
def rotate_vault(operator: Operator = None, as_json: Json = False) -> None:
    """Give all kept content new keys, and destroy the earlier ones."""
    from gateway.audit.master_keys import open_master_keys
    from gateway.audit.rotation import rotate

    settings = read_settings()
    by = _actor(operator)
    with answered():
        master = open_master_keys(settings.vault_file, settings.vault_key.get_secret_value())
    done = _answer(settings, lambda database: rotate(database, master, actor=by))
    if as_json:
        line = {"projects": done.projects, "keys": done.keys, "master_key": done.master_key}
        typer.echo(json.dumps(line))
    else:
        typer.echo(f"{done.projects} projects, {done.keys} keys: now under {done.master_key}")


def _actor(operator: str | None) -> str:
    from gateway.policy_lifecycle import operator as actor

    return actor(operator).id


def _answer(settings: Settings, ask: Callable[[Database], Awaitable[Answer]]) -> Answer:
    from gateway.audit.envelope import Unreadable
    from gateway.terminal import NO, fail

    try:
        with answered():
            return with_database(settings, ask)
    except Unreadable as error:
        fail(str(error), NO)
