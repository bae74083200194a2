"""`ostiary policy`: usage policy files, from the first look to the last rollback.

Exit status: 0 the answer is yes, 1 the answer is no, 2 wrong usage. Everything that
takes time to import is imported when a command runs.
"""

from __future__ import annotations

import json
from typing import Annotated

import typer

from gateway.terminal import NO, Json, of_policy

PolicyFile = Annotated[str, typer.Argument(help="A policy file, or a built-in policy's name.")]

PolicyFiles = Annotated[
    list[str], typer.Argument(help="Policy files, built-in policies' names, or folders of files.")
]

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
def run_policy_tests(files: PolicyFiles, as_json: Json = False) -> None:
    """Run the tests in the files, and measure what they find in their labelled sets.

    Texts are judged by the real classifiers. Exit status 1 if a test fails or a floor is missed.
    """
    from gateway.policy_examples import examine, table

    examined = of_policy(examine(files))
    for each in examined:
        if as_json:
            for row in (*each.tests, *each.measures):
                typer.echo(json.dumps(row))
            continue
        failed = [test for test in each.tests if not test["passed"]]
        for test in failed:
            typer.echo(f"{test['where']}: {test['message']}")
        passed = f"{len(each.tests) - len(failed)} passed, {len(failed)} failed"
        typer.echo(f"{each.policy} {each.version}: {passed}")
        for line in (*table(each), *each.missed):
            typer.echo(line)
    if not all(each.passed for each in examined):
        raise typer.Exit(NO)
