"""`ostiary user`: where end users stand, and how a person brings one back.

Exit status of `show`: 0 if the end user is served, 1 if suspended or deactivated.
"""

from __future__ import annotations

import json
import re
from collections.abc import Awaitable, Callable
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gateway.policy_lifecycle_cli import Operator
from gateway.terminal import (
    NO,
    WRONG_USAGE,
    Answer,
    Json,
    answered,
    fail,
    read_settings,
    rows,
    with_database,
)

if TYPE_CHECKING:
    from gateway.settings import Settings
    from gateway.store.session import Database


class SanctionName(StrEnum):
    """A sanction, as it is typed; `policies.ladder` says what each means."""

    WARN = "warn"
    THROTTLE = "throttle"
    SUSPEND = "suspend"
    DEACTIVATE = "deactivate"


Project = Annotated[str, typer.Option(help="Whose end user it is.")]
Identifier = Annotated[
    str | None, typer.Option("--safety-identifier", help="As the application sends it.")
]
Subject = Annotated[
    str | None, typer.Option("--subject", help="The pseudonym, as in the decision log.")
]
_PSEUDONYM = re.compile(r"[0-9a-f]{32}")
_REFUSED = {SanctionName.SUSPEND, SanctionName.DEACTIVATE}

app = typer.Typer(help="End users: strikes and sanctions.", no_args_is_help=True)


@app.command("show")
def show_user(
    project: Project = "default",
    safety_identifier: Identifier = None,
    subject: Subject = None,
    as_json: Json = False,
) -> None:
    """Show where an end user stands. Exit status 1 if their requests are refused."""
    from gateway.user_commands import show

    settings = read_settings()
    who = named_subject(settings, project, safety_identifier, subject)
    found = _answer(settings, lambda database: show(settings, database, project, who))
    if as_json:
        typer.echo(json.dumps(found))
    else:
        typer.echo(_told(found))
        if found["history"]:
            rows(found["history"], as_json=False)
    if found["sanction"] in _REFUSED:
        raise typer.Exit(NO)


@app.command("list")
def list_users(
    project: Annotated[str, typer.Option(help="Whose end users.")] = "default",
    sanction: Annotated[
        SanctionName | None, typer.Option(help="Only those under this one.")
    ] = None,
    as_json: Json = False,
) -> None:
    """List the end users who have strikes or a sanction, the harshest first."""
    from gateway.user_commands import listed
    from policies.ladder import Sanction

    settings = read_settings()
    wanted = Sanction[sanction.name] if sanction else None
    found = _answer(settings, lambda database: listed(settings, database, project, wanted))
    rows(found, as_json=as_json)


@app.command("reinstate")
def reinstate_user(
    reason: Annotated[str, typer.Option(help="Why; it goes into the decision log.")],
    project: Project = "default",
    safety_identifier: Identifier = None,
    subject: Subject = None,
    operator: Operator = None,
    as_json: Json = False,
) -> None:
    """Have an end user's strikes count no more; in force everywhere within a second.

    Exit status 1 if there are none.
    """
    from gateway.policy_lifecycle import operator as actor
    from gateway.user_commands import reinstate

    settings = read_settings()
    who = named_subject(settings, project, safety_identifier, subject)
    by = actor(operator).id
    count = _answer(
        settings, lambda database: reinstate(database, project, who, reason=reason, actor=by)
    )
    if as_json:
        typer.echo(json.dumps({"project": project, "subject": who, "reversed": count}))
    if not count:
        fail(f"there is no strike that counts against `{who}`", NO)
    if not as_json:
        typer.echo(f"reinstated {who}: {count} reversed")


def named_subject(
    settings: Settings, project: str, safety_identifier: str | None, subject: str | None
) -> str:
    """Return the pseudonym of whoever was named, in one of the two ways."""
    from gateway.user_commands import subject_of

    if (safety_identifier is None) == (subject is None):
        fail("name the end user: --safety-identifier or --subject", WRONG_USAGE)
    if subject is not None:
        if not _PSEUDONYM.fullmatch(subject):
            fail(f"`{subject}` is not a pseudonym: 32 hex digits", WRONG_USAGE)
        return subject
    with answered():
        return subject_of(settings, project, safety_identifier or "")


def _answer(settings: Settings, ask: Callable[[Database], Awaitable[Answer]]) -> Answer:
    with answered():
        return with_database(settings, ask)


def _told(found: dict[str, Any]) -> str:
    since = f" since {found['since'][:19]}Z" if found["since"] else ""
    until = f" until {found['until'][:19]}Z" if found["until"] else ""
    count = f"{found['strikes']} strike{'' if found['strikes'] == 1 else 's'} counting"
    return f"{found['subject']}: {found['sanction']}{since}{until}, {count}"
