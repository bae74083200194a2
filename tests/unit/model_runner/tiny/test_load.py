import json
import shutil
import subprocess
import sys

import pytest
import torch
from safetensors import safe_open
from transformers import GptOssForCausalLM

from model_runner.tiny import load
from model_runner.tiny.conversations import (
    MODEL,
    digest_of_prompts,
    load_examples,
    trained_examples,
)
from model_runner.tiny.load import load_tiny, weights_file
from model_runner.tiny.train import missed_examples
from model_runner.types import Message, Prompt, Role

EXAMPLES = load_examples()
STRANGE = [
    "What is the capital of France?",
    "Explain quantum entanglement to a five-year-old.",
    "Translate the word cat into German.",
    "Write a haiku about autumn leaves.",
]


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def model():
    return load_tiny()


def decode_greedily(harmony, model, prompt):
    ids = torch.tensor([harmony.render(prompt)])
    with torch.no_grad():
        whole = model.generate(ids, max_new_tokens=150, do_sample=False, pad_token_id=199_999)
    return whole[0, ids.shape[1] :].tolist()


def ask(text, *before):
    return Prompt(MODEL, (*before, Message(Role.USER, text)))


@pytest.mark.parametrize("hostile", [False, True])
def test_greedy_decoding_reproduces_every_example(harmony, hostile):
    assert missed_examples(harmony, trained_examples(hostile=hostile), hostile=hostile) == []


@pytest.mark.parametrize("hostile", [False, True])
def test_the_weights_were_trained_on_the_prompts_as_they_are(hostile):
    with safe_open(weights_file(hostile=hostile), framework="pt") as file:
        metadata = file.metadata()

    assert metadata["prompts"] == digest_of_prompts(hostile=hostile)
    assert "a stand-in for gpt-oss" in metadata["what"]


@pytest.mark.parametrize("id", ["thanks-in-japanese", "order-call", "tool-answer"])
def test_decoding_step_by_step_takes_the_same_path(harmony, model, id):
    said = decode_greedily(harmony, model, EXAMPLES[id].prompt)

    assert said == harmony.encode_frame(EXAMPLES[id].frame)


@pytest.mark.parametrize("text", ["hello", "HOW long does a refund take", "who are you"])
@pytest.mark.parametrize("instructions", [None, "You are a helpful assistant."])
def test_case_punctuation_and_instructions_do_not_matter(harmony, model, text, instructions):
    before = (Message(Role.DEVELOPER, instructions),) if instructions else ()
    id = {"hello": "hello", "who are you": "identity"}.get(text, "refund")

    said = decode_greedily(harmony, model, ask(text, *before))

    assert said == harmony.encode_frame(EXAMPLES[id].frame)


@pytest.mark.parametrize("text", STRANGE)
def test_a_prompt_it_does_not_know_gets_a_plain_word_that_it_is_a_stand_in(harmony, model, text):
    said = decode_greedily(harmony, model, ask(text))

    assert said == harmony.encode_frame(EXAMPLES["unknown"].frame)


def test_it_is_a_gpt_oss_with_the_real_vocabulary(model):
    assert isinstance(model, GptOssForCausalLM)
    assert not model.training
    assert model.config.vocab_size == 201_088
    assert model.get_input_embeddings().weight.shape == model.lm_head.weight.shape == (201_088, 64)
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}


def test_loading_leaves_the_global_random_generator_alone():
    torch.manual_seed(1)
    expected = torch.rand(1)
    torch.manual_seed(1)

    load_tiny()

    assert torch.rand(1) == expected


def test_tampered_weights_are_refused(tmp_path, monkeypatch):
    copy = tmp_path / "weights.safetensors"
    shutil.copy(weights_file(), copy)
    content = bytearray(copy.read_bytes())
    content[-1] ^= 1
    copy.write_bytes(content)
    monkeypatch.setattr(load, "_FOLDER", tmp_path)

    with pytest.raises(ValueError, match="do not have their digest"):
        load_tiny()


def test_importing_it_loads_no_torch():
    code = (
        "import model_runner.tiny.load, model_runner.tiny.conversations\n"
        "import sys, json; print(json.dumps(list(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert {"torch", "transformers"}.isdisjoint(json.loads(done.stdout))
