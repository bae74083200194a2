"""Train probes on a model in this process.

    python -m model_runner.probes MODEL TEXTS OUT [--layers 8,15,22] [--span 16]

MODEL is a name that OSTIARY_MODEL takes, TEXTS a file of labelled texts
(`model_runner.probes.texts`), OUT the file to be named in OSTIARY_PROBES_FILE. Prints how well
the probes tell apart the texts that were set aside. Exit status 1: something is in the way.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from model_runner.local import digest_of_model, load_local
from model_runner.probes.activations import Collector
from model_runner.probes.file import Probes, write_probes
from model_runner.probes.fit import Fitted, Material, fit
from model_runner.probes.tap import decoder_layers
from model_runner.probes.texts import Labelled, read_texts
from model_runner.types import RunnerError

SPAN = 16  # tokens


def train(
    model: str, texts: Sequence[Labelled], layers: Sequence[int], span: int
) -> tuple[Probes, Fitted]:
    """Return probes for every category that the texts have a label for.

    Args:
        model: A name that `load_local` takes.
        texts: What is learned from.
        layers: Of which decoder layers the output is read; empty means four, spread over
            the second three quarters of the model.
        span: Over how many tokens a score is smoothed.

    Raises:
        RunnerError: If the model cannot be loaded, or a text not be put to it.
        ValueError: If there are too few texts of a category.
    """
    runner = load_local(model)
    chosen = sorted(layers) or default_layers(len(decoder_layers(runner.network)))
    collector = Collector(runner.network, runner.codec, chosen, 2 / (span + 1))
    residuals = collector.collect(texts, lambda done: _progress(done, len(texts)))
    categories = sorted({category for text in texts for category in text.labels})
    fitted = fit(Material.of(texts, residuals, categories), categories)
    return fitted.as_probes(digest_of_model(model), categories, chosen, span), fitted


def default_layers(count: int) -> list[int]:
    """Return four layers from a quarter of the model to its end."""
    return sorted({max(0, round(count * part) - 1) for part in (0.25, 0.5, 0.75, 1.0)})


def _progress(done: int, of: int) -> None:
    sys.stderr.write(f"\rread {done} of {of} texts" + ("\n" if done == of else ""))
    sys.stderr.flush()


def main() -> int:
    """Read the command line and train; returns the exit status."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("model")
    parser.add_argument("texts", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--layers", default="", help="numbers from 0, separated by commas")
    parser.add_argument("--span", type=int, default=SPAN, help="tokens to smooth over")
    asked = parser.parse_args()
    layers = [int(layer) for layer in asked.layers.split(",") if layer]
    try:
        probes, fitted = train(asked.model, list(read_texts(asked.texts)), layers, asked.span)
        write_probes(asked.out, probes)
    except (OSError, ValueError, RunnerError) as wrong:
        sys.stderr.write(f"cannot train: {wrong}\n")
        return 1
    for category, figure in zip(probes.categories, fitted.auroc, strict=True):
        sys.stdout.write(f"{category:<28} AUROC {figure:.3f}, set aside\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
