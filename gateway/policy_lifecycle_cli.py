"""`ostiary policy keygen | sign | verify`, and the steps of a version's life.

They stand in the group of `gateway.policy_cli`.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gateway.policy_cli import PolicyFile
from gateway.terminal import (
    NO,
    WRONG_USAGE,
    Answer,
    Json,
    answered,
    fail,
    read_settings,
    rows,
    say,
    with_database,
)

if TYPE_CHECKING:
    from gateway.policy_registry import PolicyRegistry
    from gateway.store.policies import PolicyVersion

NoteFile = Annotated[
    Path | None, typer.Option("--sig", help="The note of signatures; FILE.sig by default.")
]
PolicyId = Annotated[str, typer.Argument(metavar="ID", help="The policy's id.")]
Version = Annotated[str, typer.Argument(help="As in its file.")]
Operator = Annotated[
    str | None, typer.Option("--as", help="Who you are; recorded, and not checked.")
]
_DIGEST_SHOWN = 12  # hex digits, in a table

app = typer.Typer()


@app.command("keygen")
def generate_key(
    name: Annotated[str, typer.Argument(help="Who signs with it, as in `example.com/alice`.")],
    out: Annotated[Path | None, typer.Option(help="Where the private key goes.")] = None,
) -> None:
    """Make a key to sign policies with; prints the verifier key, which is not secret."""
    from gateway.policy_signing import make_key

    path = out or Path(f"{name.replace('/', '_')}.key")
    with answered():
        verifier = make_key(name, path)
    say(f"the private key is in {path}; keep it secret")
    typer.echo(verifier)


@app.command("sign")
def sign_file(
    file: PolicyFile,
    key: Annotated[Path, typer.Option(help="A private key that `keygen` made.")],
    out: NoteFile = None,
) -> None:
    """Sign a policy; a signature that is there already stays, so that two can sign."""
    from gateway.policy_signing import sign_policy

    path = _note_file(file, out)
    with answered():
        signer = sign_policy(file, key, path)
    typer.echo(f"{path}: signed by {signer}")


@app.command("verify")
def verify_file(
    file: PolicyFile,
    keys: Annotated[
        Path | None, typer.Option(help="Trusted verifier keys, one a line. [OSTIARY_POLICY_KEYS]")
    ] = None,
    signatures: Annotated[
        int | None, typer.Option(min=1, help="How many of them. [OSTIARY_POLICY_SIGNATURES]")
    ] = None,
    sig: NoteFile = None,
    as_json: Json = False,
) -> None:
    """Say which trusted keys signed a policy. Exit status 1 if too few did."""
    from gateway.policy_signing import verify_policy

    settings = read_settings()
    trusted = keys or (Path(settings.policy_keys) if settings.policy_keys else None)
    if trusted is None:
        fail("name the keys to trust: --keys, or OSTIARY_POLICY_KEYS", WRONG_USAGE)
    with answered():
        wanted = signatures or settings.policy_signatures
        signers = verify_policy(file, _note_file(file, sig), trusted, wanted)
    if as_json:
        typer.echo(json.dumps({"file": file, "signers": list(signers)}))
    else:
        typer.echo(f"{file}: signed by {', '.join(signers)}")


@app.command("list")
def list_policies(
    policy_id: Annotated[
        str | None, typer.Argument(metavar="[ID]", help="Only the versions of this policy.")
    ] = None,
    as_json: Json = False,
) -> None:
    """List the policies in the registry, or one policy's versions, newest first."""
    from gateway.policy_lifecycle_commands import policies, versions

    if policy_id is None:
        rows(_of_registry(policies), as_json=as_json)
        return
    found = _of_registry(lambda registry: versions(registry, policy_id))
    if not found:
        fail(f"there is no policy `{policy_id}` in the registry", NO)
    if not as_json:
        found = [{**row, "digest": row["digest"][:_DIGEST_SHOWN]} for row in found]
    rows(found, as_json=as_json)


@app.command("propose")
def propose(
    file: PolicyFile, sig: NoteFile = None, operator: Operator = None, as_json: Json = False
) -> None:
    """Store a version in the registry and propose it for approval."""
    from gateway.policy_lifecycle_commands import propose_file

    note = _note(file, sig)
    _tell(_of_registry(lambda registry: propose_file(registry, file, note, operator)), as_json)


@app.command("approve")
def approve(
    policy_id: PolicyId, version: Version, operator: Operator = None, as_json: Json = False
) -> None:
    """Approve a proposed version; whoever drafted it cannot."""
    _move("approve", policy_id, version, operator, as_json=as_json)


@app.command("reject")
def reject(
    policy_id: PolicyId,
    version: Version,
    reason: Annotated[str | None, typer.Option(help="Why; its author can read it.")] = None,
    operator: Operator = None,
    as_json: Json = False,
) -> None:
    """Reject a version; it never comes into force."""
    _move("reject", policy_id, version, operator, as_json=as_json, reason=reason)


@app.command("withdraw")
def withdraw(
    policy_id: PolicyId, version: Version, operator: Operator = None, as_json: Json = False
) -> None:
    """Withdraw a version before it is in force."""
    _move("withdraw", policy_id, version, operator, as_json=as_json)


@app.command("activate")
def activate(
    file: PolicyFile, sig: NoteFile = None, operator: Operator = None, as_json: Json = False
) -> None:
    """Store a policy file and bring it into force at once, on every replica."""
    from gateway.policy_lifecycle_commands import activate_file

    note = _note(file, sig)
    _tell(_of_registry(lambda registry: activate_file(registry, file, note, operator)), as_json)


@app.command("rollback")
def roll_back(
    policy_id: PolicyId,
    to: Annotated[str | None, typer.Option(help="The version; else the one before.")] = None,
    operator: Operator = None,
    as_json: Json = False,
) -> None:
    """Bring an earlier version back into force."""
    from gateway.policy_lifecycle import operator as actor

    _tell(
        _of_registry(lambda registry: registry.roll_back(policy_id, actor(operator), to)), as_json
    )


@app.command("retire")
def retire(policy_id: PolicyId, operator: Operator = None, as_json: Json = False) -> None:
    """Take a policy out of force; a file's policy of the same id holds again."""
    from gateway.policy_lifecycle import operator as actor

    _tell(_of_registry(lambda registry: registry.retire(policy_id, actor(operator))), as_json)


def _move(
    step: str,
    policy_id: str,
    version: str,
    operator: str | None,
    *,
    as_json: bool,
    reason: str | None = None,
) -> None:
    from gateway.policy_lifecycle import Step
    from gateway.policy_lifecycle import operator as actor

    moved = _of_registry(
        lambda registry: registry.move(
            Step(step), policy_id, version, actor(operator), reason=reason
        )
    )
    _tell(moved, as_json)


def _of_registry(ask: Callable[[PolicyRegistry], Awaitable[Answer]]) -> Answer:
    from gateway.policy_lifecycle_commands import with_registry

    settings = read_settings()
    with answered():
        return with_database(settings, lambda database: with_registry(settings, database, ask))


def _tell(version: PolicyVersion, as_json: bool) -> None:
    from gateway.policy_lifecycle_commands import version_row

    row = version_row(version)
    if as_json:
        typer.echo(json.dumps(row))
    else:
        typer.echo(f"{row['policy']} {row['version']} is {row['state']}")


def _note(source: str, given: Path | None) -> bytes | None:
    """Return the note beside a file, if there is one; one that was named must be there."""
    path = _note_file(source, given)
    if given is None and not path.exists():
        return None
    with answered():
        return path.read_bytes()


def _note_file(source: str, given: Path | None) -> Path:
    return given or Path(f"{source}.sig")
