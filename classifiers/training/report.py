"""Writes the report of a training run: `figures.md` and pictures beside it.

Everything is measured on the packed weights, as they are served, after calibration. The
validation sets were never trained on; the look-alikes were written apart by somebody who
did not see the training data.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from classifiers.training.calibrate import BENIGN_SETS, Scored, scores
from classifiers.training.example import HEADS
from classifiers.training.measure import Floats, measure, reliability, share_at_least

Calibration = Mapping[str, Mapping[str, float]]
RATES = (0.01, 0.03)


def write_report(
    folder: Path,
    sets: Mapping[str, Scored],
    aside: Scored,
    apart: Scored,
    calibration: Calibration,
) -> None:
    """Write `figures.md` and `reliability.png` into `folder`.

    Args:
        folder: Made if it is not there.
        sets: The validation sets by name.
        aside: Rows of training sources that were not trained on.
        apart: The look-alikes and their twins.
        calibration: Of each head.
    """
    folder.mkdir(parents=True, exist_ok=True)
    lines = ["<!-- Written by `python -m classifiers.training`; do not edit. -->", ""]
    lines += [*_by_source(sets, calibration), *_by_head(sets, aside, calibration)]
    lines += [*_look_alikes(sets, apart, calibration)]
    (folder / "figures.md").write_text("\n".join(lines) + "\n", encoding="utf-8")
    _pictures(folder, sets, aside, calibration)


def _limits(sets: Mapping[str, Scored], head: str, calibration: Calibration) -> list[float]:
    """Return the scores that 1 % and 3 % of the benign validation texts reach."""
    benign = np.concatenate([scores(sets[name], head, calibration) for name in BENIGN_SETS])
    return [float(np.quantile(benign, 1 - rate)) for rate in RATES]


def _by_source(sets: Mapping[str, Scored], calibration: Calibration) -> Iterator[str]:
    harm, attack = (_limits(sets, h, calibration) for h in ("any", "prompt_injection"))
    yield "## Validation sources"
    yield ""
    yield "Share of texts that reach the threshold of 1 % (3 %) false positives on benign texts."
    yield ""
    yield from _header("source", "texts", "labelled harmful", "`any`", "`prompt_injection`")
    for name, part in sets.items():
        labels, _ = part.of("any")
        cells = [
            _both(scores(part, head, calibration), limits)
            for head, limits in (("any", harm), ("prompt_injection", attack))
        ]
        labelled = f"{labels.mean():.0%}" if len(labels) else "not labelled"
        yield _row(name, str(len(part.examples)), labelled, *cells)
    yield ""
    for name in ("diasafety", "gptfuzz replies"):
        labels, logits = sets[name].of("any")
        found = measure(labels, logits, 0.0)
        yield f"- {name}, `any`: AUPRC {_number(found.auprc)} at {labels.mean():.0%} harmful, "
        yield f"  AUROC {_number(found.auroc)}"
    yield ""


def _both(found: Floats, limits: Sequence[float]) -> str:
    at_1, at_3 = (share_at_least(found, limit) for limit in limits)
    return f"{at_1:.1%} ({at_3:.1%})"


def _by_head(sets: Mapping[str, Scored], aside: Scored, calibration: Calibration) -> Iterator[str]:
    yield "## Heads, on rows set aside from the training sources"
    yield ""
    yield "These flatter: the rows are new, their sources are not. Precision and recall at 1 %."
    yield ""
    columns = "harmful", "others", "AUPRC", "AUROC", "precision", "recall at 1 %", "at 3 %"
    yield from _header("head", *columns)
    for head in HEADS:
        labels, _ = aside.of(head)
        known = [i for i, e in enumerate(aside.examples) if head in e.labels]
        found = scores(aside, head, calibration)[known]
        at_1, at_3 = (measure(labels, found, t) for t in _limits(sets, head, calibration))
        figures = at_1.auprc, at_1.auroc, at_1.precision, at_1.recall, at_3.recall
        yield _row(f"`{head}`", str(at_1.positives), str(at_1.negatives), *map(_number, figures))
    yield ""


def _look_alikes(
    sets: Mapping[str, Scored], apart: Scored, calibration: Calibration
) -> Iterator[str]:
    limit_1, limit_3 = _limits(sets, "any", calibration)
    scored = scores(apart, "any", calibration)
    kinds: dict[str, list[float]] = defaultdict(list)
    for example, score in zip(apart.examples, scored.tolist(), strict=True):
        kinds[example.source].append(score)
    yield "## Look-alikes written apart, and their harmful twins"
    yield ""
    labels = np.array([e.labels["any"] for e in apart.examples])
    found = measure(labels, scored, limit_1)
    yield f"AUROC {_number(found.auroc)}. Share flagged by `any`:"
    yield ""
    yield from _header("kind", "safe at 1 %", "twins at 1 %", "safe at 3 %", "twins at 3 %")
    names = sorted({source.partition(" ")[2] for source in kinds})
    for name in [*names, ""]:
        safe = np.array(
            [s for k, v in kinds.items() if k.startswith(f"look-alike {name}") for s in v]
        )
        twin = np.array([s for k, v in kinds.items() if k.startswith(f"twin {name}") for s in v])
        shares = [share_at_least(part, t) for t in (limit_1, limit_3) for part in (safe, twin)]
        yield _row(name or "**all**", *(f"{share:.1%}" for share in shares))
    yield ""


def _header(*names: str) -> Iterator[str]:
    yield _row(*names)
    yield _row(*("---" for _ in names))


def _row(*cells: str) -> str:
    return "| " + " | ".join(cells) + " |"


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"


def _pictures(
    folder: Path, sets: Mapping[str, Scored], aside: Scored, calibration: Calibration
) -> None:
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(3, 6, figsize=(15, 8), sharex=True, sharey=True)
    for axis, head in zip(axes.flat, HEADS, strict=True):
        labels, found = _known([*sets.values(), aside], head, calibration)
        axis.plot([0, 1], [0, 1], color="0.7", linewidth=1)
        axis.plot(*reliability(labels, found), marker="o", markersize=3)
        axis.set_title(head, fontsize=9)
    figure.supxlabel("score")
    figure.supylabel("share that is harmful (validation sets and rows set aside)")
    figure.tight_layout()
    figure.savefig(folder / "reliability.png", dpi=80)
    pyplot.close(figure)


def _known(parts: Sequence[Scored], head: str, calibration: Calibration) -> tuple[Floats, Floats]:
    """Return labels and scores of all examples whose label for `head` is known."""
    rows = [[i for i, e in enumerate(part.examples) if head in e.labels] for part in parts]
    found = [
        scores(part, head, calibration)[known] for part, known in zip(parts, rows, strict=True)
    ]
    return np.concatenate([part.of(head)[0] for part in parts]), np.concatenate(found)
