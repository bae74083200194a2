"""`ostiary audit`: read the decision log, prove it, and verify what was proved.

`verify` and `verifier` are the auditor's: they need no settings and no database.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gateway.content_cli import show_content
from gateway.policy_lifecycle_cli import Operator
from gateway.terminal import (
    NO,
    WRONG_USAGE,
    Json,
    answered,
    entry_line,
    fail,
    progress_bar,
    read_settings,
    with_database,
)

if TYPE_CHECKING:
    from gateway.store.session import Database

app = typer.Typer(help="The decision log.", no_args_is_help=True)

Out = Annotated[Path | None, typer.Option(help="Into this file instead of stdout.")]
Shard = Annotated[str | None, typer.Option(help="A half year, as in `2026h2`; the newest.")]


class Shown(StrEnum):
    """What `checkpoint` prints of the log's keys."""

    KEY = "key"
    MLDSA = "mldsa"
    CHANGES = "changes"


@app.command("tail")
def tail_log(
    lines: Annotated[int, typer.Option("-n", min=1, max=10_000, help="How many entries.")] = 20,
    after: Annotated[int | None, typer.Option(help="Entries after this number.")] = None,
    as_json: Json = False,
) -> None:
    """Print the end of the decision log, oldest first."""
    from gateway.audit.queries import tail

    for entry in with_database(read_settings(), lambda database: tail(database, lines, after)):
        typer.echo(json.dumps(entry) if as_json else entry_line(entry))


@app.command("show")
def show_entry(
    id: Annotated[str, typer.Argument(help="An entry's, a decision's or a request's id.")],
    content: Annotated[
        bool, typer.Option("--content", help="Open what was said; this is recorded.")
    ] = False,
    reason: Annotated[str | None, typer.Option(help="Why it is opened.")] = None,
    operator: Operator = None,
    as_json: Json = False,
) -> None:
    """Print what the log holds about one entry, decision or request, or what was said."""
    from gateway.audit.queries import show

    if content:
        if not reason:
            fail("say why it is opened: --reason", WRONG_USAGE)
        show_content(id, reason, operator, as_json=as_json)
        return
    entries = with_database(read_settings(), lambda database: show(database, id))
    if not entries:
        fail(f"there is nothing in the log about `{id}`", NO)
    for entry in entries:
        typer.echo(json.dumps(entry) if as_json else json.dumps(entry, indent=2))


@app.command("verify")
def verify_bundle(  # noqa: PLR0913 - the options of a command
    bundle: Annotated[Path, typer.Argument(help="What `export` or `proof` wrote.")],
    key: Annotated[str, typer.Option(help="The log's verifier key, or a file with it.")],
    since: Annotated[
        Path | None, typer.Option(help="A checkpoint that you were given earlier.")
    ] = None,
    mldsa_key: Annotated[
        str | None,
        typer.Option(help="The log's ML-DSA-44 key, or a file: it must have signed too."),
    ] = None,
    witness_key: Annotated[
        list[str] | None,
        typer.Option(help="A witness's key, or a file: it must have cosigned --since; repeatable."),
    ] = None,
    processes: Annotated[int | None, typer.Option(min=1, help="One per core by default.")] = None,
    as_json: Json = False,
) -> None:
    """Verify a bundle or a proof. Status 0 intact, 1 tampered, 2 nothing can be said."""
    from gateway.audit.verify_main import Also, checked, in_words

    also = Also(mldsa_key, witness_key or ())
    with progress_bar("verifying") as progress:
        status, answer = checked(bundle, key, since, processes, progress, also)
    if isinstance(answer, str):
        fail(answer, status)
    typer.echo(json.dumps(answer.document()) if as_json else in_words(answer))
    raise typer.Exit(status)


@app.command("verifier")
def write_verifier(out: Out = None, as_json: Json = False) -> None:
    """Write the verifier as one file that needs Python and `cryptography` only."""
    from gateway.audit.verifier import single_file

    name = out.name if out else "ostiary_verify.py"
    with _answered():
        source = single_file(name)
        if out or not as_json:
            _put(source, out)
    if as_json:
        digest = sha256(source.encode()).hexdigest()
        where = {"file": str(out)} if out else {"source": source}
        typer.echo(json.dumps({"name": name, "sha256": digest, **where}))


@app.command("proof")
def prove_entry(
    id: Annotated[str, typer.Argument(help="An entry's or a decision's id.")],
    out: Out = None,
    as_json: Json = False,
) -> None:
    """Print the proof that one entry is in the log; `verify` takes it."""
    from gateway.audit.export import proof

    made = with_database(read_settings(), lambda database: proof(database, id))
    with _answered():
        if out or not as_json:
            _put(json.dumps(made, indent=1, ensure_ascii=False) + "\n", out)
    if as_json:
        typer.echo(json.dumps({"file": str(out), "index": made["index"]} if out else made))


@app.command("checkpoint")
def print_checkpoint(  # noqa: PLR0913 - the options of a command
    key: Annotated[bool, typer.Option("--key", help="Print the verifier key instead.")] = False,
    mldsa_key: Annotated[
        bool, typer.Option("--mldsa-key", help="Print the ML-DSA-44 key instead.")
    ] = False,
    key_changes: Annotated[
        bool, typer.Option("--key-changes", help="Print instead how the key changed, signed.")
    ] = False,
    since: Annotated[
        int | None,
        typer.Option("--from", min=0, help="With the proof from this size, for a witness."),
    ] = None,
    witnessed: Annotated[
        bool, typer.Option("--witnessed", help="The last one that a witness cosigned.")
    ] = False,
    shard: Shard = None,
    as_json: Json = False,
) -> None:
    """Print the log's last signed checkpoint: hand it to your auditor."""
    if key or mldsa_key or key_changes:
        shown = Shown.KEY if key else Shown.MLDSA if mldsa_key else Shown.CHANGES
        _print_key(shown, as_json=as_json)
        return
    from gateway.audit.export import growth, signed_tree
    from gateway.audit.witnesses import cosigned_checkpoint

    async def ask(database: Database) -> tuple[bytes, list[str] | None]:
        if witnessed:
            return await cosigned_checkpoint(database, shard), None
        tree = await signed_tree(database, shard)
        proof = await growth(database, tree, since) if since is not None else None
        return tree.checkpoint or b"", proof

    note, proof = with_database(read_settings(), ask)
    if as_json:
        _tell_checkpoint(note, proof)
    elif proof is None:
        typer.echo(note.decode(), nl=False)
    else:
        typer.echo("\n".join([f"old {since}", *proof, "", note.decode()]), nl=False)


def _tell_checkpoint(note: bytes, proof: list[str] | None) -> None:
    from gateway.audit.checkpoint import hash_text, parse_checkpoint
    from gateway.notes import parse_note

    head = parse_checkpoint(parse_note(note).text)
    document = {"origin": head.origin, "size": head.size, "root": hash_text(head.root)}
    typer.echo(json.dumps({**document, "note": note.decode(), "proof": proof}))


def _print_key(shown: Shown, *, as_json: bool) -> None:
    from gateway.audit.key_rotation import KeysInForce, keys_in_force
    from gateway.audit.log_key import open_log_keys

    settings = read_settings()

    async def ask(database: Database) -> KeysInForce:
        return await keys_in_force(database, open_log_keys(settings))

    with answered():
        found = with_database(settings, ask)
    if as_json:
        typer.echo(json.dumps(found._asdict()))
    elif shown is Shown.CHANGES:
        typer.echo(json.dumps(found.key_changes, indent=1, ensure_ascii=False))
    elif shown is Shown.MLDSA and found.mldsa_key is None:
        fail("checkpoints are not signed with ML-DSA-44: OSTIARY_LOG_MLDSA", NO)
    else:
        typer.echo(found.mldsa_key if shown is Shown.MLDSA else found.key)


def _put(text: str, out: Path | None) -> None:
    if out is None:
        typer.echo(text, nl=False)
    else:
        out.write_text(text, encoding="utf-8")


@contextmanager
def _answered() -> Iterator[None]:
    """End with what went wrong: 1 where the answer is no, 2 where a file cannot be used."""
    from gateway.notes import NoteError

    try:
        yield
    except NoteError as error:
        fail(str(error), NO)
    except ValueError as error:
        fail(str(error), WRONG_USAGE)
    except OSError as error:
        fail(f"{error.filename}: {(error.strerror or 'it cannot be used').lower()}", WRONG_USAGE)
