"""`ostiary alert` and `ostiary webhook`: what projects were told, and what did not reach them."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Annotated

import typer

from gateway.policy_lifecycle_cli import Operator
from gateway.terminal import NO, Json, answered, fail, read_settings, rows, with_database

Count = Annotated[int, typer.Option("-n", min=1, max=1000, help="How many.")]

alerts = typer.Typer(help="Safety alerts.", no_args_is_help=True)
webhooks = typer.Typer(help="Deliveries to webhook endpoints.", no_args_is_help=True)


@alerts.command("list")
def list_alerts(
    project: Annotated[str | None, typer.Option(help="Only this project's.")] = None,
    limit: Count = 100,
    as_json: Json = False,
) -> None:
    """List alerts, the newest first."""
    from gateway.store.notices import alerts as listed

    with answered():
        found = with_database(read_settings(), lambda database: listed(database, project, limit))
    listing = [
        {
            "id": alert.id,
            "created_at": _moment(alert.created_at),
            "project": alert.project,
            "error_type": alert.error_type,
            "category": alert.category,
            "rule": alert.rule,
            "request": alert.request_id,
            "decision": alert.decision_id,
            "end_user": alert.subject,
        }
        for alert in found
    ]
    rows(listing, as_json=as_json)


@webhooks.command("list")
def list_deliveries(
    dead: Annotated[bool, typer.Option("--dead", help="Only those that were given up.")] = False,
    limit: Count = 100,
    as_json: Json = False,
) -> None:
    """List deliveries, the newest first, without what they say."""
    from gateway.store.outbox import State, listed

    state = State.DEAD if dead else None
    with answered():
        found = with_database(read_settings(), lambda database: listed(database, state, limit))
    rows(found, as_json=as_json)


@webhooks.command("retry")
def retry_delivery(
    delivery_id: Annotated[str, typer.Argument(help="Its id, `whd_...`.")],
    operator: Operator = None,
    as_json: Json = False,
) -> None:
    """Have a delivery that was given up tried anew. Exit status 1 if it was not given up."""
    from gateway.policy_lifecycle import operator as actor
    from gateway.webhooks import retry

    by = actor(operator).id
    with answered():
        done = with_database(read_settings(), lambda database: retry(database, delivery_id, by))
    if not done:
        fail(f"no delivery `{delivery_id}` was given up", NO)
    typer.echo(json.dumps({"id": delivery_id}) if as_json else f"{delivery_id} is due")


def _moment(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M}"
