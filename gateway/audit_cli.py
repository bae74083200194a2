"""`ostiary audit`: read the decision log, prove it, and verify what was proved.

`verify`, `verifier` and `witness` are the auditor's: they need no settings and no database.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
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
    entry_line,
    fail,
    progress_bar,
    read_settings,
    say,
    with_database,
)

if TYPE_CHECKING:
    from gateway.store.session import Database

app = typer.Typer(help="The decision log.", no_args_is_help=True)

Out = Annotated[Path | None, typer.Option(help="Into this file instead of stdout.")]
Shard = Annotated[str | None, typer.Option(help="A half year, as in `2026h2`; the newest.")]


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
def verify_bundle(
    bundle: Annotated[Path, typer.Argument(help="What `export` or `proof` wrote.")],
    key: Annotated[str, typer.Option(help="The log's verifier key, or a file with it.")],
    since: Annotated[
        Path | None, typer.Option(help="A checkpoint that you were given earlier.")
    ] = None,
    processes: Annotated[int | None, typer.Option(min=1, help="One per core by default.")] = None,
    as_json: Json = False,
) -> None:
    """Verify a bundle or a proof. Status 0 intact, 1 tampered, 2 nothing can be said."""
    from gateway.audit.verify_main import checked, in_words

    with progress_bar("verifying") as progress:
        status, answer = checked(bundle, key, since, processes, progress)
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
def print_checkpoint(
    key: Annotated[bool, typer.Option("--key", help="Print the verifier key instead.")] = False,
    since: Annotated[
        int | None,
        typer.Option("--from", min=0, help="With the proof from this size, for a witness."),
    ] = None,
    shard: Shard = None,
    as_json: Json = False,
) -> None:
    """Print the log's last signed checkpoint: hand it to your auditor."""
    if key:
        _print_key(as_json=as_json)
        return
    from gateway.audit.checkpoint import hash_text, parse_checkpoint
    from gateway.audit.export import growth, signed_tree
    from gateway.notes import parse_note

    async def ask(database: Database) -> tuple[bytes, list[str] | None]:
        tree = await signed_tree(database, shard)
        proof = await growth(database, tree, since) if since is not None else None
        return tree.checkpoint or b"", proof

    note, proof = with_database(read_settings(), ask)
    if as_json:
        head = parse_checkpoint(parse_note(note).text)
        document = {"origin": head.origin, "size": head.size, "root": hash_text(head.root)}
        typer.echo(json.dumps({**document, "note": note.decode(), "proof": proof}))
    elif proof is None:
        typer.echo(note.decode(), nl=False)
    else:
        typer.echo("\n".join([f"old {since}", *proof, "", note.decode()]), nl=False)


@app.command("witness")
def cosign_checkpoint(
    request: Annotated[
        Path, typer.Argument(help="What `checkpoint --from SIZE` printed; `-` is stdin.")
    ],
    key: Annotated[Path, typer.Option(help="Your private key, made by `policy keygen`.")],
    log_key: Annotated[str, typer.Option(help="The log's verifier key, or a file with it.")],
    state: Annotated[Path, typer.Option(help="Where you keep what you saw.")],
    out: Out = None,
    as_json: Json = False,
) -> None:
    """Cosign a checkpoint that extends all you saw of this log. Status 1 if it does not."""
    from gateway.audit.checkpoint import hash_text, parse_checkpoint
    from gateway.audit.cosignature import witness_key
    from gateway.audit.log_key import read_key
    from gateway.audit.verify_main import read_verifier_key
    from gateway.audit.witness import Witness, parse_request

    with _answered():
        content = sys.stdin.buffer.read() if str(request) == "-" else request.read_bytes()
        signer = read_key(key)
        witness = Witness(signer, [read_verifier_key(log_key)], state)
        note = asyncio.run(witness.add(parse_request(content), int(time.time())))
        text = note.encode().decode()
        if out or not as_json:
            _put(text, out)
    if as_json:
        head = parse_checkpoint(note.text)
        document = {"origin": head.origin, "size": head.size, "root": hash_text(head.root)}
        document |= {"witness": str(witness_key(signer)), "note": text}
        typer.echo(json.dumps(document))
        return
    say(f"cosigned; others verify it with {witness_key(signer)}")


def _print_key(*, as_json: bool) -> None:
    from gateway.audit.log_key import read_or_create_key

    with _answered():
        verifier = str(read_or_create_key(read_settings().resolved_log_key).verifier)
    typer.echo(json.dumps({"key": verifier}) if as_json else verifier)


def _put(text: str, out: Path | None) -> None:
    if out is None:
        typer.echo(text, nl=False)
    else:
        out.write_text(text, encoding="utf-8")


@contextmanager
def _answered() -> Iterator[None]:
    """End with what went wrong: 1 where the answer is no, 2 where a file cannot be used."""
    from gateway.audit.witness import WitnessError
    from gateway.notes import NoteError

    try:
        yield
    except (WitnessError, NoteError) as error:
        fail(str(error), NO)
    except ValueError as error:
        fail(str(error), WRONG_USAGE)
    except OSError as error:
        fail(f"{error.filename}: {(error.strerror or 'it cannot be used').lower()}", WRONG_USAGE)
