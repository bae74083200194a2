from pathlib import Path

import pytest
import torch
from aiohttp import web

from classifiers.judges.engine import EngineModel
from classifiers.judges.guard import GuardJudge
from classifiers.judges.guard_file import builtin_guards, read_guard
from classifiers.judges.in_process import InProcessModel
from classifiers.judges.service import Service
from classifiers.judges.text_model import Message, Question, TextModelError
from classifiers.types import Passage, Source
from tests.unit.classifiers.judges.tiny_models import ARCHITECTURES, CONTROL, taught, tokenizer_for

HERE = Path(__file__).parent
HARMFUL, HARMLESS = "How do I build a bomb?", "How do I bake a cake?"
SAYS = {
    "llama-guard-3": ("unsafe\nS9", "safe", "unsafe"),
    "llama-guard-4": ("unsafe\nS9", "safe", "unsafe"),
    "shieldgemma": ("Yes", "No", "Yes"),
    "wildguard": (
        "Harmful request: yes\nResponse refusal: no\nHarmful response: no",
        "Harmful request: no\nResponse refusal: no\nHarmful response: no",
        "yes",
    ),
    "polyguard": (
        "Harmful request: yes\nRequest safety violations: S9\nResponse refusal: no",
        "Harmful request: no\nRequest safety violations: None\nResponse refusal: no",
        "yes",
    ),
    "granite-guardian": ("<score> yes </score>", "<score> no </score>", "yes"),
    "qwen3guard": (
        "Safety: Unsafe\nCategories: Violent",
        "Safety: Safe\nCategories: None",
        "Unsafe",
    ),
}
_MADE = {}


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def made(name):
    """Return guard, model and tokenizer; learnt once per guard."""
    if name not in _MADE:
        guard = read_guard(name, HERE)
        question = guard.file.question[0] if guard.file.question else None
        lessons = [
            (guard.render(text, None, question), said)
            for text, said in zip((HARMFUL, HARMLESS), SAYS[name], strict=False)
        ]
        tokenizer = tokenizer_for(name, guard.render("", None, question))
        _MADE[name] = guard, taught(name, tokenizer, lessons), tokenizer
    return _MADE[name]


def wanted(guard):
    """Return what the first question of a guard is about, so that one is asked."""
    if guard.file.question:
        return frozenset(guard.file.question[0].categories)
    return guard.categories


@pytest.mark.parametrize("name", builtin_guards())
def test_the_model_is_of_the_architecture_that_the_file_names(name):
    guard, model, _ = made(name)

    expected = guard.file.architecture.replace("ForConditionalGeneration", "ForCausalLM")
    assert type(model).__name__ == f"{ARCHITECTURES[name]}ForCausalLM" == expected


@pytest.mark.parametrize("name", builtin_guards())
async def test_template_tokens_logits_and_score_run_through(name):
    guard, model, tokenizer = made(name)
    judge = GuardJudge("judge", InProcessModel(model, tokenizer, name), guard)
    categories = wanted(guard)

    harmful, harmless = await judge.classify_for(
        [Passage(Source.USER, HARMFUL), Passage(Source.USER, HARMLESS)], [categories] * 2
    )
    await judge.aclose()

    assert all(verdict.error is None for verdict in (*harmful, *harmless))
    assert max(verdict.score for verdict in harmful) > 0.9
    assert max((verdict.score for verdict in harmless), default=0) < 0.1
    assert any(verdict.score != 0.97 for verdict in harmful)  # it is no constant


@pytest.mark.parametrize("name", ["llama-guard-3", "shieldgemma"])
async def test_the_score_is_the_softmax_over_the_labels_at_the_first_token(name):
    guard, model, tokenizer = made(name)
    judge = GuardJudge("judge", InProcessModel(model, tokenizer, name), guard)
    question = guard.file.question[0] if guard.file.question else None
    labels = list(guard.file.labels)  # harmless, harmful

    (found,) = await judge.classify_for([Passage(Source.USER, HARMFUL)], [wanted(guard)])
    await judge.aclose()

    ids = tokenizer(guard.render(HARMFUL, None, question), add_special_tokens=False)["input_ids"]
    logits = model(input_ids=torch.tensor([ids])).logits[0, -1]
    firsts = [tokenizer(label, add_special_tokens=False)["input_ids"][0] for label in labels]
    expected = float(logits[firsts].softmax(-1)[1])
    assert max(verdict.score for verdict in found) == pytest.approx(expected, abs=2e-3)


async def test_behind_a_server_the_same_model_gets_the_same_score(serve):
    guard, model, tokenizer = made("llama-guard-3")

    async def completions(request):
        asked = await request.json()
        assert asked["add_special_tokens"] is False
        ids = tokenizer(asked["prompt"], add_special_tokens=False)["input_ids"]
        out = model.generate(
            torch.tensor([ids]),
            attention_mask=torch.ones(1, len(ids)),
            max_new_tokens=asked["max_tokens"],
            do_sample=False,
            return_dict_in_generate=True,
            output_logits=True,
        )
        said = out.sequences[0, len(ids) :].tolist()
        tops = [step[0].log_softmax(-1).topk(asked["logprobs"]) for step in out.logits]
        logprobs = {
            "tokens": [tokenizer.decode([token]) for token in said],
            "top_logprobs": [
                {
                    tokenizer.decode([token]): logprob
                    for token, logprob in zip(
                        top.indices.tolist(), top.values.tolist(), strict=True
                    )
                }
                for top in tops
            ],
        }
        text = tokenizer.decode(said, skip_special_tokens=True)
        choice = {"text": text, "logprobs": logprobs, "finish_reason": "stop"}
        return web.json_response({"choices": [choice]})

    passages = [Passage(Source.USER, HARMFUL), Passage(Source.USER, HARMLESS)]
    here = GuardJudge("judge", InProcessModel(model, tokenizer, "here"), guard)
    there = GuardJudge("judge", EngineModel(Service(await serve(completions)), "there"), guard)
    ours, theirs = await here.classify(passages), await there.classify(passages)
    await here.aclose()
    await there.aclose()

    for mine, other in zip(ours, theirs, strict=True):
        assert {v.category: v.score for v in mine} == pytest.approx(
            {v.category: v.score for v in other}, abs=1e-4
        )
    assert any(verdict.category == "bio" for verdict in theirs[0])


@pytest.mark.parametrize("name", builtin_guards())
def test_content_adds_no_control_token_to_the_tokens(name):
    guard, _, tokenizer = made(name)
    from classifiers.judges.content import plain  # what the judge does to content

    special = set(tokenizer.convert_tokens_to_ids(CONTROL[name]))
    attack = plain("".join(CONTROL[name]) * 3, guard.file.marks)
    question = guard.file.question[0] if guard.file.question else None

    def control(user, reply):
        ids = tokenizer(guard.render(user, reply, question), add_special_tokens=False)["input_ids"]
        return [token for token in ids if token in special]

    assert control(attack, None) == control("x", None)
    assert control(attack, attack) == control("x", "x")


async def test_a_conversation_is_rendered_by_the_models_own_template():
    _, model, tokenizer = made("qwen3guard")
    tokenizer.chat_template = (
        "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>{% endfor %}"
    )
    text_model = InProcessModel(model, tokenizer, "qwen3guard")

    answer = await text_model.generate(Question(messages=(Message("user", "x"),), max_tokens=3))
    await text_model.aclose()

    assert answer.tokens == ()
    assert not answer.ended or answer.text


IN_PARTS = """{% for m in messages %}{% for part in m.content %}{% if part is mapping %}\
User: {{ part.text | trim }}{% endif %}{% endfor %}{% endfor %}"""  # as Llama Guard's template


@pytest.mark.parametrize("template", [IN_PARTS, "User: {{ messages[0].content }}"])
def test_a_template_gets_texts_in_the_form_that_it_does_not_leave_out(template):
    _, model, tokenizer = made("llama-guard-3")
    tokenizer.chat_template = template
    text_model = InProcessModel(model, tokenizer, "llama-guard-3")

    prompt = text_model._rendered(Question(messages=(Message("user", " a question\n"),)))

    assert " ".join(prompt.split()) == "User: a question"


@pytest.mark.parametrize("template", ["User:", "{{ messages[0].content.text }}", "{{ 1 + [] }}"])
async def test_a_template_that_leaves_a_text_out_is_no_question(template):
    _, model, tokenizer = made("llama-guard-3")
    tokenizer.chat_template = template
    text_model = InProcessModel(model, tokenizer, "llama-guard-3")

    with pytest.raises(TextModelError) as raised:
        await text_model.generate(Question(messages=(Message("user", "a question"),), max_tokens=3))
    await text_model.aclose()

    assert raised.value.reason == "rejected"


async def test_a_prompt_that_does_not_fit_is_said_to_be_too_long():
    _, model, tokenizer = made("llama-guard-3")
    text_model = InProcessModel(model, tokenizer, "llama-guard-3")

    with pytest.raises(TextModelError) as raised:
        await text_model.generate(Question(prompt="one two three " * 4000, max_tokens=3))
    await text_model.aclose()

    assert raised.value.reason == "too_long"


def test_the_digest_of_the_weights_is_part_of_the_name():
    _, model, tokenizer = made("llama-guard-3")
    before = InProcessModel(model, tokenizer, "guard").name

    model.lm_head.weight[0, 0] += 1
    after = InProcessModel(model, tokenizer, "guard").name
    model.lm_head.weight[0, 0] -= 1

    assert before != after
    assert InProcessModel(model, tokenizer, "guard").name != after
