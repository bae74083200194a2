"""The real encoding, and a gpt-oss of random weights that never repeats a token for long."""

from __future__ import annotations

import pytest
import torch
from transformers import GptOssConfig, GptOssForCausalLM

from model_runner.harmony import load_harmony
from model_runner.types import Channel, Delta, Finish, FinishReason, Usage

VOCABULARY = 96
STOP = 95


@pytest.fixture(scope="session")
def harmony(tmp_path_factory):
    return load_harmony(tmp_path_factory.mktemp("vocabulary"))


@pytest.fixture(scope="session")
def random_model():
    config = GptOssConfig(
        vocab_size=VOCABULARY, num_hidden_layers=2, hidden_size=32, intermediate_size=32,
        num_attention_heads=4, num_key_value_heads=2, head_dim=8, num_local_experts=4,
        num_experts_per_tok=2, sliding_window=8, eos_token_id=STOP, pad_token_id=None,
        initializer_range=0.6, max_position_embeddings=4096,
        layer_types=["sliding_attention", "full_attention"], attn_implementation="eager",
    )  # fmt: skip
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        model = GptOssForCausalLM(config)
    return model.requires_grad_(False).eval()


class Letters:
    """A codec of one letter per token; the prompt is the last message."""

    stop_token_ids = (STOP,)

    def render(self, prompt):
        return [ord(letter) - 32 for letter in prompt.messages[-1].text]

    def parser(self, tools=()):
        return LetterParser()


class LetterParser:
    def __init__(self):
        self.output_tokens = self.reasoning_tokens = 0

    def push(self, token_ids):
        self.output_tokens += len(token_ids)
        text = "".join(chr(token + 32) for token in token_ids if token != STOP)
        return [Delta(Channel.FINAL, text)] if text else []

    def finish(self, *, hit_limit, input_tokens=0, cached_tokens=0):
        reason = FinishReason.LENGTH if hit_limit else FinishReason.STOP
        return Finish(reason, Usage(input_tokens, self.output_tokens, 0, cached_tokens))


@pytest.fixture
def letters():
    return Letters()


@pytest.fixture(autouse=True, scope="session")
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
