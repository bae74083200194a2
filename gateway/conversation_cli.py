"""`ostiary conversation`: conversations that were stopped, and letting one go on.

Exit status of `show`: 0 if it may go on, 1 if it is stopped.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gateway.policy_lifecycle_cli import Operator
from gateway.terminal import NO, Answer, Json, answered, fail, read_settings, rows, with_database

if TYPE_CHECKING:
    from gateway.store.session import Database
    from gateway.store.stops import Stop

StopId = Annotated[str, typer.Argument(help="Its id, as in `error.misalignment.review_target`.")]

app = typer.Typer(help="Conversations that were stopped.", no_args_is_help=True)


@app.command("list")
def list_stopped(
    project: Annotated[str | None, typer.Option(help="Only this project's.")] = None,
    limit: Annotated[int, typer.Option("-n", min=1, max=1000, help="How many.")] = 100,
    as_json: Json = False,
) -> None:
    """List conversations that were stopped, the newest first."""
    from gateway.store.stops import listed

    found = _asked(lambda database: listed(database, project, limit))
    rows([_row(stop) for stop in found], as_json=as_json)


@app.command("show")
def show_stopped(stop_id: StopId, as_json: Json = False) -> None:
    """Show one. Exit status 1 if it is stopped still."""
    from gateway.store.stops import with_id

    found = _asked(lambda database: with_id(database, stop_id))
    if found is None:
        fail(f"there is no stopped conversation `{stop_id}`", NO)
    rows([_row(found)], as_json=as_json)
    if found.lifted_at is None and found.expires_at > datetime.now(UTC):
        raise typer.Exit(NO)


@app.command("lift")
def lift_stopped(
    stop_id: StopId,
    reason: Annotated[str, typer.Option(help="Why; it goes into the decision log.")],
    operator: Operator = None,
    as_json: Json = False,
) -> None:
    """Let a conversation go on; everywhere within a second. Status 1 if it is not stopped."""
    from gateway.policy_lifecycle import operator as actor
    from gateway.stopping import lift

    by = actor(operator).id
    lifted = _asked(lambda database: lift(database, stop_id, reason=reason, actor=by))
    if lifted is None:
        fail(f"no conversation is stopped as `{stop_id}`", NO)
    typer.echo(json.dumps(_row(lifted)) if as_json else f"lifted {stop_id}")


def _asked(ask: Callable[[Database], Awaitable[Answer]]) -> Answer:
    with answered():
        return with_database(read_settings(), ask)


def _row(stop: Stop) -> dict[str, Any]:
    return {
        "id": stop.id,
        "project": stop.project,
        "stopped_at": _moment(stop.stopped_at),
        "expires_at": _moment(stop.expires_at),
        "rule": stop.rule,
        "error_type": stop.error_type,
        "request": stop.request_id,
        "decision": stop.decision_id,
        "end_user": stop.subject,
        "lifted_at": _moment(stop.lifted_at),
        "lifted_by": stop.lifted_by,
        "reason": stop.reason,
    }


def _moment(moment: datetime | None) -> str | None:
    return None if moment is None else f"{moment:%Y-%m-%d %H:%M}"
