"""Command line for operators, policy authors and auditors.

Exit status: 0 the answer is yes, 1 the answer is no, 2 wrong usage or wrong settings.
Results go to stdout, one JSON object per line with --json; messages go to stderr.
Starts without torch, and imports what a command needs when it runs.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated

import typer

from gateway import (
    alert_cli,
    audit_cli,
    audit_custody_cli,
    audit_replay_cli,
    content_cli,
    conversation_cli,
    eval_commands,
    export_cli,
    policy_authoring_cli,
    policy_cli,
    policy_explain_cli,
    policy_lifecycle_cli,
    policy_pack_cli,
    policy_replay_cli,
    review_cli,
    user_cli,
    witness_cli,
)
from gateway.errors import GatewayError
from gateway.terminal import NO, Json, fail, read_settings, rows, with_database
from gateway.types import Scope

if TYPE_CHECKING:
    from gateway.identity import Identity
    from gateway.settings import Settings
    from gateway.store.session import Database

app = typer.Typer(
    name="ostiary",
    help="The doorkeeper for self-hosted gpt-oss models.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
keys = typer.Typer(help="API keys.", no_args_is_help=True)
app.add_typer(keys, name="keys")
app.add_typer(policy_cli.app, name="policy")
# Without a name: into the same group.
policy_cli.app.add_typer(policy_authoring_cli.app)
policy_cli.app.add_typer(policy_explain_cli.app)
policy_cli.app.add_typer(policy_lifecycle_cli.app)
policy_cli.app.add_typer(policy_pack_cli.app)
policy_cli.app.add_typer(policy_replay_cli.app)
app.add_typer(audit_cli.app, name="audit")
audit_cli.app.add_typer(content_cli.audit)
audit_cli.app.add_typer(audit_custody_cli.app)
audit_cli.app.add_typer(audit_replay_cli.app)
audit_cli.app.add_typer(export_cli.app)
audit_cli.app.add_typer(witness_cli.app, name="witness")
keys.add_typer(content_cli.keys)
app.add_typer(user_cli.app, name="user")
app.add_typer(review_cli.app, name="review")
app.add_typer(alert_cli.alerts, name="alert")
app.add_typer(alert_cli.webhooks, name="webhook")
app.add_typer(conversation_cli.app, name="conversation")
app.add_typer(eval_commands.app, name="eval")


def main() -> None:
    """Run one command; the console script's entry point."""
    try:
        app()
    except GatewayError as error:
        fail(str(error), NO)


@app.command()
def serve() -> None:
    """Run the gateway. Settings are OSTIARY_* variables and ostiary.toml."""
    settings = read_settings()
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
    settings = read_settings()
    key = with_database(settings, lambda db: _identity(db, settings).create(new, actor="cli"))
    typer.echo(json.dumps({"key": key, "project": project}) if as_json else key)


@keys.command("list")
def list_keys(
    project: Annotated[str | None, typer.Option(help="Only this project's.")] = None,
    as_json: Json = False,
) -> None:
    """List API keys, newest first, without their secrets."""
    from gateway.store.keys import listed

    found = with_database(read_settings(), lambda database: listed(database, project))
    listing = [
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
    rows(listing, as_json=as_json)


@keys.command("revoke")
def revoke_key(
    prefix: Annotated[str, typer.Argument(help="The key's id: its third part.")],
) -> None:
    """Revoke an API key; in force everywhere within a second."""
    settings = read_settings()
    revoked = with_database(
        settings, lambda db: _identity(db, settings).revoke(prefix, actor="cli")
    )
    if not revoked:
        fail(f"there is no key `{prefix}` in force", NO)
    typer.echo(f"revoked {prefix}")


def _identity(database: Database, settings: Settings) -> Identity:
    from gateway.identity import Identity
    from gateway.store.keyfile import read_or_create

    return Identity(
        database,
        read_or_create(settings.home / "keys" / "pepper"),
        requests_per_minute=settings.requests_per_minute,
        tokens_per_minute=settings.tokens_per_minute,
    )


if __name__ == "__main__":
    main()
