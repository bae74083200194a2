"""A real `ostiary serve` process that can be started, killed, drained and looked at."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import aiohttp

from benchmarks.overhead import free_port

KEY = "crash-test-key-0123456789"  # accepted from first start on
MODEL = "stand-in"
START_S = 60.0  # a busy machine may take this long
_POLL_S = 0.03
_ROOT = Path(__file__).parents[1]


class GatewayProcess:
    """One replica in front of a Chat Completions engine; it keeps its port and home.

    Args:
        home: Its directory. Replicas may share one, and then share its secrets.
        settings: By their names: `upstream_url`, and what else shall not be as here.
    """

    def __init__(self, home: Path, **settings: str):
        port = settings.get("port") or str(free_port())
        self.url = f"http://127.0.0.1:{port}"
        self.stderr = home / f"stderr-{port}"
        self.home = home
        self._settings = {
            "home": str(home),
            "port": port,
            "model": MODEL,
            "upstream_mode": "chat",
            "bootstrap_key": KEY,
            "requests_per_minute": "1000000",
            "tokens_per_minute": "1000000000",
            **settings,
        }
        self._process: subprocess.Popen[bytes] | None = None

    async def start(self) -> None:
        """Start, and return once it would serve a request.

        Raises:
            RuntimeError: If it ends instead, or takes longer than `START_S`.
        """
        self.spawn()
        deadline = time.monotonic() + START_S
        while not await self.ready():
            status = self.process.poll()
            if status is not None or time.monotonic() > deadline:
                raise RuntimeError(f"status {status}:\n{self.stderr.read_text()[-4000:]}")
            await asyncio.sleep(_POLL_S)

    def spawn(self) -> None:
        """Start, and do not wait."""
        with self.stderr.open("ab") as stderr:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "gateway.cli", "serve"],
                cwd=self.home,  # so that no `ostiary.toml` of somebody else is read
                env=self._environment(),
                stdout=subprocess.DEVNULL,
                stderr=stderr,
            )

    async def command(self, *arguments: str) -> str:
        """Run another command with the same settings; return what it prints.

        Raises:
            subprocess.CalledProcessError: If its exit status is not 0.
        """
        done = await asyncio.to_thread(
            subprocess.run,
            [sys.executable, "-m", "gateway.cli", *arguments],
            cwd=self.home,
            env=self._environment(),
            check=True,
            capture_output=True,
            text=True,
        )
        return str(done.stdout)

    @property
    def process(self) -> subprocess.Popen[bytes]:
        """The process that was started last."""
        if self._process is None:
            raise RuntimeError("the gateway was not started")
        return self._process

    async def ready(self) -> bool:
        """Return whether `/readyz` says yes."""
        status, _ = await self.readyz()
        return status == 200

    async def readyz(self) -> tuple[int, dict[str, object]]:
        """Return what `/readyz` says: status and body; status 0 if nobody answers."""
        timeout = aiohttp.ClientTimeout(total=10)
        try:
            async with (
                aiohttp.ClientSession(timeout=timeout) as session,
                session.get(f"{self.url}/readyz") as response,
            ):
                return response.status, await response.json()
        except (aiohttp.ClientError, OSError, TimeoutError):
            return 0, {}

    def kill(self) -> None:
        """End it now: SIGKILL."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def terminate(self) -> None:
        """Ask it to drain: SIGTERM."""
        self.process.send_signal(signal.SIGTERM)

    async def wait(self) -> int:
        """Return its exit status, once it has ended."""
        return await asyncio.to_thread(self.process.wait)

    def close(self) -> None:
        """Make sure that it does not outlive its owner."""
        if self._process is not None and self._process.poll() is None:
            self.kill()

    def _environment(self) -> dict[str, str]:
        inherited = {k: v for k, v in os.environ.items() if not k.startswith("OSTIARY_")}
        own = {f"OSTIARY_{name.upper()}": value for name, value in self._settings.items()}
        return {**inherited, "PYTHONPATH": str(_ROOT), **own}
