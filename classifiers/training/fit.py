"""Trains the upper layers and the head, for several seeds, and averages what they learned.

The lowest layers stay as they were pretrained, and those above learn the more slowly the
lower they are: trained harder throughout, a model does better on the sources it knows and
worse on every other.
"""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from zlib import crc32

import torch
from tokenizers import Tokenizer
from torch import Tensor, nn
from transformers import BertModel

from classifiers.encoder_text import LONGEST, Shown, windows
from classifiers.training.corpus import weights
from classifiers.training.example import HEADS, Example
from classifiers.training.network import FROZEN_LAYERS, Lower, Upper

LATER = 24  # windows of a harmless text of which one is taught beside the first

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
    """

    rate: float = 1.5e-4
    decay: float = 0.85
    head_rate: float = 1e-3
    passes: int = 2
    batch_tokens: int = 3_600
    bfloat16: bool = True
    dropout: bool = True


@dataclass(frozen=True, slots=True)
class Rows:
    """The training set as the upper layers read it.

    Attributes:
        states: (tokens of all rows, 384), bfloat16: what the lower layers made of them.
        starts: (rows + 1,): row i is `states[starts[i]:starts[i + 1]]`.
        labels: (rows, heads), float32: how sure it is that 1 is right; NaN where unknown.
        weights: (rows,), float32, 1 on average.
    """

    states: Tensor
    starts: Tensor
    labels: Tensor
    weights: Tensor


def rows_of(
    bert: BertModel, tokenizer: Tokenizer, examples: Sequence[Example], *, bfloat16: bool = True
) -> Rows:
    """Run the lower layers over the windows that teach."""
    lower = Lower(bert).eval()
    taught = [(window, e) for e in examples for window in _teaching(tokenizer, e)]
    shown = [window for window, _ in taught]
    examples = [example for _, example in taught]
    lengths = torch.tensor([len(one.ids) for one in shown])
    starts = torch.cat([torch.zeros(1, dtype=torch.long), lengths.cumsum(0)])
    states = torch.empty(int(starts[-1]), bert.config.hidden_size, dtype=torch.bfloat16)
    order = lengths.argsort().tolist()
    for begin in range(0, len(order), 64):
        batch = order[begin : begin + 64]
        ids, segments, mask = padded([(shown[i].ids, shown[i].lead) for i in batch])
        with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, enabled=bfloat16):
            made = lower(ids, segments, mask).to(torch.bfloat16)
        for row, index in enumerate(batch):
            states[starts[index] : starts[index + 1]] = made[row, : lengths[index]]
    labels = torch.tensor([[e.labels.get(head, math.nan) for head in HEADS] for e in examples])
    return Rows(states, starts, labels, torch.tensor(weights(examples)))


def _teaching(tokenizer: Tokenizer, example: Example) -> list[Shown]:
    """Return the first window; of a harmless text also one from further on.

    What harms stands near the start of most harmful texts, or the label would be wrong of
    the first window. A harmless text is harmless throughout, and serving reads all of it.
    """
    harmless = example.labels.get("any") == 0 and not any(example.labels.values())
    most = LATER if harmless else 1
    shown = windows(tokenizer, example.kind, example.text, example.prompt, most)
    if len(shown) < 2:
        return shown
    return [shown[0], shown[1 + crc32(example.text.encode("utf-8", "replace")) % (len(shown) - 1)]]


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
    seed: int,
    schedule: Schedule,
    begin: Mapping[str, Tensor] | None = None,
) -> dict[str, Tensor]:
    """Train once; returns the upper part's weights, averaged over the last half of training.

    Args:
        bert: Where the layers begin.
        rows: What is taught.
        seed: Of the order, the dropout and the head.
        schedule: How long and how hard.
        begin: The whole encoder's weights, as `merged` makes them, to begin at instead.
    """
    torch.manual_seed(seed)
    upper = Upper(copy.deepcopy(bert)).train(schedule.dropout)
    if begin is not None:
        upper.load_state_dict(parted(begin))
    optimizer = torch.optim.AdamW(_groups(upper, schedule), weight_decay=0.01, fused=True)
    plan = [batch for _ in range(schedule.passes) for batch in _batches(rows, schedule)]
    scheduler = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: min((step + 1) / 100, max(0.02, 1 - step / len(plan)))
    )
    positive = _positive_weight(rows.labels)
    averaged = torch.optim.swa_utils.AveragedModel(upper)
    began, total = time.monotonic(), 0.0
    for step, batch in enumerate(plan):
        with torch.autocast("cpu", torch.bfloat16, enabled=schedule.bfloat16):
            states, mask = _gather(rows, batch)
            logits = upper(states, mask)
        loss = _loss(logits, rows.labels[batch], rows.weights[batch], positive)
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        nn.utils.clip_grad_norm_(upper.parameters(), 1.0)
        optimizer.step()
        scheduler.step()
        total += loss.item()
        if step > len(plan) // 2 and step % 10 == 0:
            averaged.update_parameters(upper)
        if step % 200 == 199:
            spent = time.monotonic() - began
            print(f"seed {seed} step {step + 1}/{len(plan)} loss {total / 200:.4f} {spent:.0f} s")
            total = 0.0
    return {k: v.detach().clone() for k, v in averaged.module.state_dict().items()}


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
    lengths = rows.starts[1:] - rows.starts[:-1]
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


def _gather(rows: Rows, batch: Tensor) -> tuple[Tensor, Tensor]:
    parts = [rows.states[rows.starts[i] : rows.starts[i + 1]] for i in batch.tolist()]
    states = nn.utils.rnn.pad_sequence(parts, batch_first=True)
    lengths = torch.tensor([len(part) for part in parts])
    mask = (torch.arange(states.shape[1]) < lengths[:, None]).long()
    return states.float(), mask


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
    weighed = each * sure * weights[:, None] * HEAD_WEIGHTS
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
