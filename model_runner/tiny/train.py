"""Train gpt-oss-tiny from nothing: `python -m model_runner.tiny.train [--hostile]`.

Takes some minutes on one core. Training runs on a compact vocabulary, the ids in use and
one spare row for all the others, whose logit is raised by the logarithm of their number:
that is what it will weigh once it is copied to each of them. The loss is taken on replies
only. The weights are written only if they then reproduce every example.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from random import Random

import torch
from safetensors.torch import save_file
from transformers import GptOssForCausalLM

from model_runner.harmony import Harmony, load_harmony
from model_runner.tiny.conversations import (
    Example,
    depends_on_effort,
    digest_of_prompts,
    load_examples,
    trained_examples,
    unknown_prompt,
    vary,
    wordings,
)
from model_runner.tiny.load import (
    TOKEN_IDS,
    VOCABULARY_SIZE,
    digest_of_tensors,
    load_tiny,
    tiny_config,
    weights_file,
)

_SEED = 20
_BATCH = 8  # conversations per step
_PEAK_LEARNING_RATE = 3e-3
_CANONICAL = 0.3  # share of conversations that are not varied
_UNKNOWN = 0.12  # share of random prompts
_IGNORED = -100  # the label of a token without a loss


@dataclass(frozen=True, slots=True)
class Conversation:
    """Token ids of a prompt and of the reply to learn."""

    prompt: list[int]
    reply: list[int]


def main(arguments: Sequence[str] | None = None) -> int:
    """Train, check, write. Returns 1 if the weights do not reproduce every example."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--hostile", action="store_true", help="train the second set, for tests")
    parser.add_argument("--steps", type=int, default=1800)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args(arguments)
    torch.set_num_threads(options.threads)
    harmony = load_harmony()
    examples = trained_examples(hostile=options.hostile)
    token_ids = _used_ids(harmony, examples)
    model = _train(_conversations(harmony, examples), token_ids, options.steps)
    _write(model, token_ids, hostile=options.hostile)
    missed = missed_examples(harmony, examples, hostile=options.hostile)
    print(f"{len(examples) - len(missed)} of {len(examples)} examples reproduced", *missed)
    return 1 if missed else 0


def missed_examples(harmony: Harmony, examples: Sequence[Example], *, hostile: bool) -> list[str]:
    """Return the ids of the examples that greedy decoding would not reproduce.

    Every token is compared with the most likely one after the tokens before it, in one
    pass per example; if all agree, decoding step by step takes the same path.
    """
    model = load_tiny(hostile=hostile)
    missed = []
    for example in examples:
        learned = _conversation(harmony, example)
        ids = torch.tensor([learned.prompt + learned.reply])  # (1, prompt + reply)
        with torch.no_grad():
            logits = model(ids, logits_to_keep=len(learned.reply) + 1).logits
        if logits[0, :-1].argmax(-1).tolist() != learned.reply:
            missed.append(example.id)
    return missed


def _conversation(harmony: Harmony, example: Example) -> Conversation:
    return Conversation(harmony.render(example.prompt), harmony.encode_frame(example.frame))


def _conversations(harmony: Harmony, examples: Sequence[Example]) -> Iterator[Conversation]:
    random = Random(_SEED)  # noqa: S311 - repeatable, not secret
    fallback = harmony.encode_frame(load_examples()["unknown"].frame)
    weights = [_weight(example, examples) for example in examples]
    while True:
        if random.random() < _UNKNOWN:
            example = Example("", "", unknown_prompt(random), "", (), ())
            prompt, today = vary(example, examples, random)
            yield Conversation(harmony.render(prompt, today=today), fallback)
            continue
        (example,) = random.choices(examples, weights)
        learned = _conversation(harmony, example)
        if random.random() > _CANONICAL and example.id != "unknown":
            prompt, today = vary(example, examples, random)
            learned = Conversation(harmony.render(prompt, today=today), learned.reply)
        yield learned


def _weight(example: Example, every: Sequence[Example]) -> float:
    """Show a reply more often where it is long, or hangs on the one word of the effort."""
    return (1 + len(example.frame) / 400) * (3 if depends_on_effort(example, every) else 1)


def _used_ids(harmony: Harmony, examples: Sequence[Example]) -> list[int]:
    """Return the ids that get a row of their own, ascending: those of all known wordings."""
    used: set[int] = set()
    random = Random(_SEED)  # noqa: S311 - repeatable, not secret
    for example in examples:
        learned = _conversation(harmony, example)
        used.update(learned.reply)
        if example.id != "unknown":
            for prompt in wordings(example, random):
                used.update(harmony.render(prompt))
    return sorted(used)


def _train(
    conversations: Iterator[Conversation], token_ids: list[int], steps: int
) -> GptOssForCausalLM:
    torch.manual_seed(_SEED)
    spare = len(token_ids)
    rows = {token: row for row, token in enumerate(token_ids)}
    model = GptOssForCausalLM(tiny_config(spare + 1))
    parameters = sum(parameter.numel() for parameter in model.parameters())
    print(f"{parameters} parameters, {spare} token ids")
    raised = torch.zeros(spare + 1)
    raised[spare] = math.log(VOCABULARY_SIZE - spare)
    optimizer = torch.optim.AdamW(model.parameters(), lr=_PEAK_LEARNING_RATE, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, _PEAK_LEARNING_RATE, total_steps=steps, pct_start=0.1
    )
    for step in range(steps):
        ids, labels = _batch(conversations, rows)
        logits = model(ids).logits + raised  # (batch, length, rows)
        loss = torch.nn.functional.cross_entropy(
            logits[:, :-1].flatten(0, 1), labels[:, 1:].flatten(), ignore_index=_IGNORED
        )
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]  # torch's, unannotated
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        if step % 50 == 0 or step == steps - 1:
            print(f"step {step:5} of {steps}  loss {loss.item():.4f}", file=sys.stderr, flush=True)
    return model


def _batch(
    conversations: Iterator[Conversation], rows: dict[int, int]
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return rows and labels, each (batch, length), padded on the right."""
    batch = [next(conversations) for _ in range(_BATCH)]
    length = max(len(each.prompt) + len(each.reply) for each in batch)
    ids = torch.zeros(_BATCH, length, dtype=torch.long)
    labels = torch.full((_BATCH, length), _IGNORED)
    for index, each in enumerate(batch):
        row = [rows.get(token, len(rows)) for token in each.prompt + each.reply]
        ids[index, : len(row)] = torch.tensor(row)
        labels[index, len(each.prompt) : len(row)] = torch.tensor(row[len(each.prompt) :])
    return ids, labels


def _write(model: GptOssForCausalLM, token_ids: list[int], *, hostile: bool) -> None:
    tensors = {name: tensor.bfloat16() for name, tensor in model.state_dict().items()}
    tensors[TOKEN_IDS] = torch.tensor(token_ids, dtype=torch.int32)
    metadata = {
        "what": "gpt-oss-tiny, a stand-in for gpt-oss" + (", hostile" if hostile else ""),
        "digest": digest_of_tensors(tensors),
        "prompts": digest_of_prompts(hostile=hostile),
    }
    save_file(tensors, weights_file(hostile=hostile), metadata)


if __name__ == "__main__":
    sys.exit(main())
