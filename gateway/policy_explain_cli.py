"""`ostiary policy explain`: why a text would be decided so, or why a decision was taken.

It stands in the group of `gateway.policy_cli`.
"""

from __future__ import annotations

import json
import sys
from dataclasses import fields, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gateway.terminal import (
    NO,
    WRONG_USAGE,
    Json,
    fail,
    of_policy,
    read_settings,
    shown,
    with_database,
)

if TYPE_CHECKING:
    from gateway.policy_explaining import Question, Reasons
    from policies.circumstances import Circumstances
    from policies.explain import Account

File = Annotated[str | None, typer.Argument(help="A policy file, or a built-in policy's name.")]
Text = Annotated[str | None, typer.Option(help="The text to judge; `-` reads standard input.")]
Recorded = Annotated[str | None, typer.Option(help="A recorded decision instead, `dec_...`.")]
At = Annotated[str | None, typer.Option(help="When, as in `2026-12-01T00:00:00Z`; now.")]
Project = Annotated[str | None, typer.Option(help="Whose request it is.")]
Tier = Annotated[str | None, typer.Option(help="The project's plan.")]
AgeGroup = Annotated[str | None, typer.Option(help="The end user's: minor, adult or unknown.")]
Model = Annotated[str | None, typer.Option(help="The model that is asked.")]
Endpoint = Annotated[str | None, typer.Option(help="responses, chat or moderations.")]
Locale = Annotated[str | None, typer.Option(help="The end user's, as in `de-AT`.")]
Tools = Annotated[list[str] | None, typer.Option(help="A function that may be called; repeatable.")]
Access = Annotated[list[str] | None, typer.Option(help="An access program; repeatable.")]
Stream = Annotated[bool, typer.Option(help="Whether the reply is read as a stream.")]
Strikes = Annotated[int, typer.Option(min=0, help="How many strikes count now.")]
Happened = Annotated[
    str | None,
    typer.Option("--given", help="JSON: `call`, `trajectory`, `secrets`, as in a test."),
]
EndUser = Annotated[str | None, typer.Option(help="Who, for the draw of canaries.")]

app = typer.Typer()


@app.command("explain")
def explain_policy(  # noqa: PLR0913 - the options of a command
    context: typer.Context,
    file: File = None,
    text: Text = None,
    decision: Recorded = None,
    stage: Annotated[str, typer.Option(help="Where the text stands.")] = "input",
    project: Project = None,  # from here on read by way of the context
    tier: Tier = None,
    age_group: AgeGroup = None,
    model: Model = None,
    endpoint: Endpoint = None,
    locale: Locale = None,
    tool: Tools = None,
    access: Access = None,
    stream: Stream = False,
    strikes: Strikes = 0,
    end_user: EndUser = None,
    happened: Happened = None,
    at: At = None,
    as_json: Json = False,
) -> None:
    """Show why a text would be decided so: each rule, what it saw, which one determined.

    Exit status 1 if it would be held back, or was.
    """
    if (text is None) == (decision is None):
        fail("say what to explain: --text TEXT, or --decision dec_...", WRONG_USAGE)
    if decision is not None:
        _show(_recorded(decision, file), [], as_json=as_json)
        return
    if file is None or text is None:
        fail("say by which policy: a file, or a built-in policy's name", WRONG_USAGE)
    question = _question(text, stage, happened, _circumstances(context.params), at)
    account, reasons = _judged(file, question)
    _show(account, reasons, as_json=as_json)


def _circumstances(said: dict[str, Any]) -> Circumstances:
    from policies.circumstances import ANYBODY, AgeGroup

    given = {**said, "tools": tuple(said["tool"] or ()), "access": frozenset(said["access"] or ())}
    names = {field.name for field in fields(ANYBODY)}
    known = {name: value for name, value in given.items() if name in names and value is not None}
    for name, words in (
        ("age_group", [each.value for each in AgeGroup]),
        ("endpoint", ["responses", "chat", "moderations"]),
    ):
        if known.get(name, words[0]) not in words:
            fail(f"`{known[name]}` is not one of {', '.join(words)}", WRONG_USAGE)
    if "age_group" in known:
        known["age_group"] = AgeGroup(known["age_group"])
    return replace(ANYBODY, **known)


def _question(
    text: str, stage: str, happened: str | None, given: Circumstances, at: str | None
) -> Question:
    from gateway.policy_explaining import Question
    from policies.compile import moment, past_of, secrets_of
    from policies.labelled import given_of
    from policies.types import Stage

    if stage not in set(Stage):
        fail(f"`{stage}` is not one of {', '.join(Stage)}", WRONG_USAGE)
    try:
        when = moment(at) or datetime.now(UTC)
    except ValueError:
        fail(f"there is no moment `{at}`", WRONG_USAGE)
    read = sys.stdin.read() if text == "-" else text
    try:
        more = given_of(happened or "", stage, read) if happened else None
    except ValueError as error:
        fail(str(error), WRONG_USAGE)
    if more is None:
        return Question(read, Stage(stage), given, when)
    return Question(read, Stage(stage), given, when, past_of(more), secrets_of(more))


def _judged(file: str, question: Question) -> tuple[Account, Reasons]:
    from gateway.policy_explaining import explain_text

    return of_policy(explain_text(file, question))


def _recorded(decision: str, file: str | None) -> Account:
    from gateway.policy_explaining import explain_decision
    from policies.load import PolicyError

    try:
        return with_database(read_settings(), lambda db: explain_decision(db, decision, file))
    except PolicyError as error:
        fail("\n".join(error.lines()), NO)
    except ValueError as error:
        fail(str(error), NO)


def _show(account: Account, reasons: Reasons, *, as_json: bool) -> None:
    from rich.console import Console

    from gateway.policy_drawing import draw
    from gateway.policy_explaining import as_json as in_json
    from policies.explain import lines

    console = Console(highlight=False)
    if as_json:
        typer.echo(json.dumps(in_json(account, reasons)))
    elif console.is_terminal:
        draw(account, console)
    else:
        typer.echo("\n".join(lines(account)))
    if not as_json:
        for each in reasons:
            reason = shown(f"{each['classifier']} on {each['category']}: {each['rationale']}")
            typer.echo(f"  {reason}")
    if not account.decision.released:
        raise typer.Exit(NO)
