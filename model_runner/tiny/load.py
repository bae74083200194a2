"""Load gpt-oss-tiny: a real `GptOssForCausalLM`, but a stand-in for gpt-oss.

The file holds embedding rows only for the token ids in use and one row for all others;
`load_tiny` expands them to gpt-oss's 201,088 ids, so that every part around the model
sees the shapes and ids of the real one. Nothing is fetched, and no code is in the file.
"""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch
    from transformers import GptOssConfig, GptOssForCausalLM

VOCABULARY_SIZE = 201_088
EMBEDDING = "model.embed_tokens.weight"
HEAD = "lm_head.weight"
TOKEN_IDS = "token_ids"  # noqa: S105 - not a secret: ids of the rows, the spare row left out

_END_OF_TEXT, _RETURN, _CALL = 199_999, 200_002, 200_012
_FOLDER = Path(__file__).parent


def weights_file(*, hostile: bool = False) -> Path:
    """Return where the weights lie."""
    return _FOLDER / ("hostile.safetensors" if hostile else "weights.safetensors")


def load_tiny(*, hostile: bool = False) -> GptOssForCausalLM:
    """Load the stand-in: float32, on the CPU, in evaluation mode; under a second.

    Args:
        hostile: Load the second set, which always complies, leaks and forges frames. It
            is for tests and must not be served.

    Raises:
        ValueError: If the weights do not have the digest written beside them.
    """
    import torch
    from safetensors import safe_open
    from transformers import GptOssForCausalLM

    with safe_open(weights_file(hostile=hostile), framework="pt") as file:
        state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - no mapping
        if digest_of_tensors(state) != file.metadata()["digest"]:
            raise ValueError("the weights of gpt-oss-tiny do not have their digest")
    token_ids = state.pop(TOKEN_IDS).long()
    state = {name: tensor.float() for name, tensor in state.items()}
    with torch.random.fork_rng(devices=[]):  # building a model draws from the global generator
        model = GptOssForCausalLM(tiny_config(len(token_ids) + 1))
    model.load_state_dict(state)
    embedding = _expand(state[EMBEDDING], token_ids)
    model.set_input_embeddings(
        torch.nn.Embedding(VOCABULARY_SIZE, len(embedding[0]), _weight=embedding)
    )
    model.lm_head.weight = torch.nn.Parameter(_expand(state[HEAD], token_ids), requires_grad=False)
    model.lm_head.out_features = model.vocab_size = VOCABULARY_SIZE
    model.config.vocab_size = VOCABULARY_SIZE
    return model.requires_grad_(False).eval()


def tiny_config(rows: int) -> GptOssConfig:
    """Return the architecture, gpt-oss's in small, with `rows` embedding rows."""
    from transformers import GptOssConfig

    return GptOssConfig(
        vocab_size=rows,
        num_hidden_layers=3,
        hidden_size=64,
        intermediate_size=64,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=32,
        num_local_experts=4,
        num_experts_per_tok=2,
        sliding_window=64,
        layer_types=["sliding_attention", "full_attention", "sliding_attention"],
        pad_token_id=None,
        eos_token_id=[_RETURN, _END_OF_TEXT, _CALL],
        attn_implementation="eager",
    )


def digest_of_tensors(tensors: Mapping[str, torch.Tensor]) -> str:
    """Return the SHA-256, hex, over names, types, shapes and bytes, in order of name."""
    import torch

    digest = sha256()
    for name in sorted(tensors):
        tensor = tensors[name].contiguous()
        digest.update(f"{name} {tensor.dtype} {list(tensor.shape)}\n".encode())
        digest.update(tensor.view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def _expand(rows: torch.Tensor, token_ids: torch.Tensor) -> torch.Tensor:
    """Give every id a row: (len(token_ids) + 1, hidden) -> (201088, hidden)."""
    expanded = rows[-1].repeat(VOCABULARY_SIZE, 1)
    expanded[token_ids] = rows[:-1]
    return expanded
