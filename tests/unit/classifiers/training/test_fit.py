import math

import torch

from classifiers.training.example import HEADS
from classifiers.training.fit import _loss, between


def pull(label: float, logit: float = 0.0) -> float:
    """How far the loss moves the first head's logit, for a text of which only it is known."""
    logits = torch.full((1, len(HEADS)), logit, requires_grad=True)
    labels = torch.full((1, len(HEADS)), math.nan)
    labels[0, 0] = label
    _loss(logits, labels, torch.ones(1), torch.ones(len(HEADS))).backward()
    assert logits.grad is not None
    assert not logits.grad[0, 1:].any()  # what is unknown teaches nothing
    return -logits.grad[0, 0].item()


def test_a_label_that_may_be_wrong_pulls_less_and_the_same_way():
    assert pull(1.0) > pull(0.9) > pull(0.6) > 0
    assert pull(0.0) < pull(0.1) < pull(0.4) < 0
    assert pull(0.5) == 0


def test_a_label_that_may_be_wrong_sets_no_bound_to_the_score():
    assert pull(0.9, logit=math.log(0.99 / 0.01)) > 0


def test_weights_between_two_runs_lie_on_the_line_and_reach_both_ends():
    first, second = {"w": torch.tensor([0.0, 4.0])}, {"w": torch.tensor([1.0, 0.0])}
    assert between(first, second, 0.0)["w"].tolist() == [0.0, 4.0]
    assert between(first, second, 0.25)["w"].tolist() == [0.25, 3.0]
    assert between(first, second, 1.0)["w"].tolist() == [1.0, 0.0]
