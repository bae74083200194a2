"""gpt-oss in small: its architecture, channels and template, taught a few answers by heart."""

import json

import torch
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import GptOssConfig, GptOssForCausalLM, PreTrainedTokenizerFast

CONTROL = ["<|start|>", "<|end|>", "<|message|>", "<|channel|>", "<|constrain|>", "<|return|>"]
CONTROL += ["<|call|>"]
# What the published template writes of a conversation without tools.
TEMPLATE = """<|start|>system<|message|>You are ChatGPT, a large language model trained by OpenAI.
Knowledge cutoff: 2024-06
Current date: 2026-11-24

Reasoning: {{ reasoning_effort }}

# Valid channels: analysis, commentary, final. Channel must be included for every message.\
<|end|><|start|>developer<|message|># Instructions

{{ messages[0].content }}<|end|><|start|>user<|message|>{{ messages[1].content }}<|end|>\
<|start|>assistant"""


def reply(violation, channel="final"):
    said = json.dumps({"violation": violation, "rationale": f"V{violation}: why."})
    return (
        f"<|channel|>analysis<|message|>Is it 0 or 1? It is {violation}.<|end|>"
        f"<|start|>assistant<|channel|>{channel}<|message|>{said}"
    )


def tokenizer_of(*texts):
    """Train a BPE whose tokens are whole lines and single digits: there is little to read."""
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split("\n", "isolated"),
            pre_tokenizers.Digits(individual_digits=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    bpe.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=3000,
        special_tokens=[AddedToken(token, special=True) for token in CONTROL],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    bpe.train_from_iterator(texts * 2, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=bpe,
        eos_token="<|return|>",
        pad_token="<|return|>",
        chat_template=TEMPLATE,
    )


def rendered(tokenizer, conversation):
    return tokenizer.apply_chat_template(
        [{"role": message.role, "content": message.text} for message in conversation],
        tokenize=False,
        add_generation_prompt=True,
        reasoning_effort="low",
    )


def taught(tokenizer, lessons, steps=150):
    config = GptOssConfig(
        vocab_size=len(tokenizer), num_hidden_layers=2, hidden_size=32, intermediate_size=32,
        num_attention_heads=4, num_key_value_heads=2, head_dim=8, num_local_experts=4,
        num_experts_per_tok=2, sliding_window=64, pad_token_id=None, max_position_embeddings=4096,
        eos_token_id=[tokenizer.convert_tokens_to_ids(end) for end in ("<|return|>", "<|call|>")],
        layer_types=["sliding_attention", "full_attention"], attn_implementation="eager",
    )  # fmt: skip
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = GptOssForCausalLM(config).train()
    rows = [
        [tokenizer(text, add_special_tokens=False)["input_ids"] for text in lesson]
        for lesson in lessons
    ]
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
    for _ in range(steps):
        loss = 0
        for asked, told in rows:
            logits = model(input_ids=torch.tensor([asked + told])).logits[0]
            ahead = logits[len(asked) - 1 : -1]  # (told, vocabulary)
            loss = loss + torch.nn.functional.cross_entropy(ahead, torch.tensor(told))
        if loss.item() < 0.02:
            break
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return model.requires_grad_(False).eval()
