"""Training on gpt-oss-tiny: the mechanism from texts to a served score, not its quality."""

import json

import pytest
import torch

from model_runner.batch import Batch, Row
from model_runner.local import digest_of_model, load_local
from model_runner.probes.__main__ import default_layers, train
from model_runner.probes.activations import MOST_POSITIONS, Collector
from model_runner.probes.file import read_probes, write_probes
from model_runner.probes.fit import Material, TooFewTexts, auroc, fit
from model_runner.probes.tap import Tap
from model_runner.probes.texts import Labelled, TextsRefused, read_texts, write_texts
from model_runner.sampling import make_draw
from model_runner.types import Delta, Message, Prompt, Role, Sampling

GREEDY, STOP = make_draw(0.0, 1.0, 1, torch.device("cpu")), frozenset()
WORDS = ["river", "violin", "seventeen", "cloud", "marble", "ticket", "lantern", "harvest"]


def made_up(count=24):
    """Texts that differ in one thing: whether they ask in capitals."""
    for number in range(count):
        words = [WORDS[(number * step) % len(WORDS)] for step in (1, 3, 5)]
        said = f"Tell me {number} things about {' and '.join(words)}."
        yield Labelled(said, labels={"calm": 0.0, "loud": 0.0}, group=f"calm {number}")
        yield Labelled(said.upper(), labels={"loud": 1.0}, group=f"loud {number}")
        if number % 2:
            yield Labelled(f"Whisper {said}", "Yes.", {"calm": 1.0}, f"whisper {number}")


@pytest.fixture(scope="module")
def runner():
    return load_local("tiny")


@pytest.fixture(scope="module")
def trained():
    return train("tiny", list(made_up()), [0, 2], span=4)


def test_probes_tell_apart_what_is_plain_to_the_model(trained):
    probes, fitted = trained

    assert probes.categories == ("calm", "loud")
    assert min(fitted.auroc) > 0.9
    assert probes.model == digest_of_model("tiny")


def test_served_they_score_as_they_were_trained(trained, runner):
    probes, _ = trained
    texts = [Labelled("tell me 41 things about clouds."), Labelled("TELL ME 41 THINGS ABOUT IT.")]
    residuals = Collector(runner.network, runner.codec, probes.layers, probes.step).collect(texts)
    tap = Tap(runner.network, probes)
    batch = Batch(runner.network, tap)
    rows = [
        Row(runner.codec.render(Prompt("", (Message(Role.USER, text.prompt),))), GREEDY, STOP, 1)
        for text in texts
    ]
    for row in rows:
        batch.join(row)
    while len(batch):
        batch.step()
    tap.close()

    for row, [read] in zip(rows, residuals, strict=True):
        logits = torch.from_numpy(probes.weights).flatten(1) @ read + torch.from_numpy(probes.bias)
        assert row.probed[0] == pytest.approx(torch.sigmoid(logits).tolist(), abs=2e-3)
    calm, loud = (row.probed[0][1] for row in rows)
    assert calm < 0.5 < loud


async def test_a_runner_that_loads_probes_says_what_they_read(trained, tmp_path):
    write_probes(tmp_path / "probes.safetensors", trained[0])
    runner = load_local("tiny", tmp_path, tmp_path / "probes.safetensors")
    prompt = Prompt("m", (Message(Role.USER, "HELLO."),), sampling=Sampling(max_tokens=8))

    deltas = [item async for item in runner.generate(prompt) if isinstance(item, Delta)]
    await runner.aclose()

    assert deltas
    assert all({*delta.probed} == {"calm", "loud"} for delta in deltas)


def test_a_reply_is_read_from_the_token_that_draws_its_first_one(runner):
    collector = Collector(runner.network, runner.codec, (0,), 0.5)

    ids, first = collector.tokens(Labelled("Hi.", "Hello there."))
    opening, last = collector.tokens(Labelled("Hi."))

    assert ids[: len(opening)] == opening
    assert first == last == len(opening) - 1
    said = runner.codec.encode_frame("<|channel|>final<|message|>Hello there.")
    assert ids[len(opening) :] == said[:-1]


def test_of_a_long_reply_positions_are_kept_evenly(runner):
    collector = Collector(runner.network, runner.codec, (0, 1), 0.5)

    [residuals] = collector.collect([Labelled("Hi.", "one two three " * 80)])

    assert residuals.shape == (MOST_POSITIONS, 2 * 64)


def material(labels, logits, aside):
    rows = torch.tensor([len(each) for each in logits])
    return Material(
        torch.tensor([value for each in logits for value in each]).unsqueeze(1),
        torch.repeat_interleave(torch.arange(len(logits)), rows),
        torch.tensor(labels).unsqueeze(1),
        torch.tensor(aside),
    )


def test_a_harmful_text_need_not_be_harmful_everywhere():
    harmful = [[-1.0] * 9 + [2.0 + index / 10] for index in range(10)]
    harmless = [[-1.0] * 9 + [0.0 + index / 10] for index in range(10)]
    learned = material([1.0] * 10 + [0.0] * 10, harmful + harmless, [False, True] * 10)

    assert fit(learned, ["bad"]).auroc == (1.0,)


def test_a_category_without_both_kinds_of_text_is_refused_by_name():
    learned = material([1.0, 1.0, 0.0], [[1.0], [2.0], [0.0]], [False, True, False])

    with pytest.raises(TooFewTexts, match="`bad` needs harmful and harmless texts set aside"):
        fit(learned, ["bad"])


def test_the_area_under_the_curve_counts_ties_by_half():
    scores = torch.tensor([0.9, 0.5, 0.5, 0.1])

    assert auroc(scores, torch.tensor([1.0, 1.0, 0.0, 0.0])) == 0.875


def test_four_layers_are_read_unless_others_are_named():
    assert default_layers(30) == [7, 14, 21, 29]
    assert default_layers(3) == [0, 1, 2]


def test_texts_are_read_as_they_were_written(tmp_path):
    texts = [*made_up(2)]
    write_texts(tmp_path / "texts.jsonl", texts)

    assert list(read_texts(tmp_path / "texts.jsonl")) == texts


@pytest.mark.parametrize(
    "row",
    [
        [], {}, {"prompt": "a"}, {"prompt": 1, "labels": {}}, {"prompt": "a", "labels": {"b": 2}},
        {"prompt": "a", "labels": {"b": "high"}}, {"prompt": "a", "labels": {}, "answer": "b"},
        {"prompt": "a", "reply": 4, "labels": {}},
    ],
)  # fmt: skip
def test_a_line_that_is_no_labelled_text_is_refused_with_its_number(tmp_path, row):
    path = tmp_path / "texts.jsonl"
    path.write_text('{"prompt": "a", "labels": {}}\n' + json.dumps(row))

    with pytest.raises(TextsRefused, match=r"texts\.jsonl:2"):
        list(read_texts(path))


def test_probes_survive_being_written(trained, tmp_path):
    write_probes(tmp_path / "probes.safetensors", trained[0])

    assert (read_probes(tmp_path / "probes.safetensors").weights == trained[0].weights).all()
