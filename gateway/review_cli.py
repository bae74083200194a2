"""`ostiary review`: tool calls that wait for a person, and deciding about them.

Exit status of `show`: 0 if the call was approved, 1 otherwise.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from datetime import datetime
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
    indented,
    read_settings,
    rows,
    with_database,
)

if TYPE_CHECKING:
    from gateway.audit.access import OpenedRecord
    from gateway.store.reviews import Review
    from gateway.store.session import Database

ReviewId = Annotated[str, typer.Argument(help="Its id, `rev_...`.")]
Reason = Annotated[str, typer.Option(help="Why; it goes into the decision log.")]

app = typer.Typer(help="Tool calls that wait for a person.", no_args_is_help=True)


@app.command("list")
def list_reviews(
    everything: Annotated[bool, typer.Option("--all", help="Also those that are over.")] = False,
    project: Annotated[str | None, typer.Option(help="Only this project's.")] = None,
    limit: Annotated[int, typer.Option("-n", min=1, max=1000, help="How many.")] = 100,
    as_json: Json = False,
) -> None:
    """List reviews that are open, the newest first."""
    from gateway.store.reviews import State, listed

    state = None if everything else State.OPEN
    found = _asked(lambda database: listed(database, state, project, limit))
    rows([_row(review) for review in found], as_json=as_json)


@app.command("show")
def show_review(
    review_id: ReviewId,
    content: Annotated[bool, typer.Option("--content", help="Also what the call says.")] = False,
    reason: Annotated[str | None, typer.Option(help="Why it is read; recorded.")] = None,
    operator: Operator = None,
    as_json: Json = False,
) -> None:
    """Show one, and what the call says; that somebody read it is recorded first."""
    from gateway.policy_lifecycle import operator as actor
    from gateway.store.reviews import State, look

    if content and not reason:
        fail("say why: --reason", WRONG_USAGE)
    found = _asked(lambda database: look(database, review_id))
    if found is None:
        fail(f"there is no review `{review_id}`", NO)
    row = _row(found)
    said = _said(found, reason, actor(operator).id) if content and reason else []
    if as_json:
        typer.echo(json.dumps({**row, "content": said} if content else row))
    else:
        rows([row], as_json=False)
        for each in said:
            indented(f"{each.get('tool') or each['source']}: {each['text']}")
    if found.state is not State.APPROVED:
        raise typer.Exit(NO)


@app.command("approve")
def approve_review(
    review_id: ReviewId, reason: Reason, operator: Operator = None, as_json: Json = False
) -> None:
    """Let the call leave, or be the first of two to say so. Status 1 if it cannot be."""
    _decide(review_id, reason, operator, approve=True, as_json=as_json)


@app.command("reject")
def reject_review(
    review_id: ReviewId, reason: Reason, operator: Operator = None, as_json: Json = False
) -> None:
    """Have the call not released. Status 1 if it cannot be."""
    _decide(review_id, reason, operator, approve=False, as_json=as_json)


def _decide(
    review_id: str, reason: str, operator: str | None, *, approve: bool, as_json: bool
) -> None:
    from gateway.policy_lifecycle import operator as actor
    from gateway.reviewing import decide

    by = actor(operator).id
    found = _asked(
        lambda database: decide(database, review_id, approve=approve, by=by, reason=reason)
    )
    typer.echo(json.dumps(_row(found)) if as_json else f"{review_id} is {found.state.value}")


def _said(review: Review, reason: str, by: str) -> list[dict[str, Any]]:
    from gateway.audit.access import open_content
    from gateway.audit.vault import open_vault

    settings = read_settings()

    async def opened(database: Database) -> list[OpenedRecord]:
        vault = open_vault(settings, database)
        return await open_content(vault, review.decision_id, reason=reason, actor=by)

    found = _asked(opened)
    return [dict(each) for record in found for field in record.content for each in field.said]


def _asked(ask: Callable[[Database], Awaitable[Answer]]) -> Answer:
    with answered():
        return with_database(read_settings(), ask)


def _row(review: Review) -> dict[str, Any]:
    return {
        "id": review.id,
        "state": review.state.value,
        "project": review.project,
        "tool": review.tool,
        "rule": review.rule,
        "opened_at": _moment(review.opened_at),
        "expires_at": _moment(review.expires_at),
        "request": review.request_id,
        "decision": review.decision_id,
        "requested_by": review.key_id,
        "first_by": review.first_by,
        "decided_by": review.decided_by,
        "reason": review.reason,
    }


def _moment(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M:%S}"
