import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from model_runner.sampling import draw_token, make_draw

CPU = torch.device("cpu")
LOGITS = torch.log(torch.tensor([0.1, 0.5, 0.15, 0.25]))


def drawn(logits, *, count=200, **settings):
    draw = make_draw(settings.get("temperature", 1.0), settings.get("top_p", 1.0), 1, CPU)
    return [draw_token(logits, draw) for _ in range(count)]


def test_temperature_zero_takes_the_likeliest():
    assert set(drawn(LOGITS, temperature=0.0)) == {1}


def test_without_top_p_every_token_can_be_drawn():
    assert set(drawn(LOGITS)) == {0, 1, 2, 3}


@pytest.mark.parametrize(
    ("top_p", "kept"), [(0.0, {1}), (0.4, {1}), (0.6, {1, 3}), (0.8, {1, 2, 3})]
)
def test_top_p_keeps_the_likeliest_up_to_that_mass(top_p, kept):
    assert set(drawn(LOGITS, top_p=top_p)) == kept


def test_top_p_reaches_over_as_many_tokens_as_it_needs():
    flat = torch.zeros(2000)

    assert max(drawn(flat, top_p=0.99, count=500)) > 1000


def test_a_high_temperature_flattens():
    cold, hot = drawn(LOGITS, temperature=0.1), drawn(LOGITS, temperature=10.0)

    assert cold.count(1) > hot.count(1)


@given(st.lists(st.floats(-20, 20), min_size=1, max_size=600), st.floats(0, 1), st.floats(0, 2))
def test_whatever_the_settings_a_token_of_the_vocabulary_is_drawn(scores, top_p, temperature):
    draw = make_draw(temperature, top_p, 1, CPU)

    assert 0 <= draw_token(torch.tensor(scores), draw) < len(scores)


def test_a_reply_without_a_seed_is_new_each_time():
    flat = torch.zeros(1000)
    draws = [make_draw(1.0, 1.0, None, CPU) for _ in range(2)]

    first, second = ([draw_token(flat, draw) for _ in range(20)] for draw in draws)

    assert first != second


def test_scores_that_are_not_numbers_are_an_error():
    with pytest.raises(RuntimeError):
        draw_token(torch.full((4,), float("nan")), make_draw(1.0, 1.0, 1, CPU))
