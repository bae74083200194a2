"""`ostiary policy import-pack`: a judge's written policy with labelled examples, as ours.

It stands in the group of `gateway.policy_cli`.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from gateway.terminal import WRONG_USAGE, Json, answered, fail, say

Folder = Annotated[Path, typer.Argument(help="A folder with `policy.md` and one labelled CSV.")]
Out = Annotated[Path, typer.Option(help="Where to put what it becomes.")]
Name = Annotated[str | None, typer.Option(help="What to call it; the folder's name otherwise.")]
Judge = Annotated[str, typer.Option(help="What rules call the judge that reads it.")]

app = typer.Typer()


@app.command("import-pack")
def import_pack(
    folder: Folder,
    out: Out = Path(),
    name: Name = None,
    judge: Judge = "safeguard",
    as_json: Json = False,
) -> None:
    """Make a policy, a written policy and a labelled set of a gpt-oss-safeguard pack."""
    from gateway.policy_packs import read_pack

    with answered():
        try:
            imported = read_pack(folder, out, name, judge)
        except ValueError as error:
            fail(str(error), WRONG_USAGE)
        imported.write()
    files = [str(path) for path in imported.files]
    if as_json:
        facts = {"name": imported.name, "category": imported.category, "files": files}
        typer.echo(json.dumps({**facts, "examples": imported.examples}))
        return
    for file in files:
        typer.echo(file)
    say(
        f'add "{imported.name}.md" to the policies of the judge `{judge}` in your judges file, '
        f"then: ostiary policy test {out / imported.name}.yaml"
    )
