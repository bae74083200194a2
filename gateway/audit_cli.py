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
    read_settings,
    say,
    with_database,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from gateway.store.session import Database

    Progress = Callable[[int, int], None]

app = typer.Typer(help="The decision log.", no_args_is_help=True)

Out = Annotated[Path | None, typer.Option(help="Into this file instead of stdout.")]
Shard = Annotated[str | None, typer.Option(help="A half year, as in `2026h2`; the newest.")]
Moment = Annotated[str | None, typer.Option(help="ISO 8601, with a time zone; a day is UTC.")]


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

    with _bar("verifying") as progress:
        status, answer = checked(bundle, key, since, processes, progress)
    if isinstance(answer, str):
        fail(answer, status)
    typer.echo(json.dumps(answer.document()) if as_json else in_words(answer))
    raise typer.Exit(status)


@app.command("verifier")
def write_verifier(out: Out = None) -> None:
    """Write the verifier as one file that needs Python and `cryptography` only."""
    from gateway.audit.verifier import single_file

    with _answered():
        _put(single_file(out.name if out else "ostiary_verify.py"), out)


@app.command("proof")
def prove_entry(
    id: Annotated[str, typer.Argument(help="An entry's or a decision's id.")], out: Out = None
) -> None:
    """Print the proof that one entry is in the log; `verify` takes it."""
    from gateway.audit.export import proof

    made = with_database(read_settings(), lambda database: proof(database, id))
    with _answered():
        _put(json.dumps(made, indent=1, ensure_ascii=False) + "\n", out)


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


@app.command("export")
def export_log(
    out: Annotated[Path, typer.Option(help="The bundle; `verify` takes it.")],
    since: Moment = None,
    until: Moment = None,
    shard: Shard = None,
    operator: Operator = None,
    as_json: Json = False,
) -> None:
    """Write a bundle for an auditor: entries, their hashes and a signed checkpoint."""
    from gateway.audit.access import note_export
    from gateway.audit.export import Exported, Stretch, export
    from gateway.policy_lifecycle import operator as actor

    what = Stretch(shard, _moment(since), _moment(until))
    settings = read_settings()

    async def ask(database: Database) -> Exported:
        await note_export(database, what, actor=actor(operator).id)
        return await export(database, what, out, progress)

    with _answered(), _bar("exporting") as progress:
        done = with_database(settings, ask)
    if as_json:
        document = {"file": str(out), "shard": done.shard, "first": done.first}
        typer.echo(json.dumps({**document, "entries": done.count, "size": done.size}))
        return
    last = done.first + done.count - 1
    typer.echo(f"{out}: entries {done.first} to {last} of {done.size} in {done.shard}")


@app.command("witness")
def cosign_checkpoint(
    request: Annotated[
        Path, typer.Argument(help="What `checkpoint --from SIZE` printed; `-` is stdin.")
    ],
    key: Annotated[Path, typer.Option(help="Your private key, made by `policy keygen`.")],
    log_key: Annotated[str, typer.Option(help="The log's verifier key, or a file with it.")],
    state: Annotated[Path, typer.Option(help="Where you keep what you saw.")],
    out: Out = None,
) -> None:
    """Cosign a checkpoint that extends all you saw of this log. Status 1 if it does not."""
    from gateway.audit.cosignature import witness_key
    from gateway.audit.log_key import read_key
    from gateway.audit.verify_main import read_verifier_key
    from gateway.audit.witness import Witness, parse_request

    with _answered():
        content = sys.stdin.buffer.read() if str(request) == "-" else request.read_bytes()
        signer = read_key(key)
        witness = Witness(signer, [read_verifier_key(log_key)], state)
        note = asyncio.run(witness.add(parse_request(content), int(time.time())))
        _put(note.encode().decode(), out)
    say(f"cosigned; others verify it with {witness_key(signer)}")


def _print_key(*, as_json: bool) -> None:
    from gateway.audit.log_key import read_or_create_key

    with _answered():
        verifier = str(read_or_create_key(read_settings().resolved_log_key).verifier)
    typer.echo(json.dumps({"key": verifier}) if as_json else verifier)


def _moment(text: str | None) -> str | None:
    if text is None:
        return None
    from datetime import UTC, datetime

    from gateway.store.times import as_text

    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        fail(f"`{text}` is no moment in ISO 8601, as in `2026-07-01` or `2026-07-01T12:00Z`", 2)
    return as_text(moment if moment.tzinfo else moment.replace(tzinfo=UTC))


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


@contextmanager
def _bar(what: str) -> Iterator[Progress]:
    """Show a progress bar on a terminal, on standard error; say nothing elsewhere."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

    console = Console(stderr=True)
    columns = (what, BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal) as bar:
        task = bar.add_task(what)
        yield lambda done, total: bar.update(task, completed=done, total=total)
