"""`ostiary policy keygen | sign | verify`, and the steps of a version's life.

They stand in the group of `gateway.policy_cli`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from gateway.policy_cli import PolicyFile
from gateway.terminal import NO, WRONG_USAGE, Json, fail, read_settings, say

NoteFile = Annotated[
    Path | None, typer.Option("--sig", help="The note of signatures; FILE.sig by default.")
]

app = typer.Typer()


@app.command("keygen")
def generate_key(
    name: Annotated[str, typer.Argument(help="Who signs with it, as in `example.com/alice`.")],
    out: Annotated[Path | None, typer.Option(help="Where the private key goes.")] = None,
) -> None:
    """Make a key to sign policies with; prints the verifier key, which is not secret."""
    from gateway.policy_signing import make_key

    path = out or Path(f"{name.replace('/', '_')}.key")
    with _answered():
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
    with _answered():
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
    with _answered():
        wanted = signatures or settings.policy_signatures
        signers = verify_policy(file, _note_file(file, sig), trusted, wanted)
    if as_json:
        typer.echo(json.dumps({"file": file, "signers": list(signers)}))
    else:
        typer.echo(f"{file}: signed by {', '.join(signers)}")


def _note_file(source: str, given: Path | None) -> Path:
    return given or Path(f"{source}.sig")


@contextmanager
def _answered() -> Iterator[None]:
    """End with what went wrong: 1 where the answer is no, 2 where a file is missing."""
    from gateway.notes import NoteError
    from policies.load import PolicyError

    try:
        yield
    except PolicyError as error:
        fail("\n".join(error.lines()), NO)
    except NoteError as error:
        fail(str(error), NO)
    except ValueError as error:
        fail(str(error), WRONG_USAGE)
    except OSError as error:
        fail(f"{error.filename}: {(error.strerror or 'it cannot be used').lower()}", WRONG_USAGE)
