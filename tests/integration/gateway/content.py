"""What the tests of kept content share: judged texts, and whole dumps of what is stored."""

from dataclasses import replace

from sqlalchemy import func, select

from classifiers.types import Passage, Source
from gateway.audit.queries import show
from gateway.keeping import said
from gateway.store import tables
from policies.circumstances import Circumstances
from policies.types import Action, Decision, Stage

ALLOWED = Decision(Stage.INPUT, Action.ALLOW, (), (), "baseline", "1.0.0", "ab" * 32)


def of(subject):
    return Circumstances(end_user=subject)


async def decide(ledger, vault, exchange, what, stage=Stage.INPUT, **changes):
    """Judge a text in an exchange of its own, as the pipeline does; return the entry."""
    decision = replace(ALLOWED, stage=stage, **changes)
    texts = said(stage, [Passage(Source.USER, what)], decision.redactions)
    kept = await vault.keep(exchange, decision, texts)
    async with ledger.exchange(exchange):
        decision_id = await ledger.record(exchange, decision, kept)
    [entry] = await show(ledger.database, decision_id)
    return entry


async def opened(vault, entry):
    """Return the texts that an entry names, by stage."""
    found = await vault.open(entry["actor"]["project"], entry["id"], entry["content"])
    return {each.field: [one["text"] for one in each.said] for each in found}


async def rows(database):
    """Return all rows of all tables as bytes, one after the other."""
    parts = []
    async with database.read() as connection:
        for table in tables.metadata.sorted_tables:
            for row in await connection.execute(table.select()):
                parts += [each if isinstance(each, bytes) else str(each).encode() for each in row]
    return b"\n".join(parts)


async def count(database, table):
    async with database.read() as connection:
        table = tables.metadata.tables[table]
        return await connection.scalar(select(func.count()).select_from(table))
