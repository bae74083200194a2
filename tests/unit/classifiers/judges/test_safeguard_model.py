"""gpt-oss in small as a judge in this process: its architecture, channels and template."""

from datetime import date

import pytest
import torch
from tokenizers import Tokenizer

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
from tests.unit.classifiers.judges.tiny_safeguard import (
    TEMPLATE,
    rendered,
    reply,
    taught,
    tokenizer_of,
)

POLICY = WrittenPolicy("hate", "hate", "# Hate")
NONCE = "0123456789abcdef"
HARMFUL, HARMLESS = "They are vermin.", "They are neighbours."


def prompts(text, options):
    """Return the conversation that asks about a text, and how it is rendered."""
    case = safeguard._Case(0, Source.USER, POLICY, text, "", "")
    return safeguard.messages(case, options)


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
