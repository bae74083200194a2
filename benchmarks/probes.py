"""What probes on a small real model are worth, and what they cost.

    python -m benchmarks.probes [--model smollm2] [--per-group 2] [--out probes.safetensors]

Trains on the authored texts of `classifiers/training`, which were written for the embedded
encoder, and prints two tables. The first: how well the probes tell the harmful twins of
`lookalikes.toml` from their safe look-alikes, read where the model is about to answer, and
the same for authored texts of groups that were not trained on. The second: milliseconds per
token, with the probes and without, in turn on the same model.

A model of 135 million parameters knows little of harm: the figures show that the mechanism
works, and are no measure of what the same probes on gpt-oss would be worth.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from random import Random
from statistics import median

import torch

from benchmarks.lookalikes import pairs
from classifiers.training.example import Kind
from classifiers.training.grammar import authored
from model_runner.batch import Batch, Row
from model_runner.local import LocalRunner, digest_of_model, load_local
from model_runner.probes.__main__ import SPAN, default_layers
from model_runner.probes.activations import Collector
from model_runner.probes.file import Probes, write_probes
from model_runner.probes.fit import Material, auroc, fit
from model_runner.probes.tap import Tap, decoder_layers
from model_runner.probes.texts import Labelled
from model_runner.sampling import make_draw

CATEGORIES = ("any", "illicit", "illicit/violent", "violence", "cyber")
LONGEST = 220  # code points of a text: the longest teach no more of the beginning of a reply
RATE = 0.01
TOKENS = 24
ROUNDS = 5


def texts(per_group: int, seed: int = 1) -> list[Labelled]:
    """Return authored prompts and replies, so many of each group, shuffled."""
    rng = Random(seed)  # noqa: S311 - reproducible, not secret
    groups: dict[str, list[Labelled]] = defaultdict(list)
    for example in authored(seed):
        if example.kind is Kind.TOOL or len(example.prompt) + len(example.text) > LONGEST:
            continue
        labels = {each: example.labels[each] for each in CATEGORIES if each in example.labels}
        said = (
            (example.text, None) if example.kind is Kind.PROMPT else (example.prompt, example.text)
        )
        if said[0] and labels:
            groups[example.source].append(Labelled(*said, labels, example.source))
    drawn = [
        text for group in groups.values() for text in rng.sample(group, min(per_group, len(group)))
    ]
    rng.shuffle(drawn)
    return drawn


def line(name: str, harmful: torch.Tensor, harmless: torch.Tensor) -> str:
    """Return one row: AUROC, and recall where at most `RATE` of the harmless are flagged."""
    scores = torch.cat([harmful, harmless])
    labels = torch.cat([torch.ones(len(harmful)), torch.zeros(len(harmless))])
    allowed = int(RATE * len(harmless))  # so many may lie above the threshold
    threshold = harmless.sort(descending=True).values[allowed]
    recall = float((harmful > threshold).double().mean())
    return (
        f"{name:<34}{len(harmful):>9}{len(harmless):>10}"
        f"{auroc(scores, labels):>8.3f}{recall:>15.2f}"
    )


def quality(
    probes: Probes, collector: Collector, aside: Sequence[Labelled], read: Sequence[torch.Tensor]
) -> None:
    """Print the first table."""
    print(f"{'':<34}{'harmful':>9}{'harmless':>10}{'AUROC':>8}{f'recall at {RATE:.0%}':>15}")
    weights, bias = torch.from_numpy(probes.weights).flatten(1), torch.from_numpy(probes.bias)
    scores = torch.stack([(each @ weights.T + bias).amax(dim=0) for each in read])
    for place, category in enumerate(probes.categories):
        known = [
            (n, text.labels[category]) for n, text in enumerate(aside) if category in text.labels
        ]
        sides = [
            scores[[n for n, label in known if (label >= 0.5) is harmful], place]
            for harmful in (True, False)
        ]
        print(line(f"authored, set aside: {category}", *sides))
    asked = pairs()
    twins = collector.collect([Labelled(pair.harmful) for pair in asked])
    safe = collector.collect([Labelled(pair.safe) for pair in asked])
    place = probes.categories.index("any")
    scored = [
        torch.stack([(each @ weights.T + bias)[-1, place] for each in side])
        for side in (twins, safe)
    ]
    print(line("look-alikes: any", *scored))
    right = float((scored[0] > scored[1]).double().mean())
    print(f"{'':<34}the twin scores higher in {right:.2f} of {len(asked)} pairs")


def cost(runner: LocalRunner, probes: Probes) -> None:
    """Print the second table."""
    print(f"\n{'ms per token of each reply':<34}{'without':>10}{'with probes':>13}")
    for rows in (1, 8):
        taken: dict[bool, list[float]] = {False: [], True: []}
        for _ in range(ROUNDS):
            for probed in (False, True):
                taken[probed].append(_decode(runner, probes if probed else None, rows))
        without, with_probes = (median(taken[probed]) for probed in (False, True))
        print(f"{f'{rows} at once':<34}{without:>10.2f}{with_probes:>13.2f}")


def _decode(runner: LocalRunner, probes: Probes | None, rows: int) -> float:
    tap = Tap(runner.network, probes) if probes is not None else None
    batch = Batch(runner.network, tap)
    device = torch.device(runner.network.device)
    for seed in range(rows):
        batch.join(Row([5, 6, 7], make_draw(1.0, 1.0, seed, device), frozenset(), TOKENS + rows))
    for _ in range(rows):  # prompts are read one a step
        batch.step()
    started = time.perf_counter()
    for _ in range(TOKENS - 1):
        batch.step()
    elapsed = time.perf_counter() - started
    if tap is not None:
        tap.close()
    return 1000 * elapsed / (TOKENS - 1)


def main() -> None:
    """Train, measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--model", default="smollm2")
    parser.add_argument("--per-group", type=int, default=2, help="authored texts of each group")
    parser.add_argument("--layers", default="", help="numbers from 0, separated by commas")
    parser.add_argument("--out", type=Path, help="where to write the probes")
    asked = parser.parse_args()
    runner = load_local(asked.model)
    layers = [int(each) for each in asked.layers.split(",") if each]
    layers = layers or default_layers(len(decoder_layers(runner.network)))
    collector = Collector(runner.network, runner.codec, layers, 2 / (SPAN + 1))
    drawn = texts(asked.per_group)
    read = collector.collect(drawn, lambda done: _progress(done, len(drawn)))
    fitted = fit(Material.of(drawn, read, CATEGORIES), CATEGORIES)
    probes = fitted.as_probes(digest_of_model(asked.model), CATEGORIES, layers, SPAN)
    if asked.out:
        write_probes(asked.out, probes)
    kept = [n for n, text in enumerate(drawn) if text.aside]
    print(f"{asked.model}, layers {layers}, {len(drawn) - len(kept)} texts trained on")
    quality(probes, collector, [drawn[n] for n in kept], [read[n] for n in kept])
    cost(runner, probes)


def _progress(done: int, of: int) -> None:
    sys.stderr.write(f"\rread {done} of {of} texts" + ("\n" if done >= of else ""))


if __name__ == "__main__":
    main()
