"""Trains the embedded encoder and writes its weights: one command, from data to report.

    python -m classifiers.training --data DIR [--seeds 0,1,2] [--out classifiers/weights]

`DIR` holds `train/`, `dev/` and `held-out-5grams.u64` (see docs/model-cards/encoder.md).
Training leaves its weights in `--runs`, so that `--from-runs` calibrates, packs and
reports again without it. To train on another machine, `--write-rows FILE` there needs no
data: `--rows FILE --device cuda` leaves `--runs` to bring back.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import safetensors.torch
import torch
from tokenizers import Tokenizer
from torch import Tensor

from classifiers.encoder_model import Model
from classifiers.encoder_weights import FOLDER, read
from classifiers.training.calibrate import calibrate, score, thresholds
from classifiers.training.corpus import corpus, sampled, set_aside, weights
from classifiers.training.example import Example
from classifiers.training.fit import (
    Schedule,
    average,
    between,
    fit,
    merged,
    parted,
    states_of,
)
from classifiers.training.network import base_folder, load_base
from classifiers.training.package import UNCALIBRATED, describe, unpacked, write_weights
from classifiers.training.report import write_report
from classifiers.training.rows import Rows, rows_of
from classifiers.training.validation import look_alikes, validation

SEED = 0  # of the data; `--seeds` are the training runs'


def main() -> None:
    """Run the steps that the arguments ask for."""
    asked = _arguments()
    torch.set_num_threads(asked.threads)
    if asked.rows:
        _train(asked, Rows.load(asked.rows))
        return
    examples = corpus(asked.data / "train", asked.data / "held-out-5grams.u64", SEED)
    taught = [example for example in examples if not set_aside(example)]
    taught = sampled(taught, asked.share, asked.whole.split(","))
    print(f"{len(taught)} examples", flush=True)
    if not asked.from_runs:
        rows = rows_of(_tokenizer(), taught, weights(taught))
        if asked.write_rows:
            rows.save(asked.write_rows)
            return
        _train(asked, rows)
    _publish(asked, safetensors.torch.load_file(asked.runs), examples, len(taught))


def _begin(path: Path | None) -> dict[str, Tensor] | None:
    if path is None:
        return None
    return unpacked(read(path)) if path.is_dir() else safetensors.torch.load_file(path)


def _tokenizer() -> Tokenizer:
    tokenizer = Tokenizer.from_file(str(base_folder() / "tokenizer.json"))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer


def _train(asked: argparse.Namespace, rows: Rows) -> None:
    """Write the average of the runs so far, after each, drawn back to where they began."""
    schedule = Schedule(
        passes=asked.passes,
        rate=asked.rate,
        head_rate=5 * asked.rate,
        batch_tokens=asked.batch_tokens,
        bfloat16=not asked.float32,
        dropout=not asked.no_dropout,
        device=asked.device,
    )
    begin = _begin(asked.begin)
    bert = load_base(asked.base)
    print(f"{len(rows.weights)} windows, {len(rows.ids)} tokens", flush=True)
    states = states_of(bert, rows, schedule)
    runs: list[dict[str, Tensor]] = []
    for seed in (int(seed) for seed in asked.seeds.split(",")):
        runs.append(fit(bert, rows, states, seed, schedule, begin))
        upper = average(runs)
        if begin is not None:
            upper = between(upper, parted(begin), asked.keep)
        whole = {key: value.contiguous() for key, value in merged(bert, upper).items()}
        safetensors.torch.save_file(whole, asked.runs)  # what an interrupted run leaves


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
    parser.add_argument("--data", type=Path, help="needed but with `--rows`")
    parser.add_argument("--write-rows", type=Path, help="write the training set as rows and stop")
    parser.add_argument("--rows", type=Path, help="train on these rows, write `--runs` and stop")
    parser.add_argument("--base", type=Path, help="where the base model lies, if elsewhere")
    parser.add_argument("--device", default="cpu", help="where to train, as torch names it")
    parser.add_argument("--batch-tokens", type=int, default=3_600)
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
    asked = parser.parse_args()
    if not (asked.rows or asked.data):
        parser.error("one of `--data` and `--rows` is needed")
    return asked


if __name__ == "__main__":
    main()
