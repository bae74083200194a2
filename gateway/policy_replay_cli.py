"""`ostiary policy replay`: what recorded traffic would have met under another policy.

It stands in the group of `gateway.policy_cli`.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gateway.policy_cli import PolicyFile
from gateway.terminal import NO, WRONG_USAGE, Json, answered, fail, read_settings, say

if TYPE_CHECKING:
    from gateway.replaying import Tally
    from policies.types import Policy

Moment = Annotated[
    datetime | None, typer.Option(formats=["%Y-%m-%d", "%Y-%m-%dT%H:%M:%SZ"], help="In UTC.")
]

app = typer.Typer()


@app.command("replay")
def replay_policy(  # noqa: PLR0913 - the options of a command
    file: PolicyFile,
    since: Moment = None,
    until: Moment = None,
    project: Annotated[str | None, typer.Option(help="Only this project's.")] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Only the newest so many.")] = None,
    source: Annotated[
        Path | None, typer.Option("--from", help="Lines of the log instead, as JSON.")
    ] = None,
    max_flips: Annotated[
        int | None, typer.Option(min=0, help="Status 1 if more decisions flip.")
    ] = None,
    show: Annotated[int, typer.Option(min=0, max=1000, help="How many flips to list.")] = 20,
    as_json: Json = False,
) -> None:
    """Decide recorded traffic again, from stored scores, and say what flips."""
    from gateway.policy_replay import replay
    from gateway.store.recorded import Wanted

    wanted = Wanted(_text(since), _text(until), project, limit)
    with answered():
        if source is not None and (limit and (since or until or project)):
            fail("with --from, --limit stands alone", WRONG_USAGE)
        url = read_settings().resolved_database_url
        policy, tally = replay(file, wanted, url, source)
    if as_json:
        for flip in tally.flips[:show]:
            typer.echo(json.dumps({"type": "flip", **asdict(flip)}))
        typer.echo(json.dumps({"type": "summary", **_summary(policy, tally)}))
    else:
        _print(policy, tally, show)
    if max_flips is not None and tally.flipped() > max_flips:
        raise typer.Exit(NO)


def _text(moment: datetime | None) -> str | None:
    from gateway.store.times import as_text

    return None if moment is None else as_text(moment.replace(tzinfo=UTC))


def _summary(policy: Policy, tally: Tally) -> dict[str, Any]:
    return {
        "policy": {"id": policy.id, "version": policy.version, "digest": policy.digest},
        "replayed": tally.replayed,
        "passed_over": dict(tally.passed_over),
        "flips": tally.flipped(),
        "stricter": tally.flipped("stricter"),
        "looser": tally.flipped("looser"),
        "share": tally.flipped() / tally.replayed if tally.replayed else 0.0,
        "transitions": [
            {"was": was, "would_be": would_be, "count": count}
            for (was, would_be), count in tally.transitions.most_common()
        ],
        "rules": [
            {"rule": rule, "direction": direction, "count": count}
            for (rule, direction), count in tally.by_rule.most_common()
        ],
        "same_action_by_other_rules": tally.other_rules,
        "functions_not_named": tally.unnamed,
        "decided_by": [
            {"id": name, "version": version, "count": count}
            for (name, version), count in tally.decided_by.most_common()
        ],
    }


def _print(policy: Policy, tally: Tally, show: int) -> None:
    for flip in tally.flips[:show]:
        because = ", ".join(flip.rules)
        typer.echo(f"{flip.request}  {flip.stage:<11}  {flip.was} -> {flip.would_be}  {because}")
    if (more := tally.flipped() - min(show, len(tally.flips))) > 0 and show:
        typer.echo(f"and {more:,} more")
    for (was, would_be), count in tally.transitions.most_common():
        typer.echo(f"{count:>10,}  {was} -> {would_be}")
    for (rule, direction), count in tally.by_rule.most_common():
        typer.echo(f"{count:>10,}  {direction} by {rule}")
    share = 100 * tally.flipped() / tally.replayed if tally.replayed else 0.0
    typer.echo(
        f"{tally.replayed:,} decisions replayed under {policy.id} {policy.version}: "
        f"{tally.flipped():,} flip ({share:.2f} %), {tally.flipped('stricter'):,} stricter, "
        f"{tally.flipped('looser'):,} looser; {tally.other_rules:,} the same by other rules"
    )
    for reason, count in tally.passed_over.most_common():
        say(f"{count:,} passed over: {reason}")
    if tally.unnamed:
        say(f"{tally.unnamed:,} with functions whose names are not in the log")
