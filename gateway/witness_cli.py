"""`ostiary audit witness`: the auditor's second pair of eyes. Needs no settings and no database."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gateway.terminal import NO, Json, answered, fail, say

if TYPE_CHECKING:
    from gateway.audit.witness import Witness
    from gateway.notes import SigningKey

app = typer.Typer(help="Cosign checkpoints of logs that only grow.", no_args_is_help=True)

Key = Annotated[Path, typer.Option(help="Your private key, made by `policy keygen`.")]
LogKeys = Annotated[
    list[str], typer.Option("--log-key", help="A log's verifier key, or a file; repeatable.")
]
State = Annotated[Path, typer.Option(help="Where you keep what you saw.")]
Changes = Annotated[
    Path | None,
    typer.Option(help="What `audit checkpoint --key-changes` printed: how the keys changed."),
]


@app.command("cosign")
def cosign_checkpoint(  # noqa: PLR0913 - the options of a command
    request: Annotated[
        Path, typer.Argument(help="What `checkpoint --from SIZE` printed; `-` is stdin.")
    ],
    key: Key,
    log_key: LogKeys,
    state: State,
    key_changes: Changes = None,
    out: Annotated[Path | None, typer.Option(help="Into this file instead of stdout.")] = None,
    as_json: Json = False,
) -> None:
    """Cosign a checkpoint that extends all you saw of its log. Status 1 if it does not."""
    from gateway.audit.checkpoint import hash_text, parse_checkpoint
    from gateway.audit.cosignature import witness_key
    from gateway.audit.witness import WitnessError, parse_request

    with answered():
        content = sys.stdin.buffer.read() if str(request) == "-" else request.read_bytes()
        signer, witness = _witness(key, log_key, state, key_changes)
        try:
            note = asyncio.run(witness.add(parse_request(content), int(time.time())))
        except WitnessError as error:
            fail(str(error), NO)
        text = note.encode().decode()
        if out is not None:
            out.write_text(text, encoding="utf-8")
    if as_json:
        head = parse_checkpoint(note.text)
        document = {"origin": head.origin, "size": head.size, "root": hash_text(head.root)}
        document |= {"witness": str(witness_key(signer)), "note": text}
        typer.echo(json.dumps(document))
        return
    if out is None:
        typer.echo(text, nl=False)
    say(f"cosigned; others verify it with {witness_key(signer)}")


@app.command("serve")
def serve_witness(
    key: Key,
    log_key: LogKeys,
    state: State,
    key_changes: Changes = None,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port to listen on.")] = 8090,
) -> None:
    """Cosign over HTTP what logs send: `POST /add-checkpoint` (c2sp.org/tlog-witness)."""
    import uvicorn

    from gateway.audit.cosignature import witness_key
    from gateway.audit.witness_service import create_witness

    with answered():
        signer, witness = _witness(key, log_key, state, key_changes)
    say(f"{witness_key(signer)}")
    uvicorn.run(create_witness(witness), host=host, port=port, log_level="warning")


def _witness(
    key: Path, log_keys: list[str], state: Path, changes: Path | None
) -> tuple[SigningKey, Witness]:
    from gateway.audit.log_key import read_key
    from gateway.audit.succession import parse_succession
    from gateway.audit.verify_main import read_verifier_key
    from gateway.audit.witness import Witness

    notes = json.loads(changes.read_text(encoding="utf-8")) if changes else []
    if not isinstance(notes, list) or not all(isinstance(note, str) for note in notes):
        raise ValueError(f"`{changes}` must be a JSON list of signed notes")
    signer, logs = read_key(key), [read_verifier_key(each) for each in log_keys]
    return signer, Witness(signer, logs, state, [parse_succession(note.encode()) for note in notes])
