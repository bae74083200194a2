"""`ostiary audit export | evidence`: the log for an auditor, and for other programs.

It stands in the group of `gateway.audit_cli`.
"""

from __future__ import annotations

import json
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gateway.policy_lifecycle_cli import Operator
from gateway.terminal import (
    NO,
    Json,
    Moment,
    answered,
    moment_text,
    progress_bar,
    read_settings,
    with_database,
)

if TYPE_CHECKING:
    from gateway.audit.export import Exported
    from gateway.notes import SigningKey
    from gateway.settings import Settings
    from gateway.store.session import Database

app = typer.Typer()

Shard = Annotated[
    str | None,
    typer.Option(help="A half year, as in `2026h2`; the newest, and all where it is no JSONL."),
]


class FrameworkName(StrEnum):
    """By whose headings evidence is asked for."""

    EU_AI_ACT = "eu-ai-act"
    NIST_AI_RMF = "nist-ai-rmf"
    ISO_42001 = "iso-42001"
    SOC2 = "soc2"
    HIPAA = "hipaa"


class FormatName(StrEnum):
    """What the log can be written as."""

    JSONL = "jsonl"
    CSV = "csv"
    PARQUET = "parquet"
    OCSF = "ocsf"
    CEF = "cef"
    OTEL = "otel"


@app.command("export")
def export_log(  # noqa: PLR0913 - the options of a command
    out: Annotated[Path, typer.Option(help="A tar; `verify` takes it.")],
    format: Annotated[
        FormatName, typer.Option(help="`jsonl` is the bundle that proves every entry.")
    ] = FormatName.JSONL,
    since: Moment = None,
    until: Moment = None,
    shard: Shard = None,
    operator: Operator = None,
    as_json: Json = False,
) -> None:
    """Write entries with a signed checkpoint; that somebody did is recorded before."""
    from gateway.audit.access import note_export
    from gateway.audit.conversion import FORMATS, convert
    from gateway.audit.export import Stretch, export
    from gateway.policy_lifecycle import operator as actor

    what = Stretch(shard, moment_text(since), moment_text(until))
    settings = read_settings()

    async def ask(database: Database) -> list[Exported]:
        form = FORMATS.get(format)
        key = signing_key(settings) if form else None
        await note_export(database, what, form=format, actor=actor(operator).id)
        if form is None or key is None:
            return [await export(database, what, out, progress)]
        return await convert(database, what, out, form, key, progress)

    with answered(), progress_bar("exporting") as progress:
        done = with_database(settings, ask)
    for each in done:
        _tell(out, format, each, as_json=as_json)


@app.command("evidence")
def write_evidence(
    framework: Annotated[FrameworkName, typer.Option(help="By whose headings.")],
    out: Annotated[Path, typer.Option(help="A tar; `verify` takes it.")],
    since: Moment = None,
    until: Moment = None,
    operator: Operator = None,
    as_json: Json = False,
) -> None:
    """Write evidence for a framework: the log, a report and what machines read of it.

    It never says that anything complies. Status 1 if the log is not intact.
    """
    from gateway.audit.access import note_export
    from gateway.audit.evidence.checks import Keeping
    from gateway.audit.evidence.framework import source_of
    from gateway.audit.evidence.write import Wanted, write_evidence
    from gateway.audit.export import Stretch
    from gateway.policy_lifecycle import operator as actor

    what = Stretch(None, moment_text(since), moment_text(until))
    settings, by = read_settings(), actor(operator).id
    keeping = Keeping(settings.content, settings.content_days, settings.reasoning_days)
    wanted = Wanted(source_of(framework), what, by, keeping)

    async def ask(database: Database) -> dict[str, Any]:
        key = signing_key(settings)
        await note_export(database, what, form=f"evidence {framework}", actor=by)
        return await write_evidence(database, wanted, out, key, progress)

    with answered(), progress_bar("gathering") as progress:
        made = with_database(settings, ask)
    _tell_evidence(out, made, as_json=as_json)
    if not all(shard["intact"] for shard in made["log"]["shards"]):
        raise typer.Exit(NO)


def signing_key(settings: Settings) -> SigningKey:
    """Return the log's key, which must be there: a new one would sign another log.

    Raises:
        ValueError, OSError: If it cannot be read.
    """
    from gateway.audit.log_key import read_keys

    return read_keys(settings.resolved_log_key)[-1]  # where it was rotated, the newest signs


def _tell(out: Path, format: str, done: Exported, *, as_json: bool) -> None:
    if as_json:
        document = {"file": str(out), "format": format, "shard": done.shard, "first": done.first}
        typer.echo(json.dumps({**document, "entries": done.count, "size": done.size}))
        return
    last = done.first + done.count - 1
    typer.echo(f"{out}: entries {done.first} to {last} of {done.size} in {done.shard}")


def _tell_evidence(out: Path, made: dict[str, Any], *, as_json: bool) -> None:
    from gateway.audit.evidence.checks import Level
    from gateway.audit.evidence.document import summary

    found = summary(made)
    framework = f"{made['framework']['id']}/{made['framework']['version']}"
    if as_json:
        document = {"file": str(out), "framework": framework, "period": made["period"]}
        document |= {"entries": made["counts"]["entries"], "headings": found}
        typer.echo(json.dumps({**document, "findings": made["findings"]}))
        return
    said = ", ".join(f"{count} {name}" for name, count in found.items() if name != "gaps" and count)
    typer.echo(f"{out}: evidence for {framework} from {made['counts']['entries']} entries")
    typer.echo(f"  headings: {said}")
    for finding in made["findings"]:
        if finding["level"] == Level.GAP:
            typer.echo(f"  gap: {finding['says']}")
    typer.echo(f"  {found['gaps']} gaps in all; `report.html` in it names each")
