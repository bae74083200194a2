"""A language model in this process: a guard of a billion parameters or so, or gpt-oss.

It decodes greedily, one question at a time, and tells how likely each token and its rivals
were. Of a model that speaks in harmony's channels only the final one is the answer, told
apart by token id. A judge under load belongs behind an engine instead.

Importing this loads torch: import it where a model is about to be loaded.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from itertools import takewhile
from threading import Event
from typing import Any

import torch
from jinja2 import TemplateError
from transformers import AutoModelForCausalLM, AutoTokenizer

from classifiers.judges.text_model import (
    REJECTED,
    TOO_LONG,
    Answer,
    Question,
    TextModelError,
    Token,
)
from classifiers.judges.worker import Abandoned, Worker

_LONGEST = 4096  # tokens of an answer for which no bound is given, thoughts included
_CHANNEL, _MESSAGE, _FINAL = "<|channel|>", "<|message|>", "final"


class InProcessModel:
    """A `TextModel` on transformers.

    Args:
        model: A causal language model in evaluation mode, on its device.
        tokenizer: Its tokenizer; for conversations it needs a chat template.
        name: What it is called, for digests; the digest of its weights is added.
    """

    def __init__(self, model: Any, tokenizer: Any, name: str):  # noqa: ANN401 - transformers ships no types
        self._model = model
        self._tokenizer = tokenizer
        self._worker = Worker("judge")
        self._ends = _ends(model, tokenizer)
        control: dict[str, int] = tokenizer.get_added_vocab()
        self._channel, self._message = control.get(_CHANNEL), control.get(_MESSAGE)
        self._control = frozenset(control.values())
        self._longest: int = model.config.get_text_config().max_position_embeddings
        self._name = f"{name} {digest_of_weights(model)}"

    @property
    def name(self) -> str:
        """The name, and the SHA-256 of the weights."""
        return self._name

    async def generate(self, question: Question) -> Answer:
        """Answer greedily; see `TextModel.generate`."""
        return await self._worker.run(lambda abandoned: self._answer(question, abandoned))

    async def aclose(self) -> None:
        """Stop working."""
        await self._worker.aclose()

    # What follows runs on the worker's thread.

    def _answer(self, question: Question, abandoned: Event) -> Answer:
        token_ids = self._encoded(question)
        most = question.max_tokens or _LONGEST
        if len(token_ids) + 1 > self._longest:
            raise TextModelError(TOO_LONG)
        most = min(most, self._longest - len(token_ids))
        said: list[int] = []
        tokens: list[Token] = []
        text = ""
        ended = False
        with torch.inference_mode():
            cache = None
            fed = torch.tensor([token_ids], device=self._model.device)  # (1, prompt)
            while len(said) < most and not ended:
                if abandoned.is_set():
                    raise Abandoned
                out = self._model(
                    input_ids=fed, past_key_values=cache, use_cache=True, logits_to_keep=1
                )
                cache = out.past_key_values
                logprobs = out.logits[0, -1].float().log_softmax(dim=-1)  # (vocabulary,)
                chosen = int(logprobs.argmax())
                ended = chosen in self._ends
                if not ended:
                    said.append(chosen)
                    whole = self._tokenizer.decode(said, skip_special_tokens=True)
                    if question.top_logprobs:
                        alternatives = self._alternatives(logprobs, question.top_logprobs)
                        tokens.append(Token(whole[len(text) :], alternatives))
                    text = whole
                    fed = torch.tensor([[chosen]], device=self._model.device)  # (1, 1)
        return Answer(self._final(said, text), tuple(tokens), ended)

    def _encoded(self, question: Question) -> list[int]:
        prompt = self._rendered(question) if question.messages else question.prompt
        token_ids: list[int] = self._tokenizer(prompt, add_special_tokens=False)["input_ids"]
        return token_ids

    def _rendered(self, question: Question) -> str:
        """Render a conversation by the model's template, and see that nothing is left out.

        Some templates (Llama Guard 3 1B's, Llama Guard 4's) want texts in parts and silently
        leave out a text that is none: an empty conversation is always safe.
        """
        # gpt-oss's name for it; a template that does not know it ignores it.
        options = {"reasoning_effort": question.effort} if question.effort else {}
        for in_parts in (False, True):
            conversation = [
                {
                    "role": message.role,
                    "content": [{"type": "text", "text": message.text}]
                    if in_parts
                    else message.text,
                }
                for message in question.messages
            ]
            try:
                prompt: str = self._tokenizer.apply_chat_template(
                    conversation, tokenize=False, add_generation_prompt=True, **options
                )
            except (TemplateError, TypeError):
                continue
            if all(message.text.strip() in prompt for message in question.messages):
                return prompt
        raise TextModelError(REJECTED)

    def _final(self, said: Sequence[int], text: str) -> str:
        """Return what is said in the final channel, or all of `text` where there are none.

        A reply whose last message is a thought or a call has no answer in it.
        """
        if self._channel is None or self._message is None:
            return text
        if self._message not in said:
            return ""
        start = len(said) - said[::-1].index(self._message)
        header = said[: start - 1]
        if self._channel not in header:
            return ""
        named = header[len(header) - header[::-1].index(self._channel) :]
        # What follows the name says of what type the answer is: `<|constrain|>json`.
        name = list(takewhile(lambda token: token not in self._control, named))
        if str(self._tokenizer.decode(name)).split() != [_FINAL]:
            return ""
        answer: str = self._tokenizer.decode(said[start:], skip_special_tokens=True)
        return answer

    def _alternatives(self, logprobs: torch.Tensor, count: int) -> tuple[tuple[str, float], ...]:
        best = logprobs.topk(min(count, len(logprobs)))
        return tuple(
            (self._tokenizer.decode([token]), logprob)
            for token, logprob in zip(best.indices.tolist(), best.values.tolist(), strict=True)
        )


def load_in_process(source: str, *, converses: bool) -> InProcessModel:
    """Load a model from a directory or by its hub id; seconds to minutes.

    Args:
        source: Where it is.
        converses: Whether it is asked in conversations, which need a chat template.

    Raises:
        ValueError: If there is no such model, or it cannot be loaded.
    """
    placed = {"device_map": "cuda"} if torch.cuda.is_available() else {}
    try:
        model = AutoModelForCausalLM.from_pretrained(source, dtype="auto", **placed).eval()
        tokenizer = AutoTokenizer.from_pretrained(source)
    except (OSError, ValueError, RuntimeError, ImportError) as error:
        raise ValueError(f"cannot load a model from `{source}`: {first_line(error)}") from error
    if converses and not tokenizer.chat_template:
        raise ValueError(f"the model of `{source}` has no chat template")
    return InProcessModel(model, tokenizer, source)


def first_line(error: Exception) -> str:
    """Return what an error says in its first line: transformers explains at length."""
    return str(error).strip().partition("\n")[0]


def digest_of_weights(model: torch.nn.Module) -> str:
    """Return the SHA-256, hex, over names, types, shapes and bytes, in order of name."""
    digest = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(f"{name} {tensor.dtype} {list(tensor.shape)}\n".encode())
        digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy())
    return digest.hexdigest()


def _ends(model: Any, tokenizer: Any) -> frozenset[int]:  # noqa: ANN401 - transformers ships no types
    ends = model.generation_config.eos_token_id
    listed = ends if isinstance(ends, list) else [ends]
    return frozenset({*listed, tokenizer.eos_token_id} - {None})
