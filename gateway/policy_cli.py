"""`ostiary policy`: usage policy files, from the first look to the last rollback.

Exit status: 0 the answer is yes, 1 the answer is no, 2 wrong usage. Everything that
takes time to import is imported when a command runs.
"""

from __future__ import annotations

import json
import sys
from typing import Annotated

import typer

from gateway.terminal import NO, WRONG_USAGE, Json, fail, of_policy

PolicyFile = Annotated[str, typer.Argument(help="A policy file, or a built-in policy's name.")]

app = typer.Typer(help="Usage policy files.", no_args_is_help=True)


@app.command("lint")
def lint_policy(file: PolicyFile, as_json: Json = False) -> None:
    """Look for mistakes. Exit status 1 if the policy cannot be used."""
    from gateway.policy_commands import lint

    findings, usable = lint(file)
    for finding in findings:
        typer.echo(json.dumps(finding) if as_json else f"{finding['where']}: {finding['message']}")
    if not usable:
        raise typer.Exit(NO)
    if not findings and not as_json:
        typer.echo(f"{file}: no findings")


@app.command("test")
def run_policy_tests(file: PolicyFile, as_json: Json = False) -> None:
    """Run the tests in the file, text ones with the real classifiers."""
    from gateway.policy_commands import run_tests

    outcomes = of_policy(run_tests(file))
    failed = 0
    for outcome in outcomes:
        failed += not outcome["passed"]
        if as_json:
            typer.echo(json.dumps(outcome))
        elif not outcome["passed"]:
            typer.echo(f"{outcome['where']}: {outcome['message']}")
    if not as_json:
        typer.echo(f"{len(outcomes) - failed} passed, {failed} failed")
    if failed:
        raise typer.Exit(NO)


@app.command("explain")
def explain_policy(
    file: PolicyFile,
    text: Annotated[str, typer.Option(help="The text to judge; `-` reads standard input.")],
    stage: Annotated[str, typer.Option(help="Where it stands.")] = "input",
    as_json: Json = False,
) -> None:
    """Show how a text would be decided: each rule, what it saw, which one determined."""
    from gateway.policy_commands import explain
    from policies.types import Stage

    if stage not in set(Stage):
        fail(f"`{stage}` is not one of {', '.join(Stage)}", WRONG_USAGE)
    read = sys.stdin.read() if text == "-" else text
    lines, decision = of_policy(explain(file, Stage(stage), read))
    typer.echo(json.dumps(decision) if as_json else "\n".join(lines))
    if decision["action"] in {"block", "review"}:
        raise typer.Exit(NO)
