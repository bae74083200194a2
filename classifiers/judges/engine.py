"""A language model behind an OpenAI-compatible server: vLLM, SGLang, llama.cpp, Ollama.

Rendered prompts go to `/completions`, conversations to `/chat/completions`; neither is
streamed, because half a verdict is none. Both ways of writing log-probabilities are read,
and what is not well-formed there is left out: it says how sure a model was, not what it
said.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from classifiers.judges.service import Service
from classifiers.judges.text_model import MALFORMED, Answer, Question, TextModelError, Token


class EngineModel:
    """A `TextModel` behind a server.

    Args:
        service: Where it is.
        model: The model's name there.
        own_start: Whether rendered prompts bring their own first token (`<s>`), so that
            the engine must not add one.
    """

    def __init__(self, service: Service, model: str, *, own_start: bool = True):
        self._service = service
        self._model = model
        self._own_start = own_start

    @property
    def name(self) -> str:
        """The model's name and the server's address."""
        return f"{self._model} at {self._service.url}"

    async def generate(self, question: Question) -> Answer:
        """Answer greedily; see `TextModel.generate`."""
        if question.messages:
            reply = await self._service.post("chat/completions", self._chat(question))
            return _from_chat(reply)
        reply = await self._service.post("completions", self._completion(question))
        return _from_completion(reply)

    async def aclose(self) -> None:
        """Close the connections."""
        await self._service.aclose()

    def _completion(self, question: Question) -> dict[str, Any]:
        body = {**self._common(question), "prompt": question.prompt}
        if self._own_start:
            body["add_special_tokens"] = False  # vLLM's name for it; others ignore it
        if question.top_logprobs:
            body["logprobs"] = question.top_logprobs
        return body

    def _chat(self, question: Question) -> dict[str, Any]:
        body = self._common(question)
        body["messages"] = [
            {"role": message.role, "content": message.text} for message in question.messages
        ]
        if question.effort:
            body["reasoning_effort"] = question.effort
        if question.top_logprobs:
            body |= {"logprobs": True, "top_logprobs": question.top_logprobs}
        return body

    def _common(self, question: Question) -> dict[str, Any]:
        body: dict[str, Any] = {"model": self._model, "temperature": 0, "stream": False}
        if question.max_tokens is not None:
            body["max_tokens"] = question.max_tokens
        return body


def _from_completion(reply: Any) -> Answer:  # noqa: ANN401 - JSON
    choice = _choice(reply)
    text = choice.get("text")
    if not isinstance(text, str):
        raise TextModelError(MALFORMED)
    return Answer(text, tuple(_completion_tokens(choice.get("logprobs"))), _ended(choice))


def _from_chat(reply: Any) -> Answer:  # noqa: ANN401 - JSON
    choice = _choice(reply)
    message = choice.get("message")
    text = message.get("content") if isinstance(message, dict) else None
    if not isinstance(text, str):  # a reply that is all reasoning, or a tool call
        raise TextModelError(MALFORMED)
    return Answer(text, tuple(_chat_tokens(choice.get("logprobs"))), _ended(choice))


def _choice(reply: Any) -> dict[str, Any]:  # noqa: ANN401 - JSON
    choices = reply.get("choices") if isinstance(reply, dict) else None
    if not isinstance(choices, list) or len(choices) != 1 or not isinstance(choices[0], dict):
        raise TextModelError(MALFORMED)
    choice: dict[str, Any] = choices[0]
    return choice


def _ended(choice: dict[str, Any]) -> bool:
    return choice.get("finish_reason") != "length"


def _completion_tokens(logprobs: Any) -> Iterator[Token]:  # noqa: ANN401 - JSON
    """Read `{"tokens": [...], "top_logprobs": [{text: logprob}, ...]}`."""
    if not isinstance(logprobs, dict):
        return
    tokens, tops = logprobs.get("tokens"), logprobs.get("top_logprobs")
    if not isinstance(tokens, list) or not isinstance(tops, list) or len(tokens) != len(tops):
        return
    for text, top in zip(tokens, tops, strict=True):
        pairs = top.items() if isinstance(top, dict) else ()
        yield Token(str(text), _sorted(pairs))


def _chat_tokens(logprobs: Any) -> Iterator[Token]:  # noqa: ANN401 - JSON
    """Read `{"content": [{"token": ..., "top_logprobs": [{"token":, "logprob":}]}]}`."""
    content = logprobs.get("content") if isinstance(logprobs, dict) else None
    if not isinstance(content, list):
        return
    for entry in content:
        if not isinstance(entry, dict):
            return
        tops = entry.get("top_logprobs")
        pairs = [
            (top.get("token"), top.get("logprob"))
            for top in (tops if isinstance(tops, list) else ())
            if isinstance(top, dict)
        ]
        yield Token(str(entry.get("token", "")), _sorted(pairs))


def _sorted(pairs: Any) -> tuple[tuple[str, float], ...]:  # noqa: ANN401 - JSON
    read = [
        (str(text), float(logprob))
        for text, logprob in pairs
        if isinstance(logprob, int | float) and not logprob > 0  # NaN stays out below
    ]
    return tuple(sorted((p for p in read if p[1] == p[1]), key=lambda pair: -pair[1]))
