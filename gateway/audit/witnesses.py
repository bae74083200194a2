"""Asks witnesses to cosign each checkpoint, and keeps what they said.

Every witness is asked by a task of its own, which nothing waits for: one that is away, slow or
hostile holds up neither requests nor signing. What it has not cosigned yet it is asked for
again, less and less often. Only the URLs in the settings are spoken to, without redirects
and without the environment's proxies.

A witness that saw a larger log, or another one, is what a rolled-back or forked log looks
like to everybody else. It is said loudly, and stops nothing: a witness may lie.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from enum import StrEnum

import aiohttp
import structlog

from gateway.audit.checkpoint import parse_hash, parse_size
from gateway.audit.cosignature import WitnessKey, cosignatures, parse_witness_key
from gateway.audit.export import growth
from gateway.audit.witness import Request
from gateway.errors import GatewayError, NotFound
from gateway.notes import Note, NoteError, parse_note, parse_signatures
from gateway.store import trees as tree_rows
from gateway.store import witnessed as store
from gateway.store.session import Database
from gateway.store.times import as_text
from gateway.store.trees import TreeRow
from gateway.store.witnessed import WitnessedRow

PERIOD_S = 1.0
_LONGEST_PAUSE_S = 60.0
_TIMEOUT_S = 10.0
_MAX_ANSWER = 64 * 1024  # bytes

log = structlog.get_logger(__name__)


class WitnessState(StrEnum):
    """How it stands with a witness."""

    WAITING = "waiting"  # not asked yet
    UP = "up"  # it cosigned what it was asked for last
    DOWN = "down"  # it does not answer, or not as a witness does
    REFUSING = "refusing"  # it does not look at this log, or not with this key
    DISAGREES = "disagrees"  # it saw a larger log, or another one


@dataclass(frozen=True, slots=True)
class WitnessPlace:
    """Where a witness is, and who.

    Attributes:
        url: Its submission prefix, without a slash at the end.
        key: What its cosignatures are verified with.
    """

    url: str
    key: WitnessKey


def parse_place(text: str) -> WitnessPlace:
    """Read `<url> <witness key>`. Raises `ValueError`."""
    url, _, key = text.strip().partition(" ")
    if not url.startswith(("https://", "http://")):
        raise ValueError("a witness must be given as `https://... <key>`")
    try:
        return WitnessPlace(url.rstrip("/"), parse_witness_key(key.strip()))
    except NoteError as error:
        raise ValueError(f"the witness at `{url}`: {error}") from error


@dataclass(slots=True)
class Standing:
    """What is known of a witness.

    Attributes:
        name: Its key's.
        state: How it stands.
        detail: Why, for people.
        size: How many entries the last checkpoint covers that it cosigned for this replica.
        since: Since when it stands so, Unix seconds.
    """

    name: str
    state: WitnessState = WitnessState.WAITING
    detail: str = ""
    size: int = 0
    since: float = 0.0

    @property
    def amiss(self) -> bool:
        """Whether it was asked and did not cosign."""
        return self.state not in {WitnessState.WAITING, WitnessState.UP}


class _Refused(Exception):
    """A witness did not cosign."""

    def __init__(self, state: WitnessState, detail: str):
        super().__init__(detail)
        self.state = state


class _Behind(Exception):
    """A witness saw another size last than we thought."""

    def __init__(self, seen: int):
        super().__init__(seen)
        self.seen = seen


@dataclass(slots=True, eq=False)
class Witnesses:
    """Asks witnesses about one log.

    Args:
        database: Migrated.
        places: Where they are.
        period_s: How often it is looked whether there is something to cosign, seconds.
        now: The time of day, Unix seconds.
    """

    database: Database
    places: Sequence[WitnessPlace]
    period_s: float = PERIOD_S
    now: Callable[[], float] = time.time
    standing: tuple[Standing, ...] = field(init=False)
    _tasks: list[asyncio.Task[None]] = field(default_factory=list, init=False)
    _session: aiohttp.ClientSession | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        """Know nothing of anybody yet."""
        self.standing = tuple(Standing(place.key.name, since=self.now()) for place in self.places)

    def start(self) -> None:
        """Begin to ask, in the background."""
        for place, standing in zip(self.places, self.standing, strict=True):
            name = f"witness-{place.key.name}"
            self._tasks.append(asyncio.create_task(self._run(place, standing), name=name))

    async def aclose(self) -> None:
        """Stop asking."""
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)
        if self._session is not None:
            await self._session.close()

    async def ask(self, place: WitnessPlace, standing: Standing) -> bool:
        """Have a witness cosign what it has not yet; return whether there was nothing amiss.

        Raises:
            StoreUnavailable: If the database cannot be used.
        """
        async with self.database.read() as connection:
            trees = await tree_rows.trees(connection)
            rows = await store.witnessed(connection)
        known = {row.shard: row.size for row in rows if row.witness == str(place.key)}
        for tree in trees:
            if tree.checkpoint is None or known.get(tree.shard, 0) >= tree.checkpoint_size:
                continue
            try:
                await self._cosigned(place, tree, known.get(tree.shard, 0))
            except _Refused as refused:
                self._note(standing, refused.state, str(refused))
                return False
            standing.size = tree.checkpoint_size
            self._note(standing, WitnessState.UP, "")
        return True

    async def _cosigned(self, place: WitnessPlace, tree: TreeRow, seen: int) -> None:
        """Have one checkpoint cosigned, and keep it."""
        try:
            note = await self._asked(place, tree, seen)
        except _Behind as behind:
            if behind.seen > tree.checkpoint_size:
                await self._check_larger(tree.shard, behind.seen)
                return  # another replica was faster; the next look finds what it kept
            try:
                note = await self._asked(place, tree, behind.seen)
            except _Behind as again:
                detail = f"it saw {again.seen} entries after {behind.seen}"
                raise _Refused(WitnessState.DOWN, detail) from again
        [cosigned] = cosignatures(note, [place.key])
        row = WitnessedRow(
            tree.shard, str(place.key), tree.checkpoint_size, _when(cosigned.time), note.encode()
        )
        async with self.database.write() as connection:
            await store.keep(connection, row)

    async def _check_larger(self, shard: str, seen: int) -> None:
        async with self.database.read() as connection:
            sizes = {tree.shard: tree.size for tree in await tree_rows.trees(connection)}
        if seen > sizes.get(shard, 0):
            detail = f"it saw {seen} entries of `{shard}`, which has {sizes.get(shard, 0)}"
            raise _Refused(WitnessState.DISAGREES, detail)

    async def _asked(self, place: WitnessPlace, tree: TreeRow, seen: int) -> Note:
        """Return a checkpoint with the witness's cosignature, verified.

        Raises:
            _Behind: If it saw another size last.
            _Refused: If it did not cosign.
        """
        proof = tuple(parse_hash(each) for each in await growth(self.database, tree, seen))
        request = Request(seen, proof, tree.checkpoint or b"").encode()
        try:
            status, kind, answer = await self._posted(f"{place.url}/add-checkpoint", request)
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            raise _Refused(WitnessState.DOWN, type(error).__name__) from error
        if status == 409 and kind == "text/x.tlog.size":
            raise _Behind(_size(answer))
        if status != 200:
            raise _Refused(_STATES.get(status, WitnessState.DOWN), f"it answered {status}")
        return _with_cosignature(tree.checkpoint or b"", answer, place.key)

    async def _posted(self, url: str, body: bytes) -> tuple[int, str, bytes]:
        if self._session is None:
            timeout = aiohttp.ClientTimeout(total=_TIMEOUT_S)
            self._session = aiohttp.ClientSession(timeout=timeout, trust_env=False)
        async with self._session.post(url, data=body, allow_redirects=False) as response:
            content = await response.content.read(_MAX_ANSWER + 1)
            while len(content) <= _MAX_ANSWER and not response.content.at_eof():
                content += await response.content.read(_MAX_ANSWER + 1 - len(content))
            if len(content) > _MAX_ANSWER:
                raise aiohttp.ClientPayloadError("too long an answer")
            return response.status, response.content_type, content

    def _note(self, standing: Standing, state: WitnessState, detail: str) -> None:
        if state is not standing.state:
            standing.since = self.now()
            say = log.error if state is WitnessState.DISAGREES else log.info
            say("witness_changed", witness=standing.name, state=state.value, detail=detail)
        standing.state, standing.detail = state, detail

    async def _run(self, place: WitnessPlace, standing: Standing) -> None:
        pause_s = self.period_s
        while True:
            try:
                well = await self.ask(place, standing)
                pause_s = self.period_s if well else min(2 * pause_s, _LONGEST_PAUSE_S)
            except GatewayError as error:
                log.warning("witness_not_asked", witness=standing.name, error=str(error))
            except Exception as error:  # noqa: BLE001 - the boundary: this task must not die unseen
                self._note(standing, WitnessState.DOWN, type(error).__name__)
                pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)
            await asyncio.sleep(pause_s)


_STATES = {
    403: WitnessState.REFUSING,
    404: WitnessState.REFUSING,
    409: WitnessState.DISAGREES,
    422: WitnessState.DISAGREES,
}


def _with_cosignature(checkpoint: bytes, answer: bytes, key: WitnessKey) -> Note:
    """Return a checkpoint with the witness's line from its answer; others' are left out."""
    own = (key.name, key.key_id)
    try:
        lines = parse_signatures(answer.decode())
        note = parse_note(checkpoint)
        made = [each for each in lines if (each.name, each.key_id) == own]
        note = replace(note, signatures=(*note.signatures, *made[:1]))
        found = cosignatures(note, [key])
    except (NoteError, UnicodeDecodeError) as error:
        raise _Refused(WitnessState.DOWN, f"it answered with {error}") from error
    if not found:
        raise _Refused(WitnessState.DOWN, "it answered without a cosignature by its key")
    return note


def _when(time: int) -> str:
    """Return the time that a witness wrote: any number of 64 bits."""
    try:
        return as_text(datetime.fromtimestamp(time, UTC))
    except (ValueError, OverflowError, OSError) as error:
        raise _Refused(WitnessState.DOWN, "it answered with a time that is none") from error


def _size(answer: bytes) -> int:
    try:
        return parse_size(answer.decode("ascii").removesuffix("\n"))
    except (NoteError, UnicodeDecodeError) as error:
        raise _Refused(WitnessState.DOWN, "it answered with no size") from error


async def cosigned_checkpoint(database: Database, shard: str | None = None) -> bytes:
    """Return the largest checkpoint of a shard that was cosigned, with all who did.

    Args:
        database: Where it is kept.
        shard: Which; None is the newest of which one was.

    Raises:
        NotFound: If none was.
        StoreUnavailable: If the database cannot be read.
    """
    async with database.read() as connection:
        rows = [row for row in await store.witnessed(connection) if shard in {None, row.shard}]
    if not rows:
        raise NotFound("no witness has cosigned a checkpoint")
    newest = max(rows, key=lambda row: (row.shard, row.size))
    notes = [
        parse_note(row.note) for row in rows if (row.shard, row.size) == (newest.shard, newest.size)
    ]
    lines = dict.fromkeys(line for note in notes for line in note.signatures)
    return replace(notes[0], signatures=tuple(lines)).encode()
