"""A gateway in a thread, on a real socket, as `ostiary serve` runs it."""

import asyncio
import socket
import threading
import time

import httpx2
import openai
import uvloop

from gateway.app import create_app
from gateway.audit import queries
from gateway.identity import NewKey
from gateway.serve import Server
from gateway.settings import Settings
from gateway.types import Scope
from model_runner.scripted import ScriptedRunner
from model_runner.types import Channel, Delta, Finish, FinishReason, Usage

MODEL = "gpt-oss-20b"
DONE = Finish(FinishReason.STOP, Usage(7, 9, 4, 1))
CALLS = Finish(FinishReason.TOOL_CALLS, Usage(7, 9, 4, 1))
TOO_LONG = Finish(FinishReason.LENGTH, Usage(7, 9, 4, 1))
WAIT_S = 20.0  # longest wait for what another thread does; a failure, not a measure


def thought(text, message=0):
    return Delta(Channel.ANALYSIS, text, message)


def preamble(text, message=1):
    return Delta(Channel.COMMENTARY, text, message)


def call(tool, arguments, message=1):
    return Delta(Channel.COMMENTARY, arguments, message, tool)


def final(text, message=1):
    return Delta(Channel.FINAL, text, message)


class Switchboard:
    """A runner that says what the test at hand has scripted."""

    model, kind = MODEL, "scripted"

    def __init__(self):
        self.scripted = ScriptedRunner(model=MODEL)
        self.is_ready = True

    def generate(self, prompt):
        return self.scripted.generate(prompt)

    async def ready(self):
        return self.is_ready

    async def aclose(self):
        await self.scripted.aclose()


class Tape(httpx2.HTTPTransport):
    """Keeps the bytes of every response that the client reads."""

    def __init__(self):
        super().__init__()
        self.received = bytearray()
        self.response = None

    def handle_request(self, request):
        self.received = bytearray()
        self.response = super().handle_request(request)
        self.response.stream = _Taped(self.response.stream, self.received)
        return self.response


class _Taped(httpx2.SyncByteStream):
    def __init__(self, source, received):
        self._source, self._received = source, received

    def __iter__(self):
        for part in self._source:
            self._received += part
            yield part

    def close(self):
        self._source.close()


class Gateway:
    """One server. Start it with `with`.

    Args:
        home: Its `OSTIARY_HOME`.
        runner: Its runner; None is a `Switchboard`, False the one `settings` asks for.
        settings: Other settings.
    """

    def __init__(self, home, runner=None, **settings):
        self.settings = Settings(home=home, port=0, drain_s=1, **settings)
        self.runner = Switchboard() if runner is None else runner
        self.app = create_app(self.settings, self.runner or None)
        self.server = Server(self.app, self.settings)
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._loop = None
        self._failure = None

    def __enter__(self):
        self._thread.start()
        wait_until(lambda: self._failure or (self.server.started and self._written_key()))
        if self._failure:
            raise self._failure
        self.key = self._written_key()
        self.tape = Tape()
        self.client = self.client_with(self.key, http_client=httpx2.Client(transport=self.tape))
        self.http = httpx2.Client(
            base_url=self.address, headers={"authorization": f"Bearer {self.key}"}, timeout=WAIT_S
        )
        return self

    def __exit__(self, *failure):
        self.client.close()
        self.http.close()
        self.server.should_exit = True
        self._thread.join(WAIT_S)
        assert not self._thread.is_alive()

    @property
    def address(self):
        return self.server._address()

    @property
    def services(self):
        return self.app.state.services

    @property
    def model(self):
        return self.services.pipeline.runner.model

    def script(self, *steps):
        """Set what the model says from now on; return the runner that says it."""
        self.runner.scripted = ScriptedRunner(*steps, model=MODEL)
        return self.runner.scripted

    def client_with(self, key, kind=openai.OpenAI, **options):
        options = {"max_retries": 0, "timeout": WAIT_S} | options
        return kind(base_url=f"{self.address}/v1", api_key=key, **options)

    def run(self, work):
        """Run a coroutine in the server's event loop."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(WAIT_S)

    def new_key(self, *scopes, project="default", **changes):
        new = NewKey(project, "test", frozenset(scopes or {Scope.CALLER}), **changes)
        return self.run(self.services.identity.create(new, actor="test"))

    def show(self, id):
        """Return the log's entries of a request, or the entry with this id."""
        return self.run(queries.show(self.services.database, id))

    def ended(self, request_id):
        """Return the entries of a request, once its terminal record is there."""

        def entries():
            found = self.show(request_id)
            return found if any(is_terminal(entry) for entry in found) else None

        return wait_until(entries)

    def last_request(self, endpoint):
        """Return the id of the last request that was admitted at an endpoint."""
        entries = self.run(queries.tail(self.services.database, 200))
        return [
            entry["request"]["id"]
            for entry in entries
            if entry["type"] == "request.admitted" and entry["request"]["endpoint"] == endpoint
        ][-1]

    @property
    def _first_key(self):
        return self.settings.home / "keys" / "first-api-key"

    def _written_key(self):
        return self._first_key.read_text().strip() if self._first_key.exists() else ""

    def _serve(self):
        async def serve():
            self._loop = asyncio.get_running_loop()
            async with self.app.router.lifespan_context(self.app):
                await self.server.serve()

        try:
            with asyncio.Runner(loop_factory=uvloop.Loop) as runner:
                runner.run(serve())
        except BaseException as failure:  # the thread's end: the test is told
            self._failure = failure
            raise


TERMINAL = {"completed", "blocked", "aborted", "client_disconnected", "error", "lost"}


def is_terminal(entry):
    kind, _, outcome = entry["type"].partition(".")
    return kind == "request" and outcome in TERMINAL


def wait_until(claim, within_s=WAIT_S):
    """Return the first true value of `claim`; fails if there is none for too long."""
    give_up = time.monotonic() + within_s
    while not (value := claim()):
        assert time.monotonic() < give_up, "waited in vain"
        time.sleep(0.01)
    return value


def connection(gateway):
    """Return a socket to the gateway; what is sent on it is the test's business."""
    host, port = gateway.address.removeprefix("http://").split(":")
    return socket.create_connection((host, int(port)), timeout=20)


def send_head(gateway, sock, path, *headers):
    """Send a request up to its body."""
    lines = [
        f"POST {path} HTTP/1.1",
        "host: gateway",
        f"authorization: Bearer {gateway.key}",
        "content-type: application/json",
        *headers,
        "",
        "",
    ]
    sock.sendall("\r\n".join(lines).encode())
