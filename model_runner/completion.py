"""vLLM's `/v1/completions` with token ids both ways. Pure."""

from __future__ import annotations

from typing import Any

import orjson

from model_runner.chat_reply import usage_of
from model_runner.reply import Codec
from model_runner.types import MalformedOutput, Prompt, RunnerUnavailable, Usage


def completion_request(
    prompt: Prompt, token_ids: list[int], model: str, codec: Codec, room: int
) -> bytes:
    """Write the JSON body of a streamed completion.

    Args:
        prompt: Where sampling and the answer's schema are taken from.
        token_ids: The rendered prompt.
        model: The model's name at the engine.
        codec: What rendered it.
        room: How many more tokens fit into the context.
    """
    sampling = prompt.sampling
    body: dict[str, Any] = {
        "model": model,
        "prompt": token_ids,
        "stream": True,
        "stream_options": {"include_usage": True},
        "return_token_ids": True,
        "skip_special_tokens": False,
        "add_special_tokens": False,
        "stop_token_ids": list(codec.stop_token_ids),
        "max_tokens": min(sampling.max_tokens or room, room),
    }
    optional = {
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        "seed": sampling.seed,
    }
    body.update((key, setting) for key, setting in optional.items() if setting is not None)
    return orjson.dumps(body)


class CompletionChunks:
    """Reads the chunks of one completion.

    Attributes:
        usage: What the engine counted.
    """

    def __init__(self) -> None:
        self.usage = Usage()
        self._reason: str | None = None
        self._last: int | None = None

    def read(self, payloads: list[bytes]) -> list[int]:
        """Return the token ids in these chunks.

        Raises:
            MalformedOutput: If a chunk is not what the API defines.
            RunnerUnavailable: If the engine reports an error, or sends text only.
        """
        token_ids: list[int] = []
        try:
            for payload in payloads:
                self._read(orjson.loads(payload), token_ids)
        except orjson.JSONDecodeError as error:
            raise MalformedOutput("the engine sent an event that is not JSON") from error
        except (AttributeError, TypeError) as error:  # a list for an object, a dict for a word
            raise MalformedOutput("the engine sent a chunk of an unknown shape") from error
        return token_ids

    def hit_limit(self) -> bool:
        """Return whether the reply was cut at its token limit.

        Raises:
            MalformedOutput: If the engine has not said why the reply ended.
        """
        if self._reason not in ("stop", "length"):
            raise MalformedOutput("the engine's stream ended without a finish reason")
        return self._reason == "length"

    def _read(self, chunk: dict[str, Any], token_ids: list[int]) -> None:
        if chunk.get("error"):
            raise RunnerUnavailable("the engine reported an error in its stream")
        if usage := chunk.get("usage"):
            self.usage = usage_of(usage)
        for choice in chunk.get("choices") or ():
            if choice.get("index"):
                raise MalformedOutput("the engine sent more than one reply")
            self._read_choice(choice, token_ids)

    def _read_choice(self, choice: dict[str, Any], token_ids: list[int]) -> None:
        read = choice.get("token_ids")
        if read is None and choice.get("text"):
            raise RunnerUnavailable(
                "the engine sends no token ids: use vLLM 0.10.2 or later, or set "
                "`upstream_mode` to `chat`"
            )
        if read:
            if self._reason is not None:
                raise MalformedOutput("the engine went on after its finish reason")
            if not all(type(token) is int for token in read):
                raise MalformedOutput("the engine sent a token id that is not a number")
            token_ids += read
            self._last = read[-1]
        if reason := choice.get("finish_reason"):
            self._reason = reason
            stopped_by = choice.get("stop_reason")
            # The stop token is not always among the ids, but always named here.
            if type(stopped_by) is int and stopped_by != self._last:
                token_ids.append(stopped_by)
