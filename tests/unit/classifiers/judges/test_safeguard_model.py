"""gpt-oss in small as a judge in this process: its architecture, channels and template."""

import json
from datetime import date

import pytest
import torch
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import GptOssConfig, GptOssForCausalLM, PreTrainedTokenizerFast

from classifiers.judges import safeguard
from classifiers.judges.configure import load_judges
from classifiers.judges.in_process import InProcessModel
from classifiers.judges.safeguard import Safeguard, SafeguardOptions
from classifiers.judges.text_model import Message, Question
from classifiers.judges.written_policy import WrittenPolicy
from classifiers.types import Passage, Source
from model_runner.harmony import load_harmony
from model_runner.types import Effort, Prompt, Role
from model_runner.types import Message as Said

CONTROL = ["<|start|>", "<|end|>", "<|message|>", "<|channel|>", "<|constrain|>", "<|return|>"]
CONTROL += ["<|call|>"]
# What the published template writes of a conversation without tools.
TEMPLATE = """<|start|>system<|message|>You are ChatGPT, a large language model trained by OpenAI.
Knowledge cutoff: 2024-06
Current date: 2026-11-24

Reasoning: {{ reasoning_effort }}

# Valid channels: analysis, commentary, final. Channel must be included for every message.\
<|end|><|start|>developer<|message|># Instructions

{{ messages[0].content }}<|end|><|start|>user<|message|>{{ messages[1].content }}<|end|>\
<|start|>assistant"""
POLICY = WrittenPolicy("hate", "hate", "# Hate")
NONCE = "0123456789abcdef"
HARMFUL, HARMLESS = "They are vermin.", "They are neighbours."


def reply(violation, channel="final"):
    said = json.dumps({"violation": violation, "rationale": f"V{violation}: why."})
    return (
        f"<|channel|>analysis<|message|>Is it 0 or 1? It is {violation}.<|end|>"
        f"<|start|>assistant<|channel|>{channel}<|message|>{said}"
    )


def tokenizer_of(*texts):
    """Train a BPE whose tokens are whole lines and single digits: there is little to read."""
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split("\n", "isolated"),
            pre_tokenizers.Digits(individual_digits=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    bpe.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=3000,
        special_tokens=[AddedToken(token, special=True) for token in CONTROL],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    bpe.train_from_iterator(texts * 2, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=bpe,
        eos_token="<|return|>",
        pad_token="<|return|>",
        chat_template=TEMPLATE,
    )


def prompts(text, options):
    """Return the conversation that asks about a text, and how it is rendered."""
    case = safeguard._Case(0, Source.USER, POLICY, text, "", "")
    return safeguard.messages(case, options)


def rendered(tokenizer, conversation):
    return tokenizer.apply_chat_template(
        [{"role": message.role, "content": message.text} for message in conversation],
        tokenize=False,
        add_generation_prompt=True,
        reasoning_effort="low",
    )


def taught(tokenizer, lessons, steps=150):
    config = GptOssConfig(
        vocab_size=len(tokenizer), num_hidden_layers=2, hidden_size=32, intermediate_size=32,
        num_attention_heads=4, num_key_value_heads=2, head_dim=8, num_local_experts=4,
        num_experts_per_tok=2, sliding_window=64, pad_token_id=None, max_position_embeddings=4096,
        eos_token_id=[tokenizer.convert_tokens_to_ids(end) for end in ("<|return|>", "<|call|>")],
        layer_types=["sliding_attention", "full_attention"], attn_implementation="eager",
    )  # fmt: skip
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = GptOssForCausalLM(config).train()
    rows = [
        [tokenizer(text, add_special_tokens=False)["input_ids"] for text in lesson]
        for lesson in lessons
    ]
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
    for _ in range(steps):
        loss = 0
        for asked, told in rows:
            logits = model(input_ids=torch.tensor([asked + told])).logits[0]
            ahead = logits[len(asked) - 1 : -1]  # (told, vocabulary)
            loss = loss + torch.nn.functional.cross_entropy(ahead, torch.tensor(told))
        if loss.item() < 0.02:
            break
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return model.requires_grad_(False).eval()


ANSWERS = [reply(1) + "<|return|>", reply(0) + "<|return|>"]


@pytest.fixture(scope="module")
def questions():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(safeguard, "nonce_for", lambda *texts: NONCE)
        return [prompts(text, SafeguardOptions()) for text in (HARMFUL, HARMLESS)]


@pytest.fixture(scope="module")
def tokenizer(questions):
    texts = [message.text for messages in questions for message in messages]
    return tokenizer_of(*texts, *ANSWERS, TEMPLATE)


@pytest.fixture(scope="module")
def model(tokenizer, questions):
    """A model that learnt two verdicts by heart."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    lessons = [
        (rendered(tokenizer, asked), said) for asked, said in zip(questions, ANSWERS, strict=True)
    ]
    yield taught(tokenizer, lessons)
    torch.set_num_threads(threads)


@pytest.fixture
def same_nonce(monkeypatch):
    """The small model learnt its questions by heart, with the nonce that they had."""
    monkeypatch.setattr(safeguard, "nonce_for", lambda *texts: NONCE)


def test_the_template_writes_what_harmony_writes(tokenizer, tmp_path):
    said = [Message("developer", "the policy"), Message("user", "the content")]
    harmony = load_harmony(tmp_path)
    messages = tuple(Said(Role(message.role), message.text) for message in said)
    prompt = Prompt(model="gpt-oss", messages=messages, effort=Effort.LOW)

    expected = harmony._encoding.decode(harmony.render(prompt, today=date(2026, 11, 24)))

    assert rendered(tokenizer, said) == expected


async def test_thoughts_are_no_part_of_the_answer_that_is_scored(model, tokenizer, same_nonce):
    judge = Safeguard("safeguard", InProcessModel(model, tokenizer, "small"), [POLICY])

    (harmful,), (harmless,) = await judge.classify(
        [Passage(Source.USER, HARMFUL), Passage(Source.USER, HARMLESS)]
    )
    await judge.aclose()

    assert (harmful.error, harmless.error) == (None, None)
    assert (harmful.rationale, harmless.rationale) == ("V1: why.", "V0: why.")
    assert harmful.score > 0.8
    assert harmless.score < 0.2
    assert harmful.score not in (0.97, 0.03)  # the label's own probability


@pytest.mark.parametrize(
    ("said", "answer"),
    [
        (reply(1), '{"violation": 1, "rationale": "V1: why."}'),
        ("<|channel|>final <|message|>0", "0"),
        ("<|channel|>final <|constrain|>json<|message|>0", "0"),
        ("<|channel|>final<|constrain|>json<|message|>0", "0"),
        ("<|channel|>final to=functions.say <|constrain|>json<|message|>0", ""),
        ("<|channel|>finale<|message|>0", ""),
        ("<|channel|>final<|message|>1<|end|><|start|>assistant<|channel|>final<|message|>0", "0"),
        (reply(0, channel="analysis"), ""),
        (reply(0, channel="commentary to=functions.say"), ""),
        ("<|channel|>analysis<|message|>The final answer is 0", ""),
        ("<|channel|>final", ""),
        ("<|message|>0", ""),
        ("0", ""),
        ("", ""),
    ],
)
def test_only_what_is_said_last_in_the_final_channel_is_an_answer(model, tokenizer, said, answer):
    small = InProcessModel(model, tokenizer, "small")
    token_ids = tokenizer(said, add_special_tokens=False)["input_ids"]

    assert small._final(token_ids, "whatever") == answer


async def test_control_tokens_spelt_out_by_the_model_are_no_channel(model, tokenizer):
    small = InProcessModel(model, tokenizer, "small")
    thought = tokenizer("<|channel|>analysis<|message|>", add_special_tokens=False)["input_ids"]
    bare = Tokenizer.from_str(tokenizer.backend_tokenizer.to_str())
    pieces = [id for letter in "<|channel|>final<|message|>0" for id in bare.encode(letter).ids]

    assert small._final([*thought, *pieces], "whatever") == ""


async def test_a_question_says_how_long_the_model_may_think(model, tokenizer):
    small = InProcessModel(model, tokenizer, "small")
    said = (Message("system", "p"), Message("user", "c"))

    token_ids = small._encoded(Question(messages=said, effort="high"))

    assert "Reasoning: high" in tokenizer.decode(token_ids)


JUDGES = """
[[judge]]
name = "safeguard"
kind = "safeguard"
runner = "in-process"
model = "{folder}"
policies = ["hate"]
"""


async def test_it_is_loaded_from_a_directory(model, tokenizer, tmp_path):
    model.save_pretrained(tmp_path / "model")
    tokenizer.save_pretrained(tmp_path / "model")
    (tmp_path / "judges.toml").write_text(JUDGES.format(folder=tmp_path / "model"))

    (judge,) = load_judges(tmp_path / "judges.toml")
    await judge.aclose()

    assert judge.categories == {"hate"}


def test_a_model_without_a_chat_template_is_refused(model, tokenizer, tmp_path):
    model.save_pretrained(tmp_path / "model")
    tokenizer.save_pretrained(tmp_path / "model")
    (tmp_path / "model" / "chat_template.jinja").unlink()
    (tmp_path / "judges.toml").write_text(JUDGES.format(folder=tmp_path / "model"))

    with pytest.raises(ValueError, match="has no chat template"):
        load_judges(tmp_path / "judges.toml")
