"""`ostiary audit search | erase | hold`, `keys rotate-vault`, and content that is shown."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from gateway.policy_lifecycle_cli import Operator
from gateway.terminal import (
    NO,
    Answer,
    Json,
    answered,
    entry_line,
    fail,
    read_settings,
    rows,
    say,
    shown,
    with_database,
)
from gateway.user_cli import Identifier, Project, Subject, named_subject

if TYPE_CHECKING:
    from gateway.audit.access import OpenedRecord
    from gateway.audit.search import Criteria, Page
    from gateway.settings import Settings
    from gateway.store.session import Database

Reason = Annotated[str, typer.Option(help="Why; it goes into the decision log. Name nobody in it.")]

Several = list[str] | None
Moment = Annotated[
    datetime | None,
    typer.Option(formats=["%Y-%m-%d", "%Y-%m-%dT%H:%M:%S"], help="UTC, as in `2026-01-31`."),
]

audit = typer.Typer()
hold = typer.Typer(help="Holds: what is neither erased nor expires.", no_args_is_help=True)
keys = typer.Typer()
audit.add_typer(hold, name="hold")


@audit.command("search")
def search_log(  # noqa: PLR0913 - the options of a command
    project: Annotated[Several, typer.Option(help="Of this project; repeatable.")] = None,
    type: Annotated[Several, typer.Option(help="Of this type; repeatable.")] = None,
    stage: Annotated[Several, typer.Option(help="Decided at this stage; repeatable.")] = None,
    action: Annotated[Several, typer.Option(help="Decided to this; repeatable.")] = None,
    rule: Annotated[Several, typer.Option(help="This rule matched; repeatable.")] = None,
    category: Annotated[Several, typer.Option(help="Scored this category; repeatable.")] = None,
    request: Annotated[Several, typer.Option(help="Of this request; repeatable.")] = None,
    subject: Annotated[Several, typer.Option(help="About this pseudonym; repeatable.")] = None,
    by: Annotated[Several, typer.Option("--by", help="By this key, or `cli`.")] = None,
    since: Moment = None,
    until: Moment = None,
    lines: Annotated[int, typer.Option("-n", min=1, max=10_000, help="How many entries.")] = 20,
    after: Annotated[str | None, typer.Option(help="Entries older than that with this id.")] = None,
    operator: Operator = None,
    as_json: Json = False,
) -> None:
    """Search the decision log, newest first; what was searched for is recorded."""
    from gateway.audit.search import Criteria, Page

    criteria = Criteria(
        types=_each(type),
        projects=_each(project),
        requests=_each(request),
        since=_moment(since),
        before=_moment(until),
        stages=_each(stage),
        actions=_each(action),
        rules=_each(rule),
        categories=_each(category),
        end_users=_each(subject),
        actors=_each(by),
    )
    _tell(criteria, Page(lines, after), _actor(operator), as_json=as_json)


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
        given = settings.vault_key.get_secret_value()
        master = open_master_keys(settings.vault_file, given, settings.vault_command)
    done = _answer(settings, lambda database: rotate(database, master, actor=by))
    if as_json:
        line = {"projects": done.projects, "keys": done.keys, "master_key": done.master_key}
        typer.echo(json.dumps(line))
    else:
        typer.echo(f"{done.projects} projects, {done.keys} keys: now under {done.master_key}")


def show_content(id: str, reason: str, operator: str | None, *, as_json: bool) -> None:
    """Print what was said, once it is recorded that somebody reads it."""
    from gateway.audit.access import open_content
    from gateway.audit.vault import open_vault

    settings, by = read_settings(), _actor(operator)

    async def ask(database: Database) -> list[OpenedRecord]:
        return await open_content(open_vault(settings, database), id, reason=reason, actor=by)

    for record in _answer(settings, ask):
        for field in record.content:
            line = {"id": record.entry["id"], "field": field.field, "state": field.state.value}
            if as_json:
                typer.echo(json.dumps({**line, "said": list(field.said)}))
                continue
            typer.echo(f"{line['id']}  {field.field}  {field.state.value}")
            for one in field.said:
                said = shown(f"{one['source']}: {one['text']}")
                typer.echo("  " + said.replace("\n", "\n    "))  # no line of it looks like ours


def _tell(criteria: Criteria, page: Page, actor: str, *, as_json: bool) -> None:
    from gateway.audit.access import search

    found = _answer(
        read_settings(),
        lambda database: search(database, criteria, page, surface="cli", actor=actor),
    )
    for entry in found.entries:
        typer.echo(json.dumps(entry) if as_json else entry_line(entry))
    if found.more:
        say(f"there are more: --after {found.entries[-1]['id']}")


def _each(values: Several) -> tuple[str, ...]:
    return tuple(values or ())


def _moment(moment: datetime | None) -> str | None:
    from gateway.store.times import as_text

    return None if moment is None else as_text(moment.replace(tzinfo=UTC))


def _actor(operator: str | None) -> str:
    from gateway.policy_lifecycle import operator as actor

    return actor(operator).id


def _answer(settings: Settings, ask: Callable[[Database], Awaitable[Answer]]) -> Answer:
    from gateway.audit.envelope import Unreadable

    try:
        with answered():
            return with_database(settings, ask)
    except Unreadable as error:
        fail(str(error), NO)
