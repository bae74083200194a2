"""`ostiary policy new | fmt | diff | lock | schema`: what an author needs beside an editor.

They stand in the group of `gateway.policy_cli`.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from gateway.policy_cli import PolicyFile
from gateway.terminal import NO, Json, answered, indented, say

Check = Annotated[bool, typer.Option("--check", help="Change nothing; status 1 if it would.")]

OWNER = "trust-and-safety@acme.example"

app = typer.Typer()


@app.command("new")
def start_policy(
    file: Annotated[
        Path | None, typer.Argument(help="Where to; standard output by default.")
    ] = None,
    id: Annotated[str, typer.Option(help="Its id: stable, in lower case.")] = "acme",
    owner: Annotated[str, typer.Option(help="Who is asked about it.")] = OWNER,
    include: Annotated[
        list[str] | None, typer.Option(help="A shipped policy whose rules hold too; repeatable.")
    ] = None,
) -> None:
    """Write a commented policy to start from."""
    from gateway.policy_authoring import starter

    with answered():
        text = starter(id, owner, include or [])
        if file is None:
            typer.echo(text, nl=False)
            return
        with file.open("x", encoding="utf-8") as opened:  # what is there is somebody's work
            opened.write(text)
    say(f"next: ostiary policy {'lock' if include else 'lint'} {file}")


@app.command("fmt")
def format_file(
    file: PolicyFile,
    check: Check = False,
    write: Annotated[bool, typer.Option("--write", help="Change the file.")] = False,
) -> None:
    """Print a policy file in its canonical layout; its meaning and its comments stay."""
    from gateway.policy_authoring import lay_out

    with answered():
        layout = lay_out(file)
        changed = layout.after != layout.before
        if write and changed and not check:
            layout.write()
    if write or check:
        typer.echo(f"{layout.path}: {_laid_out(changed, check=check)}")
    else:
        typer.echo(layout.after, nl=False)
    if check and changed:
        raise typer.Exit(NO)


def _laid_out(changed: bool, *, check: bool) -> str:
    if not changed:
        return "nothing to change"
    return "would be changed" if check else "changed"


@app.command("diff")
def compare_policies(before: PolicyFile, after: PolicyFile, as_json: Json = False) -> None:
    """Say whether the second policy is TIGHTER, LOOSER, EQUAL or INCOMPARABLE, and where.

    Exit status 1 if there is a case in which it decides on less.
    """
    from gateway import policy_comparison
    from policies.compare import Relation

    with answered():
        one, other, comparison = policy_comparison.diff(before, after)
    if as_json:
        typer.echo(json.dumps(policy_comparison.as_json(one, other, comparison)))
    else:
        for line in policy_comparison.headline(one, other, comparison):
            typer.echo(line)
        for first, *cases in policy_comparison.paragraphs(comparison):
            typer.echo(f"\n{first}")
            for case in cases:
                indented(case)
    if comparison.relation in {Relation.LOOSER, Relation.INCOMPARABLE}:
        raise typer.Exit(NO)


@app.command("lock")
def lock_includes(file: PolicyFile, check: Check = False, as_json: Json = False) -> None:
    """Write which digest of each include is meant into `policy.lock` beside the file."""
    from gateway.policy_authoring import resolve_lock

    with answered():
        locking = resolve_lock(file)
        if locking.changes and not check:
            locking.write()
    if as_json:
        typer.echo(json.dumps({"lock": str(locking.path), "changes": locking.changes}))
    else:
        for change in locking.changes:
            typer.echo(change)
        if not locking.changes:
            typer.echo(f"{locking.path}: nothing to change")
    if locking.changes and check:
        raise typer.Exit(NO)


@app.command("schema")
def print_schema() -> None:
    """Print the JSON Schema of policy files, for editors."""
    from policies.schema import json_schema

    typer.echo(json.dumps(json_schema(), indent=2))
