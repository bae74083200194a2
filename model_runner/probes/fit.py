"""Residuals and labels -> probes. Needs torch.

One logistic regression per category on all chosen layers together. As in Constitutional
Classifiers++ (arXiv 2601.04603), the loss is on the smoothed logits, as they are served, and
each of a text's positions counts by the softmax of its logit: a harmful reply need not be
harmful everywhere, and a harmless one must not be alarming anywhere.

Then two numbers a category turn the highest logit of a text into a probability, on texts
that were not trained on (Platt), harmful ones weighed as one in ten.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch.nn.functional import binary_cross_entropy_with_logits

from model_runner.probes.file import Probes
from model_runner.probes.texts import Labelled

PREVALENCE = 0.1
_STEPS = 60
_TEMPERATURE = 1.0


class TooFewTexts(ValueError):
    """A category has nothing to learn from or nothing to be calibrated on."""


@dataclass(frozen=True, slots=True, eq=False)
class Material:
    """Texts with their residuals, one row for each position.

    Attributes:
        residuals: (row, features), float32.
        text: (row,), int64: of which text a row is.
        labels: (text, category), float32: 1 harmful, 0 not, NaN unknown.
        aside: (text,), bool: which calibrate.
    """

    residuals: torch.Tensor
    text: torch.Tensor
    labels: torch.Tensor
    aside: torch.Tensor

    @classmethod
    def of(
        cls, texts: Sequence[Labelled], residuals: Sequence[torch.Tensor], categories: Sequence[str]
    ) -> Material:
        """Put together what was read of the texts."""
        rows = torch.tensor([len(each) for each in residuals])
        labels = torch.tensor(
            [
                [
                    float(text.labels[each] >= 0.5) if each in text.labels else float("nan")
                    for each in categories
                ]
                for text in texts
            ]
        )
        return cls(
            torch.cat(list(residuals)),
            torch.repeat_interleave(torch.arange(len(texts)), rows),
            labels,
            torch.tensor([text.aside for text in texts]),
        )

    def highest(self, logits: torch.Tensor) -> torch.Tensor:
        """Return for (row, category) logits the highest of each text: (text, category)."""
        index = self.text.unsqueeze(1).expand_as(logits)
        lowest = logits.new_full((len(self.labels), logits.shape[1]), -torch.inf)
        return lowest.scatter_reduce(0, index, logits, "amax")


@dataclass(frozen=True, slots=True, eq=False)
class Fitted:
    """Probes and how well they tell the texts that were set aside apart.

    Attributes:
        weights: (category, features).
        bias: (category,).
        auroc: For each category, on the texts set aside.
    """

    weights: torch.Tensor
    bias: torch.Tensor
    auroc: tuple[float, ...]

    def as_probes(
        self, model: str, categories: Sequence[str], layers: Sequence[int], span: int
    ) -> Probes:
        """Return them as they are written and served."""
        shape = (len(categories), len(layers), -1)
        weights = self.weights.reshape(shape).numpy().astype(np.float32)
        bias = self.bias.numpy().astype(np.float32)
        return Probes("", model, tuple(categories), tuple(layers), span, weights, bias)


def fit(material: Material, categories: Sequence[str], penalty: float = 3e-3) -> Fitted:
    """Train and calibrate.

    Args:
        material: What was read.
        categories: Names, for messages.
        penalty: On the squares of the weights, in units of a feature's spread.

    Raises:
        TooFewTexts: If a category has no harmful or no harmless text on either side.
    """
    _check(material, categories)
    mean = material.residuals.mean(dim=0)
    spread = material.residuals.std(dim=0) + 1e-4
    features = (material.residuals - mean) / spread
    weights, bias = _train(material, features, penalty)
    logits = material.highest(features @ weights.T + bias)
    lines, aurocs = [], []
    for place in range(len(categories)):
        known = material.aside & ~material.labels[:, place].isnan()
        labels, scores = material.labels[known, place], logits[known, place]
        lines.append(_platt(scores, labels))
        aurocs.append(auroc(scores, labels))
    slope, offset = torch.tensor(lines).T
    served = weights / spread
    return Fitted(
        served * slope.unsqueeze(1), (bias - served @ mean) * slope + offset, tuple(aurocs)
    )


def _check(material: Material, categories: Sequence[str]) -> None:
    for place, category in enumerate(categories):
        labels = material.labels[:, place]
        for side, what in ((~material.aside, "to learn from"), (material.aside, "set aside")):
            found = {label for label in labels[side].tolist() if label in (0.0, 1.0)}
            if len(found) < 2:
                raise TooFewTexts(f"`{category}` needs harmful and harmless texts {what}")


def _train(
    material: Material, features: torch.Tensor, penalty: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return weights, (category, feature), and bias, (category,)."""
    labels = material.labels[material.text]  # (row, category)
    counts = _text_weights(material)[material.text]
    learned = counts > 0
    labels = torch.where(learned, labels, 0.0)
    weights = torch.zeros(labels.shape[1], features.shape[1], requires_grad=True)
    bias = torch.zeros(labels.shape[1], requires_grad=True)
    optimizer = torch.optim.LBFGS(
        [weights, bias], max_iter=_STEPS, history_size=10, line_search_fn="strong_wolfe"
    )
    shares = torch.zeros_like(labels)

    def loss() -> torch.Tensor:
        optimizer.zero_grad()
        logits = features @ weights.T + bias
        each = binary_cross_entropy_with_logits(logits, labels, reduction="none")
        total = (each * counts * shares).sum() + penalty * weights.pow(2).sum()
        total.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
        return total

    for _ in range(3):  # the shares are held while the weights move
        with torch.no_grad():
            shares = _shares(material, features @ weights.T + bias)
        optimizer.step(loss)  # type: ignore[no-untyped-call]  # torch leaves it untyped
    return weights.detach(), bias.detach()


def _text_weights(material: Material) -> torch.Tensor:
    """Return how much each text counts, (text, category): harmful ones together as the others."""
    known = ~material.labels.isnan() & ~material.aside.unsqueeze(1)
    harmful, harmless = known & (material.labels == 1), known & (material.labels == 0)
    return harmful / (2 * harmful.sum(dim=0)) + harmless / (2 * harmless.sum(dim=0))


def _shares(material: Material, logits: torch.Tensor) -> torch.Tensor:
    """Return the softmax over each text's positions, (row, category)."""
    highest = material.highest(logits)[material.text]
    powers = torch.exp((logits - highest) / _TEMPERATURE)
    totals = torch.zeros_like(material.labels).index_add(0, material.text, powers)
    return powers / totals[material.text]


def _platt(logits: torch.Tensor, labels: torch.Tensor) -> tuple[float, float]:
    """Return slope and offset: probability = sigmoid(slope * logit + offset)."""
    share = labels.mean()
    counts = torch.where(labels > 0, PREVALENCE / share, (1 - PREVALENCE) / (1 - share))
    line = torch.tensor([1.0, 0.0], requires_grad=True)
    optimizer = torch.optim.LBFGS([line], max_iter=100, line_search_fn="strong_wolfe")

    def loss() -> torch.Tensor:
        optimizer.zero_grad()
        total = binary_cross_entropy_with_logits(logits * line[0] + line[1], labels, weight=counts)
        # Held to a slope near 1 where the texts are told apart entirely.
        total = total + 1e-3 * (line[0] - 1).pow(2)
        total.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
        return total

    optimizer.step(loss)  # type: ignore[no-untyped-call]  # torch leaves it untyped
    slope, offset = line.tolist()
    return max(slope, 1e-3), offset  # a higher logit is never less harmful


def auroc(scores: torch.Tensor, labels: torch.Tensor) -> float:
    """Return the chance that a harmful text scores higher than a harmless one; ties by half."""
    harmful, harmless = scores[labels > 0.5], scores[labels <= 0.5].sort().values
    below = torch.searchsorted(harmless, harmful)
    not_above = torch.searchsorted(harmless, harmful, right=True)
    return float((below + not_above).double().mean() / 2 / len(harmless))
