"""What the hooks read is what a plain forward pass over the whole text holds."""

import math
from dataclasses import replace

import pytest
import torch

from model_runner.batch import PIECE, Batch, Row
from model_runner.probes.file import ProbesRefused
from model_runner.probes.tap import Tap
from model_runner.sampling import make_draw

PROMPTS = [[5, 17, 80, 3], [60], list(range(1, 40)), [7] * 12 + [9], [33, 8]]
CLOSE = {"abs": 2e-4}


@pytest.fixture
def tap(random_model, probes):
    tap = Tap(random_model, probes)
    yield tap
    tap.close()


def row(token_ids, max_tokens=12):
    return Row(
        list(token_ids), make_draw(0.0, 1.0, 1, torch.device("cpu")), frozenset(), max_tokens
    )


def run(batch, rows):
    while len(batch):
        batch.step()
    assert all(each.failure is None for each in rows)


def reference(model, probes, token_ids):
    """Smoothed scores at each position, computed plainly from transformers' hidden states."""
    with torch.no_grad():
        states = model(input_ids=torch.tensor([token_ids]), output_hidden_states=True).hidden_states
    # hidden_states[n + 1] is what leaves layer n, but the last is normed: these are hooked apart.
    scores, smoothed = [], None
    last = _leaving(model, token_ids)
    for place in range(len(token_ids)):
        logits = []
        for category in range(len(probes.categories)):
            total = 0.0
            for number, layer in enumerate(probes.layers):
                state = (
                    last[layer][place] if layer == len(last) - 1 else states[layer + 1][0, place]
                )
                size = math.sqrt(sum(float(each) ** 2 for each in state) / len(state))
                total += sum(
                    float(weight) * float(each) / size
                    for weight, each in zip(probes.weights[category, number], state, strict=True)
                )
            logits.append(total)
        alpha = 2 / (probes.span + 1)
        smoothed = (
            logits
            if smoothed is None
            else [
                (1 - alpha) * old + alpha * new for old, new in zip(smoothed, logits, strict=True)
            ]
        )
        scores.append(
            [
                1 / (1 + math.exp(-(value + float(bias))))
                for value, bias in zip(smoothed, probes.bias, strict=True)
            ]
        )
    return scores


def _leaving(model, token_ids):
    kept = []
    hooks = [
        layer.register_forward_hook(lambda m, i, output: kept.append(output[0]))
        for layer in model.model.layers
    ]
    with torch.no_grad():
        model(input_ids=torch.tensor([token_ids]))
    for hook in hooks:
        hook.remove()
    return kept


def test_each_token_has_the_smoothed_score_of_the_pass_that_drew_it(random_model, probes, tap):
    for prompt in PROMPTS:
        batch, one = Batch(random_model, tap), row(prompt)
        batch.join(one)
        run(batch, [one])

        expected = reference(random_model, probes, [*prompt, *one.fresh[:-1]])[len(prompt) - 1 :]

        assert len(one.probed) == len(one.fresh) == 12
        for got, wanted in zip(one.probed, expected, strict=True):
            assert got == pytest.approx(wanted, **CLOSE)


def test_scores_differ_between_tokens_prompts_and_categories(random_model, tap):
    batch, rows = Batch(random_model, tap), [row(prompt) for prompt in PROMPTS]
    for each in rows:
        batch.join(each)
    run(batch, rows)

    scores = {round(score, 4) for each in rows for of_token in each.probed for score in of_token}
    assert len(scores) > 60


@pytest.mark.parametrize("gap", [0, 1, 5])
def test_a_row_is_read_as_it_is_alone_whoever_else_is_in_the_batch(random_model, tap, gap):
    alone = []
    for prompt in PROMPTS:
        batch, one = Batch(random_model, tap), row(prompt)
        batch.join(one)
        run(batch, [one])
        alone.append(one)
    batch, rows = Batch(random_model, tap), [row(prompt) for prompt in PROMPTS]
    for each in rows:
        batch.join(each)
        for _ in range(gap):
            batch.step()
    batch.leave([rows[0]])
    run(batch, rows[1:])

    for got, wanted in zip(rows[1:], alone[1:], strict=True):
        assert got.fresh == wanted.fresh
        assert torch.tensor(got.probed) == pytest.approx(torch.tensor(wanted.probed), **CLOSE)


def test_a_prompt_of_several_pieces_is_smoothed_over_their_edges(random_model, probes, tap):
    prompt = [(7 * index * index) % 95 for index in range(PIECE + 3)]
    batch, one = Batch(random_model, tap), row(prompt, max_tokens=1)
    batch.join(one)
    run(batch, [one])

    [score] = reference(random_model, probes, prompt)[-1:]
    assert one.probed[0] == pytest.approx(score, **CLOSE)


def test_the_probes_change_nothing_of_what_is_said(random_model, tap):
    batch, one = Batch(random_model, tap), row(PROMPTS[2])
    batch.join(one)
    run(batch, [one])
    tap.close()
    batch, other = Batch(random_model), row(PROMPTS[2])
    batch.join(other)
    run(batch, [other])

    assert one.fresh == other.fresh
    assert other.probed == []


def test_no_forward_pass_is_added(random_model, tap):
    passes = []
    hook = random_model.register_forward_hook(lambda *_: passes.append(1))
    batch, one = Batch(random_model, tap), row(PROMPTS[0], max_tokens=9)
    batch.join(one)
    run(batch, [one])
    hook.remove()

    assert len(passes) == 9


def test_a_pass_that_failed_leaves_nothing_for_the_next(random_model, tap):
    with torch.no_grad():
        random_model(input_ids=torch.tensor([[1, 2, 3]]))  # nobody takes what was read of it
        random_model(input_ids=torch.tensor([[4, 5]]))

    assert tap.take().shape == (1, 2, 2)
    with pytest.raises(RuntimeError, match="read nothing"):
        tap.take()


def test_probes_beyond_the_last_layer_are_refused(random_model, probes):
    with pytest.raises(ProbesRefused, match="shape"):
        Tap(random_model, replace(probes, layers=(0, 2)))
