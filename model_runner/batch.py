"""A batch of replies that grow by one token per step. Needs torch; knows no threads.

Rows join and leave between steps. A prompt is read alone, in pieces of `PIECE` tokens, one
piece per step, so that a long prompt neither stalls the other rows nor needs attention
memory quadratic in its length. Then its keys and values are padded on the left to the
length of the batch:

    keys, values: (row, head, position, dimension), float; position < padded length
    seen:         (row, position), int64; 0 where padding is

Positions are the row's own, so a row reads the same wherever its padding ends.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from transformers.cache_utils import DynamicCache

from model_runner.probes.tap import Tap
from model_runner.sampling import Draw, draw_token

PIECE = 512  # tokens of a prompt that are read in one forward pass

_KeysAndValues = list[tuple[torch.Tensor, torch.Tensor]]  # one pair per layer


@dataclass(slots=True, eq=False)
class Row:
    """One reply in the making.

    Attributes:
        token_ids: The prompt.
        draw: How tokens are sampled.
        stop: Ids that end the reply; the one that does is part of it.
        max_tokens: Most tokens of the reply.
        fresh: Tokens drawn since they were last taken away.
        probed: For each of these, the scores of the probes, if there are any.
        ended: Whether the reply is complete.
        failure: Why there will be no more tokens, if it broke off.
        smoothed: The probes' smoothed logits at the last token read, (category,).
    """

    token_ids: list[int]
    draw: Draw
    stop: frozenset[int]
    max_tokens: int
    fresh: list[int] = field(default_factory=list)
    probed: list[list[float]] = field(default_factory=list)
    ended: bool = False
    failure: Exception | None = None
    drawn: int = 0
    last: int = -1
    smoothed: torch.Tensor | None = None

    def add(self, logits: torch.Tensor, scores: list[float] | None = None) -> None:
        """Draw the next token from `logits`: (vocabulary,); `scores` are those of the probes."""
        self.last = draw_token(logits, self.draw)
        self.fresh.append(self.last)
        if scores is not None:
            self.probed.append(scores)
        self.drawn += 1
        self.ended = self.last in self.stop or self.drawn >= self.max_tokens

    @property
    def over(self) -> bool:
        """Whether no more tokens will come."""
        return self.ended or self.failure is not None


class Batch:
    """Rows that are decoded together, and the prompts that wait to be read.

    Args:
        model: The model.
        tap: The probes that are read on the way, if there are any.

    INVARIANT: `rows[i]` is row i of `seen` and of every key and value tensor.

    Attributes:
        rows: The replies being decoded.
        reading: The prompts that have not been read to their end, oldest first.
    """

    def __init__(self, model: Any, tap: Tap | None = None) -> None:  # noqa: ANN401 - transformers ships no types
        self.rows: list[Row] = []
        self.reading: list[_Reading] = []
        self._model = model
        self._tap = tap
        self._device = torch.device(model.device)
        self._layers: _KeysAndValues = []
        self._seen = torch.empty(0, 0, dtype=torch.long, device=self._device)

    def __len__(self) -> int:
        return len(self.rows) + len(self.reading)

    def join(self, row: Row) -> None:
        """Add a reply; its prompt is read in the steps to come."""
        self.reading.append(_Reading(row, self._new_cache()))

    def leave(self, gone: Iterable[Row]) -> None:
        """Take rows out, whether or not they are complete."""
        left = set(map(id, gone))
        self.reading = [reading for reading in self.reading if id(reading.row) not in left]
        kept = [index for index, row in enumerate(self.rows) if id(row) not in left]
        if len(kept) < len(self.rows):
            self._keep(kept)

    @torch.inference_mode()
    def step(self) -> list[Row]:
        """Read one piece of the oldest prompt and draw one token for each row.

        Returns:
            The rows that are over, taken out of the batch, those that failed included.
        """
        over: list[Row] = []
        if self.rows:
            self._decode()
        if self.reading:
            self._read_piece(self.reading[0], over)
        over += [row for row in self.rows if row.over]
        self.leave(over)
        return over

    def _read_piece(self, reading: _Reading, over: list[Row]) -> None:
        row = reading.row
        try:
            logits = reading.read_piece(self._model, self._device)
            if self._tap is not None:
                row.smoothed = self._tap.smooth(row.smoothed, self._tap.take()[0])
            if logits is None:
                return
            row.add(logits, self._scores([row])[0])
        except Exception as failure:  # noqa: BLE001 - the thread serves other replies too
            row.failure = failure
        self.reading.pop(0)
        if row.over:
            over.append(row)
        else:
            self._merge(row, _layers_of(reading.cache))

    def _decode(self) -> None:
        try:
            logits = self._forward()
            if self._tap is not None:
                self._smooth(self._tap)
            probed = self._scores(self.rows)
        except Exception as failure:  # noqa: BLE001 - reported by each row it concerns
            for row in self.rows:
                row.failure = failure
            return
        for row, of_row, scores in zip(self.rows, logits, probed, strict=True):
            try:
                row.add(of_row, scores)
            except RuntimeError as failure:
                row.failure = failure

    def _smooth(self, tap: Tap) -> None:
        before = torch.stack([row.smoothed for row in self.rows if row.smoothed is not None])
        for row, smoothed in zip(self.rows, tap.smooth(before, tap.take()), strict=True):
            row.smoothed = smoothed

    def _scores(self, rows: list[Row]) -> Sequence[list[float] | None]:
        """Return what the probes say of the token that each row is about to draw."""
        if self._tap is None:
            return [None] * len(rows)
        return self._tap.scores(
            torch.stack([row.smoothed for row in rows if row.smoothed is not None])
        )

    def _forward(self) -> torch.Tensor:
        """Return logits: (row, vocabulary)."""
        ones = torch.ones(len(self.rows), 1, dtype=torch.long, device=self._device)
        positions = self._seen.sum(dim=1, keepdim=True)
        self._seen = torch.cat([self._seen, ones], dim=1)
        cache = DynamicCache(ddp_cache_data=self._layers)
        last = [[row.last] for row in self.rows]
        output = self._model(
            input_ids=torch.tensor(last, device=self._device),
            attention_mask=self._seen,
            position_ids=positions,
            past_key_values=cache,
            use_cache=True,
            logits_to_keep=1,
        )
        self._layers = _layers_of(cache)
        logits: torch.Tensor = output.logits[:, -1]
        return logits

    def _merge(self, row: Row, layers: _KeysAndValues) -> None:
        length = layers[0][0].shape[2]
        seen = torch.ones(1, length, dtype=torch.long, device=self._device)
        if self.rows:
            longest = max(length, self._seen.shape[1])
            seen = torch.cat([_padded(self._seen, longest, 1), _padded(seen, longest, 1)])
            layers = [
                (_stacked(keys, new_keys, longest), _stacked(values, new_values, longest))
                for (keys, values), (new_keys, new_values) in zip(self._layers, layers, strict=True)
            ]
        self._seen, self._layers = seen, layers
        self.rows.append(row)

    def _keep(self, kept: list[int]) -> None:
        self.rows = [self.rows[index] for index in kept]
        if not kept:
            self._seen = self._seen.new_empty(0, 0)
            self._layers = []
            return
        index = torch.tensor(kept, device=self._device)
        seen = self._seen.index_select(0, index)
        spare = int(seen.shape[1] - seen.sum(dim=1).max())  # columns that are padding in every row
        self._seen = seen[:, spare:]
        self._layers = [
            (
                keys.index_select(0, index)[:, :, spare:],
                values.index_select(0, index)[:, :, spare:],
            )
            for keys, values in self._layers
        ]

    def _new_cache(self) -> DynamicCache:
        # Without a config every layer keeps every position: layers with a sliding window
        # are masked instead of cut, so that rows of any length can be put together.
        return DynamicCache()


@dataclass(slots=True)
class _Reading:
    """A prompt that is being read."""

    row: Row
    cache: Any
    read: int = 0

    def read_piece(self, model: Any, device: torch.device) -> torch.Tensor | None:  # noqa: ANN401
        """Read on; return logits, (vocabulary,), at the prompt's end."""
        piece = self.row.token_ids[self.read : self.read + PIECE]
        end = self.read + len(piece)
        output = model(
            input_ids=torch.tensor([piece], device=device),
            attention_mask=torch.ones(1, end, dtype=torch.long, device=device),
            position_ids=torch.arange(self.read, end, device=device).unsqueeze(0),
            past_key_values=self.cache,
            use_cache=True,
            logits_to_keep=1,
        )
        self.read = end
        if end < len(self.row.token_ids):
            return None
        logits: torch.Tensor = output.logits[0, -1]
        return logits


def _layers_of(cache: Any) -> _KeysAndValues:  # noqa: ANN401 - transformers ships no types
    return [(layer.keys, layer.values) for layer in cache.layers]


def _padded(tensor: torch.Tensor, length: int, axis: int) -> torch.Tensor:
    """Put zeros before `tensor` on `axis`, up to `length`."""
    missing = length - tensor.shape[axis]
    if not missing:
        return tensor
    shape = list(tensor.shape)
    shape[axis] = missing
    return torch.cat([tensor.new_zeros(shape), tensor], dim=axis)


def _stacked(rows: torch.Tensor, row: torch.Tensor, length: int) -> torch.Tensor:
    return torch.cat([_padded(rows, length, 2), _padded(row, length, 2)])
