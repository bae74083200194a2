"""`ostiary serve`: the server process, its first key, its greeting and its drain.

What keeps it from starting (a policy that does not parse, a database that is away, a
setting that cannot be used, a port that is taken) is said in plain lines on stderr and
in the exit status. A traceback means a bug of ours.
"""

from __future__ import annotations

import asyncio
import os
import sys
from contextlib import AsyncExitStack
from pathlib import Path
from socket import socket
from types import FrameType

import structlog
import uvicorn
import uvloop
from fastapi import FastAPI

from gateway.api.services import Services
from gateway.app import create_app
from gateway.errors import GatewayError
from gateway.identity import NewKey
from gateway.log import configure_logging
from gateway.settings import Settings
from gateway.types import Outcome, Scope
from model_runner.types import RunnerError
from policies.load import PolicyError

STOPPED, CANNOT_START, WRONG_SETTINGS = 0, 1, 2  # exit statuses

_GREETING = """
Ostiary is listening on {address}
  model     {model}{note}
  policy    {policy} {version} ({digest})
  log       {database}
  API key   {key}

Try it with curl:

  curl -s {address}/v1/responses -H "authorization: Bearer {key}" \\
    -H 'content-type: application/json' -d '{{"model": "{model}", "input": "{prompt}"}}'

or with the unmodified OpenAI client:

  {imports}from openai import OpenAI
  client = OpenAI(base_url="{address}/v1", api_key={key_in_python})
  print(client.responses.create(model="{model}", input="{prompt}").output_text)

Stop with Ctrl-C.
"""
_BOOTSTRAP = "$OSTIARY_BOOTSTRAP_KEY"  # the shell fills it in
_PROMPT = "How long does a refund take?"
_STAND_IN = (
    "   a stand-in of 300 thousand parameters, not gpt-oss: set OSTIARY_MODEL for a real one"
)

# How long a thread that has news for the event loop waits for a busy one, seconds. The
# log's writer hands over at every commit; Python's default of 5 ms would be most of it.
SWITCH_INTERVAL_S = 0.0005

# What opening the services raises on purpose: the world or a setting is not as it must
# be. `ValueError` is the setting, as whoever takes it says.
_REFUSALS = (PolicyError, GatewayError, RunnerError, OSError, ValueError)

_log = structlog.get_logger("ostiary.serve")


class Server(uvicorn.Server):
    """uvicorn with our own greeting and drain, for an app whose services are open.

    The first signal stops new work and lets open replies finish for `drain_s`; what is
    still open then ends as `aborted`. A second signal waits for nothing.
    """

    def __init__(self, app: FastAPI, settings: Settings):
        self._app = app
        self._settings = settings
        super().__init__(
            uvicorn.Config(
                app,
                host=settings.host,
                port=settings.port,
                loop="uvloop",
                http="httptools",
                ws="none",
                lifespan="off",
                access_log=False,
                log_config=None,
                server_header=False,
                timeout_keep_alive=65,
                timeout_graceful_shutdown=max(1, round(settings.drain_s)),
            )
        )

    async def startup(self, sockets: list[socket] | None = None) -> None:
        """Listen, then say where and how to use it."""
        await super().startup(sockets)
        services: Services = self._app.state.services
        key = await first_key(services)
        sys.stdout.write(_greeting(self._address(), services, key))
        sys.stdout.flush()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Begin to drain; a second signal stops at once.

        uvicorn's own handler would send the signal again after the drain, and so end the
        process before the services are closed.
        """
        services: Services = self._app.state.services
        services.draining = True
        services.ledger.cancelled_as = Outcome.ABORTED
        self.force_exit = self.should_exit
        self.should_exit = True

    def _address(self) -> str:
        port = self._settings.port
        if self.servers and self.servers[0].sockets:
            port = self.servers[0].sockets[0].getsockname()[1]
        host = self._settings.host
        shown = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, host)  # noqa: S104 - shown, not bound
        return f"http://{shown}:{port}"


async def first_key(services: Services) -> str:
    """Return the key to greet with: the bootstrap key's name, or the generated one.

    The generated key is made on the first start and kept, 0600, in
    `<home>/keys/first-api-key` so that a restart can print it again; delete the file,
    or revoke the key, when it has served its turn.
    """
    settings = services.settings
    if settings.bootstrap_key.get_secret_value():
        return _BOOTSTRAP
    path = settings.home / "keys" / "first-api-key"
    if path.exists():
        return path.read_text().strip()
    new = NewKey(project="default", name="first key", scopes=frozenset({Scope.CALLER}))
    created = await services.identity.create(new, actor="serve")
    _write_private(path, created)
    return created


def run(settings: Settings) -> int:
    """Serve until a signal comes.

    Returns:
        The exit status: 0 after a signal, 1 if it could not start, 2 if a setting is
        wrong.
    """
    configure_logging(settings.log_level, settings.log_format.value)
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(_serve(settings))


async def _serve(settings: Settings) -> int:
    app = create_app(settings)
    async with AsyncExitStack() as services:
        try:
            await services.enter_async_context(app.router.lifespan_context(app))
        except _REFUSALS as error:
            return _refuse(error)
        try:
            await Server(app, settings).serve()
        except SystemExit:  # uvicorn could not listen, and has said why
            return CANNOT_START
    return STOPPED


def _refuse(error: Exception) -> int:
    """Say on stderr what is in the way; return the exit status."""
    _log.debug("start_refused", exc_info=error)
    lines = error.lines() if isinstance(error, PolicyError) else [str(error)]
    sys.stderr.write("".join(f"cannot start: {line}\n" for line in lines))
    return WRONG_SETTINGS if isinstance(error, ValueError) else CANNOT_START


def _greeting(address: str, services: Services, key: str) -> str:
    policy = services.policies.current
    model = services.pipeline.runner.model
    bootstrap = key == _BOOTSTRAP
    return _GREETING.format(
        address=address,
        model=model,
        note=_STAND_IN if model == "gpt-oss-tiny" else "",
        policy=policy.id,
        version=policy.version,
        digest=policy.digest[:12],
        database=services.database.url.render_as_string(hide_password=True),
        key=key,
        imports="import os\n\n  " if bootstrap else "",
        key_in_python='os.environ["OSTIARY_BOOTSTRAP_KEY"]' if bootstrap else f'"{key}"',
        prompt=_PROMPT,
    )


def _write_private(path: Path, text: str) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(text + "\n")
