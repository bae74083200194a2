"""Trains the embedded encoder and writes its weights: one command, from data to report.

    python -m classifiers.training --data DIR [--seeds 0,1,2] [--out classifiers/weights]

`DIR` holds `train/`, `dev/` and `held-out-5grams.u64` (see docs/model-cards/encoder.md).
Training leaves its weights in `--runs`, so that `--from-runs` calibrates, packs and
reports again without it.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

import safetensors.torch
import torch
from tokenizers import Tokenizer
from torch import Tensor

from classifiers.encoder_model import Model
from classifiers.encoder_weights import FOLDER, read
from classifiers.training.calibrate import calibrate, score, thresholds
from classifiers.training.corpus import corpus, sampled, set_aside
from classifiers.training.example import Example
from classifiers.training.fit import Schedule, average, between, fit, merged, parted, rows_of
from classifiers.training.network import base_folder, load_base
from classifiers.training.package import UNCALIBRATED, describe, unpacked, write_weights
from classifiers.training.report import write_report
from classifiers.training.validation import look_alikes, validation

SEED = 0  # of the data; `--seeds` are the training runs'


def main() -> None:
    """Run the steps that the arguments ask for."""
    asked = _arguments()
    torch.set_num_threads(asked.threads)
    examples = corpus(asked.data / "train", asked.data / "held-out-5grams.u64", SEED)
    taught = [example for example in examples if not set_aside(example)]
    taught = sampled(taught, asked.share, asked.whole.split(","))
    if not asked.from_runs:
        seeds = [int(seed) for seed in asked.seeds.split(",")]
        schedule = Schedule(
            passes=asked.passes,
            rate=asked.rate,
            head_rate=5 * asked.rate,
            bfloat16=not asked.float32,
            dropout=not asked.no_dropout,
        )
        for tensors in _train(taught, seeds, schedule, _begin(asked.begin), asked.keep):
            safetensors.torch.save_file(tensors, asked.runs)  # what an interrupted run leaves
    tensors = safetensors.torch.load_file(asked.runs)
    _publish(asked, tensors, examples, len(taught))


def _begin(path: Path | None) -> dict[str, Tensor] | None:
    if path is None:
        return None
    return unpacked(read(path)) if path.is_dir() else safetensors.torch.load_file(path)


def _train(
    examples: list[Example],
    seeds: list[int],
    schedule: Schedule,
    begin: dict[str, Tensor] | None,
    keep: float,
) -> Iterator[dict[str, Tensor]]:
    """Yield the average of the runs so far, after each, drawn back to where they began."""
    tokenizer = Tokenizer.from_file(str(base_folder() / "tokenizer.json"))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    bert = load_base()
    print(f"{len(examples)} examples", flush=True)
    rows = rows_of(bert, tokenizer, examples, bfloat16=schedule.bfloat16)
    print(f"{len(rows.states)} tokens", flush=True)
    runs: list[dict[str, Tensor]] = []
    for seed in seeds:
        runs.append(fit(bert, rows, seed, schedule, begin))
        upper = average(runs) if begin is None else between(average(runs), parted(begin), keep)
        yield {key: value.contiguous() for key, value in merged(bert, upper).items()}


def _publish(
    asked: argparse.Namespace, tensors: dict[str, Tensor], examples: list[Example], taught: int
) -> None:
    """Pack, measure what was packed, calibrate by it, and write the report."""
    write_weights(asked.out, tensors, base_folder() / "tokenizer.json")
    describe(asked.out, UNCALIBRATED, {}, {})
    model = Model(read(asked.out))
    sets = {
        name: score(model, rows)
        for name, rows in validation(asked.data / "dev", asked.data / "train").items()
    }
    aside = score(model, [example for example in examples if set_aside(example)])
    apart = score(model, look_alikes(asked.look_alikes))
    calibration = calibrate(sets, aside)
    provenance = {
        "base": "all-MiniLM-L6-v2, Apache-2.0",
        "trained": f"{taught} examples, seeds {asked.seeds}, passes {asked.passes}, "
        f"rate {asked.rate:g}, share {asked.share:g}, keep {asked.keep:g}",
        "begun": asked.begun,
        "calibrated": "Platt scaling on the validation sets and rows set aside, harm at 1 in 10",
        "thresholds": "benign texts of arena-hard v2, FuzzyAI and XSafety (English)",
    }
    describe(asked.out, calibration, thresholds(sets, calibration), provenance)
    write_report(asked.report, sets, aside, apart, calibration)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m classifiers.training")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--passes", type=int, default=2)
    parser.add_argument("--rate", type=float, default=1.5e-4, help="of the highest layer")
    parser.add_argument("--begin", type=Path, help="earlier `--runs`, or packed weights")
    parser.add_argument("--keep", type=float, default=0.0, help="share of `--begin` in the result")
    parser.add_argument("--begun", default="at the base", help="what `--begin` is, for the record")
    parser.add_argument("--share", type=float, default=1.0, help="of the training set to teach")
    parser.add_argument("--whole", default="", help="sources and topics to teach all of anyway")
    parser.add_argument("--float32", action="store_true", help="for processors without bfloat16")
    parser.add_argument("--no-dropout", action="store_true", help="for a short run: faster")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--out", type=Path, default=FOLDER)
    parser.add_argument("--runs", type=Path, default=Path("encoder-runs.safetensors"))
    parser.add_argument("--from-runs", action="store_true")
    parser.add_argument("--look-alikes", type=Path, default=Path("benchmarks/lookalikes.toml"))
    parser.add_argument("--report", type=Path, default=Path("docs/evaluation"))
    return parser.parse_args()


if __name__ == "__main__":
    main()
