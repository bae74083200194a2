import pytest
import torch

from model_runner.batch import PIECE, Batch, Row
from model_runner.sampling import make_draw

CPU = torch.device("cpu")
PROMPTS = [
    [5, 17, 80, 3], [60], list(range(1, 40)), [7] * 12 + [9], [90, 2, 44, 44, 18, 6, 71], [33, 8],
]  # fmt: skip


def row(token_ids, *, max_tokens=24, stop=(), temperature=0.0, seed=1, top_p=1.0):
    draw = make_draw(temperature, top_p, seed, CPU)
    return Row(list(token_ids), draw, frozenset(stop), max_tokens)


def run(batch):
    while len(batch):
        batch.step()


def alone(model, *args, **settings):
    batch, one = Batch(model), row(*args, **settings)
    batch.join(one)
    run(batch)
    assert one.failure is None
    return one.fresh


@pytest.fixture(scope="module")
def expected(random_model):
    """What each prompt is answered by transformers' own greedy search, without our batch."""
    replies = []
    for prompt in PROMPTS:
        ids = torch.tensor([prompt])
        grown = random_model.generate(
            ids, attention_mask=torch.ones_like(ids), max_new_tokens=24, do_sample=False,
            eos_token_id=None, pad_token_id=0,
        )  # fmt: skip
        replies.append(grown[0, len(prompt) :].tolist())
    return replies


def test_the_replies_used_here_are_not_all_alike(expected):
    assert len({tuple(reply) for reply in expected}) == len(PROMPTS)
    assert all(len(set(reply)) > 3 for reply in expected)


def test_one_row_says_what_transformers_says(random_model, expected):
    assert [alone(random_model, prompt) for prompt in PROMPTS] == expected


@pytest.mark.parametrize("gap", [0, 1, 3, 10])
def test_rows_that_join_at_different_times_say_what_they_say_alone(random_model, expected, gap):
    batch, rows = Batch(random_model), [row(prompt) for prompt in PROMPTS]

    for each in rows:
        batch.join(each)
        for _ in range(gap):
            batch.step()
    run(batch)

    assert [each.fresh for each in rows] == expected


def test_rows_that_stay_say_the_same_after_others_left(random_model, expected):
    batch, rows = Batch(random_model), [row(prompt) for prompt in PROMPTS]
    for each in rows:
        batch.join(each)
    for _ in range(len(PROMPTS) + 2):
        batch.step()

    batch.leave([rows[0], rows[2], rows[5]])  # the longest among them
    run(batch)

    assert [rows[index].fresh for index in (1, 3, 4)] == [expected[index] for index in (1, 3, 4)]
    assert len(rows[2].fresh) < 24


def test_a_prompt_of_several_pieces_is_read_whole(random_model):
    prompt = [(7 * index * index) % 95 for index in range(2 * PIECE + 5)]
    ids = torch.tensor([prompt])
    grown = random_model.generate(
        ids, attention_mask=torch.ones_like(ids), max_new_tokens=8, do_sample=False,
        eos_token_id=None, pad_token_id=0,
    )  # fmt: skip

    assert alone(random_model, prompt, max_tokens=8) == grown[0, len(prompt) :].tolist()


def test_a_long_prompt_does_not_stall_the_others(random_model):
    batch, short, long = Batch(random_model), row([5, 6]), row([4] * (3 * PIECE))
    batch.join(short)
    batch.step()
    batch.join(long)

    batch.step()
    batch.step()

    assert len(short.fresh) == 3
    assert long.fresh == []


def test_a_seed_gives_the_same_reply_whoever_else_is_in_the_batch(random_model):
    settings = {"temperature": 1.0, "top_p": 0.9, "seed": 5}
    batch, one = Batch(random_model), row([5, 6, 7], **settings)
    for each in (row([1, 2], temperature=1.0, seed=9), one, row([3] * 20)):
        batch.join(each)

    run(batch)

    assert one.fresh == alone(random_model, [5, 6, 7], **settings)
    assert one.fresh != alone(random_model, [5, 6, 7], **(settings | {"seed": 6}))


def test_a_stop_token_ends_the_reply_and_is_part_of_it(random_model, expected):
    stop = expected[0][5]

    reply = alone(random_model, PROMPTS[0], stop=[stop])

    assert reply == expected[0][: expected[0].index(stop) + 1]


class Failing:
    """A model that fails for batches or for one prompt."""

    def __init__(self, model, *, fails_on):
        self.model, self.fails_on = model, fails_on
        self.device = model.device

    def __call__(self, **inputs):
        if self.fails_on(inputs["input_ids"]):
            raise torch.OutOfMemoryError("too much")
        return self.model(**inputs)


def test_a_prompt_that_cannot_be_read_fails_alone(random_model, expected):
    failing = Failing(random_model, fails_on=lambda ids: ids[0, 0] == 60)
    batch, rows = Batch(failing), [row(PROMPTS[0]), row([60, 1]), row(PROMPTS[4])]
    for each in rows:
        batch.join(each)

    run(batch)

    assert isinstance(rows[1].failure, torch.OutOfMemoryError)
    assert [rows[0].fresh, rows[2].fresh] == [expected[0], expected[4]]


def test_after_a_step_that_failed_the_batch_serves_new_rows(random_model, expected):
    failing = Failing(random_model, fails_on=lambda ids: len(ids) == 2)
    batch, rows = Batch(failing), [row(PROMPTS[0]), row(PROMPTS[1])]
    for each in rows:
        batch.join(each)
    run(batch)
    later = row(PROMPTS[3])
    batch.join(later)

    run(batch)

    assert all(isinstance(each.failure, torch.OutOfMemoryError) for each in rows)
    assert later.fresh == expected[3]
