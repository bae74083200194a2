"""Taking turns by a lock on a file, among the tasks and processes of one machine."""

from __future__ import annotations

import asyncio
import fcntl
import os
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path


@asynccontextmanager
async def turn_at(path: Path) -> AsyncGenerator[None]:
    """Be alone with whatever `path` stands for; the file is made if need be (0600).

    Raises:
        OSError: If it can be neither made nor locked.
    """
    taking = asyncio.ensure_future(asyncio.to_thread(_locked, path))
    try:
        descriptor = await asyncio.shield(taking)
    except asyncio.CancelledError:
        # INVARIANT: a turn that comes when nobody wants it any more is given back.
        taking.add_done_callback(_give_back)
        raise
    try:
        yield
    finally:
        os.close(descriptor)


def _locked(path: Path) -> int:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def _give_back(taken: asyncio.Future[int]) -> None:
    if not taken.cancelled() and taken.exception() is None:
        os.close(taken.result())
