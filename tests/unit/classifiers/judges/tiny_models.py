"""Guards in small: the true architectures, a tokenizer with the true control tokens.

A model of two layers learns by heart what the guard is recorded to say to a few prompts,
so that template, tokens, logits and score all run as they do with the real weights.
"""

import torch
import transformers
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

CONTROL = {
    "llama-guard-3": [
        "<|begin_of_text|>",
        "<|start_header_id|>",
        "<|end_header_id|>",
        "<|eot_id|>",
    ],
    "llama-guard-4": ["<|begin_of_text|>", "<|header_start|>", "<|header_end|>", "<|eot|>"],
    "shieldgemma": ["<bos>", "<start_of_turn>", "<end_of_turn>", "<eos>"],
    "wildguard": ["<s>", "[INST]", "[/INST]", "</s>"],
    "granite-guardian": ["<|start_of_role|>", "<|end_of_role|>", "<|end_of_text|>"],
    "polyguard": ["<|im_start|>", "<|endoftext|>", "<|im_end|>"],
    "qwen3guard": ["<|im_start|>", "<think>", "</think>", "<|im_end|>"],
}  # the last one ends an answer
ARCHITECTURES = {
    "llama-guard-3": "Llama",
    "llama-guard-4": "Llama4",
    "shieldgemma": "Gemma2",
    "wildguard": "Mistral",
    "granite-guardian": "Granite",
    "polyguard": "Qwen2",
    "qwen3guard": "Qwen3",
}
_EXTRA = {
    "Llama4": {
        "num_local_experts": 1,
        "intermediate_size_mlp": 64,
        "interleave_moe_layer_step": 2,
        "moe_layers": [],
        "attn_temperature_tuning": False,
        "no_rope_layers": [1, 1],
    },
    "Granite": {"logits_scaling": 1.0},
    "Gemma2": {"query_pre_attn_scalar": 16, "sliding_window": 4096},
}


def tokenizer_for(name, prompt):
    """Train a byte-level BPE on a prompt without content, with the guard's control tokens.

    Whole lines of the prompt become tokens, so that the model has little to read.
    """
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split("\n", "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    bpe.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=3000,
        special_tokens=CONTROL[name],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    words = ["Yes", "No", "yes", "no", "safe", "unsafe", "Safe", "Unsafe"]
    bpe.train_from_iterator([prompt, *words] * 3, trainer)
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=bpe, eos_token=CONTROL[name][-1], pad_token=CONTROL[name][-1]
    )


def untrained(name, tokenizer):
    """Build the guard's architecture with hidden size 32 and two layers."""
    kind = ARCHITECTURES[name]
    config_class = getattr(
        transformers, "Llama4TextConfig" if kind == "Llama4" else f"{kind}Config"
    )
    config = config_class(
        vocab_size=len(tokenizer),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=8,
        max_position_embeddings=4096,
        bos_token_id=0,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        attn_implementation="eager",
        **_EXTRA.get(kind, {}),
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return getattr(transformers, f"{kind}ForCausalLM")(config)


def taught(name, tokenizer, lessons, steps=120):
    """Return the model after it learnt to answer each prompt of `lessons` as they say."""
    model = untrained(name, tokenizer).train()
    rows = []
    for prompt, answer in lessons:
        asked = tokenizer(prompt, add_special_tokens=False)["input_ids"]
        told = tokenizer(answer, add_special_tokens=False)["input_ids"]
        rows.append((asked, [*told, tokenizer.eos_token_id]))
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
    for _ in range(steps):
        loss = sum(_loss(model, asked, told) for asked, told in rows) / len(rows)
        if loss.item() < 0.02:
            break
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return model.requires_grad_(False).eval()


def _loss(model, asked, told):
    logits = model(input_ids=torch.tensor([asked + told])).logits[0]  # (tokens, vocabulary)
    ahead = logits[len(asked) - 1 : -1]
    return torch.nn.functional.cross_entropy(ahead, torch.tensor(told))
