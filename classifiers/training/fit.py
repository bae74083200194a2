"""Trains the upper layers and the head, for several seeds, and averages what they learned.

The embeddings stay as they were pretrained, and the layers above learn the more slowly the
lower they are: trained as hard throughout, a model does better on the sources it knows and
worse on every other.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from transformers import BertModel

from classifiers.encoder_text import LONGEST
from classifiers.training.example import HEADS
from classifiers.training.network import FROZEN_LAYERS, Lower, Upper
from classifiers.training.rows import Rows

# `any` sees every text and every hard pair, and is what most operators will go by.
HEAD_WEIGHTS = torch.tensor([4.0 if head == "any" else 1.0 for head in HEADS])


@dataclass(frozen=True, slots=True)
class Schedule:
    """How long and how hard to train.

    Attributes:
        rate: Learning rate of the highest layer; each layer below takes `decay` of the
            one above it.
        head_rate: Learning rate of the head.
        passes: Over the training set.
        batch_tokens: Tokens in a batch, padding included.
        bfloat16: Whether to multiply in it, which is fast only where the processor can.
        dropout: Whether to drop; a third of the time of a short run goes into it.
        device: Where to train, as torch names it.
    """

    rate: float = 1.5e-4
    decay: float = 0.85
    head_rate: float = 1e-3
    passes: int = 2
    batch_tokens: int = 3_600
    bfloat16: bool = True
    dropout: bool = True
    device: str = "cpu"

    def autocast(self) -> AbstractContextManager[None]:
        """Return the context in which to multiply."""
        kind = torch.device(self.device).type
        return torch.autocast(kind, torch.bfloat16, enabled=self.bfloat16)


def states_of(bert: BertModel, rows: Rows, schedule: Schedule) -> Tensor:
    """Run the lower layers once over every row: (tokens of all rows, 384), bfloat16."""
    lower = Lower(bert).eval().to(schedule.device)
    states = torch.empty(
        len(rows.ids), bert.config.hidden_size, dtype=torch.bfloat16, device=schedule.device
    )
    ids, leads = rows.ids.to(schedule.device), rows.leads.to(schedule.device)
    for batch in torch.split(rows.lengths.argsort(), max(64, schedule.batch_tokens // 64)):
        places, mask = _places(rows, batch, schedule.device)
        ahead = leads[batch.to(schedule.device), None] > torch.arange(
            mask.shape[1], device=schedule.device
        )
        segments = mask * ~ahead
        with torch.inference_mode(), schedule.autocast():
            made = lower(ids[places].long() * mask, segments, mask).to(torch.bfloat16)
        kept = mask.bool()
        states[places[kept]] = made[kept]
    return states


def padded(shown: Sequence[tuple[Sequence[int], int]]) -> tuple[Tensor, Tensor, Tensor]:
    """Return ids, segments and mask, each (batch, tokens), int64."""
    longest = max(len(ids) for ids, _ in shown)
    assert longest <= LONGEST  # noqa: S101 - `windows` sees to it
    ids = torch.zeros(len(shown), longest, dtype=torch.long)
    segments, mask = torch.zeros_like(ids), torch.zeros_like(ids)
    for row, (tokens, lead) in enumerate(shown):
        ids[row, : len(tokens)] = torch.tensor(tokens)
        segments[row, lead : len(tokens)] = 1
        mask[row, : len(tokens)] = 1
    return ids, segments, mask


def fit(
    bert: BertModel,
    rows: Rows,
    states: Tensor,
    seed: int,
    schedule: Schedule,
    begin: Mapping[str, Tensor] | None = None,
) -> dict[str, Tensor]:
    """Train once; returns the upper part's weights, averaged over the last half of training.

    Args:
        bert: Where the layers begin.
        rows: What is taught.
        states: What the lower layers made of it.
        seed: Of the order and the dropout.
        schedule: How long and how hard.
        begin: The whole encoder's weights, as `merged` makes them, to begin at instead.
    """
    upper = _begun(bert, begin).train(schedule.dropout).to(schedule.device)
    torch.manual_seed(seed)
    optimizer = torch.optim.AdamW(_groups(upper, schedule), weight_decay=0.01, fused=True)
    plan = [batch for _ in range(schedule.passes) for batch in _batches(rows, schedule)]
    scheduler = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: min((step + 1) / 100, max(0.02, 1 - step / len(plan)))
    )
    labels, weights = rows.labels.to(schedule.device), rows.weights.to(schedule.device)
    positive = _positive_weight(labels)
    averaged = torch.optim.swa_utils.AveragedModel(upper)
    began, total = time.monotonic(), torch.zeros((), device=schedule.device)
    for step, batch in enumerate(plan):
        places, mask = _places(rows, batch, schedule.device)
        with schedule.autocast():
            logits = upper(states[places].float(), mask)
        at = batch.to(schedule.device)
        loss = _loss(logits, labels[at], weights[at], positive)
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        nn.utils.clip_grad_norm_(upper.parameters(), 1.0)
        optimizer.step()
        scheduler.step()
        total += loss.detach()
        if step > len(plan) // 2 and step % 10 == 0:
            averaged.update_parameters(upper)
        if step % 200 == 199:
            spent = time.monotonic() - began
            print(f"seed {seed} step {step + 1}/{len(plan)} loss {total / 200:.4f} {spent:.0f} s")
            total.zero_()
    return {k: v.detach().cpu().clone() for k, v in averaged.module.state_dict().items()}


def _begun(bert: BertModel, begin: Mapping[str, Tensor] | None) -> Upper:
    torch.manual_seed(0)  # every run begins at the same head, or their mean would mean nothing
    upper = Upper(copy.deepcopy(bert))
    if begin is not None:
        upper.load_state_dict(parted(begin))
    return upper


def average(runs: Sequence[dict[str, Tensor]]) -> dict[str, Tensor]:
    """Return the mean of several runs' weights; they began at the same ones, so it makes sense."""
    return {key: torch.stack([run[key] for run in runs]).mean(0) for key in runs[0]}


def between(
    first: Mapping[str, Tensor], second: Mapping[str, Tensor], share: float
) -> dict[str, Tensor]:
    """Return weights on the straight line from `first` (`share` 0) to `second` (1)."""
    return {key: torch.lerp(value, second[key], share) for key, value in first.items()}


def _groups(upper: Upper, schedule: Schedule) -> list[dict[str, object]]:
    depth = len(upper.layers)
    groups: list[dict[str, object]] = [
        {
            "params": list(layer.parameters()),
            "lr": schedule.rate * schedule.decay ** (depth - 1 - index),
        }
        for index, layer in enumerate(upper.layers)
    ]
    head = [*upper.inner.parameters(), *upper.outer.parameters()]
    return [*groups, {"params": head, "lr": schedule.head_rate}]


def _batches(rows: Rows, schedule: Schedule) -> Iterator[Tensor]:
    """Yield row indices: of similar length within a batch, the batches in random order."""
    lengths = rows.lengths
    # A little noise, so that the same rows do not meet in every pass.
    order = (lengths * (1 + 0.1 * torch.rand(len(lengths)))).argsort(descending=True)
    found: list[Tensor] = []
    begin = 0
    while begin < len(order):
        longest = int(lengths[order[begin : begin + 1]].item() * 1.1) + 1
        count = max(8, schedule.batch_tokens // longest)
        found.append(order[begin : begin + count])
        begin += count
    yield from (found[i] for i in torch.randperm(len(found)).tolist())


def _places(rows: Rows, batch: Tensor, device: str) -> tuple[Tensor, Tensor]:
    """Return where the tokens of a batch stand, and the mask: each (batch, tokens), int64.

    Padding stands where the row's last token does, so that it is finite.
    """
    lengths = rows.lengths[batch]
    along = torch.arange(int(lengths.max()))
    places = rows.starts[batch, None] + torch.minimum(along, lengths[:, None] - 1)
    mask = (along < lengths[:, None]).long()
    return places.to(device, non_blocking=True), mask.to(device, non_blocking=True)


def _positive_weight(labels: Tensor) -> Tensor:
    """Weigh rare positives up, by the root of how rare they are, four times at most."""
    ones = (labels >= 0.5).sum(0).clamp(min=1)
    zeros = (labels < 0.5).sum(0).clamp(min=1)
    return (zeros / ones).sqrt().clamp(1.0, 4.0)


def _loss(logits: Tensor, labels: Tensor, weights: Tensor, positive: Tensor) -> Tensor:
    known = ~labels.isnan()
    # A label that is right nine times in ten counts less. Taught as .9 it would say that no
    # text of its kind may ever score higher, however plain.
    sure = (2 * labels.nan_to_num(0.5) - 1).abs()
    each = nn.functional.binary_cross_entropy_with_logits(
        logits, (labels >= 0.5).float(), pos_weight=positive, reduction="none"
    )
    weighed = each * sure * weights[:, None] * HEAD_WEIGHTS.to(each.device)
    # Per row rather than per label: a row of which one head is known counts as much.
    loss: Tensor = (weighed.sum(1) / known.sum(1).clamp(min=1)).mean()
    return loss


def merged(bert: BertModel, upper: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return the whole encoder's weights: `bert`'s lower part under `upper`."""
    whole = {key: value.detach().clone() for key, value in bert.state_dict().items()}
    for key, value in upper.items():
        part, _, rest = key.partition(".")
        if part == "layers":
            index, _, name = rest.partition(".")
            whole[f"encoder.layer.{int(index) + FROZEN_LAYERS}.{name}"] = value
        else:
            whole[f"head.{key}"] = value
    return whole


def parted(whole: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the upper part's weights of `whole`: what `merged` put together."""
    found: dict[str, Tensor] = {}
    for key, value in whole.items():
        if key.startswith("head."):
            found[key.removeprefix("head.")] = value
        elif key.startswith("encoder.layer."):
            index, _, name = key.removeprefix("encoder.layer.").partition(".")
            if int(index) >= FROZEN_LAYERS:
                found[f"layers.{int(index) - FROZEN_LAYERS}.{name}"] = value
    return found
