"""Trains the n-gram classifier of prompt injection and writes its weights and figures.

    python -m classifiers.training.ngrams --data DIR [--out DIR] [--page FILE]

`DIR` holds `train/`, `dev/` and `held-out-5grams.u64`, as for the encoder. A minute or
two on one processor core; the same data and seed give the same weights.

Every window of a harmless text is harmless, but only one window of a page with a planted
sentence holds it. So it is fitted twice: first on all windows, then on all of the harmless
ones and, of each attack, the one that the first fit thought the worst.

Nothing is measured on a random split, which would say .99 and mean nothing: each family
of sources is scored by weights that saw nothing of it. The same scores calibrate the
classifier. What is shipped is then fitted on everything.
"""

from __future__ import annotations

import argparse
import re
import warnings
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from safetensors.numpy import save

from classifiers.ngrams import (
    BITS,
    DESCRIPTION,
    FOLDER,
    FORMAT,
    MODEL,
    Table,
    grams,
    logit,
    windows,
)
from classifiers.training.example import Example, Kind
from classifiers.training.injections import Sample, folded, samples
from classifiers.training.validation import validation

SEED = 0
MOST_WINDOWS = 10  # of one text, spread over it
SOURCES = 2  # an n-gram that fewer of them use is not learned
REGULARISATION = 4.0  # liblinear's C: the inverse of the penalty on large weights
PREVALENCE = 0.1  # attacks among texts, for the calibration: as for the encoder
RATE = 0.01  # false positives at which recall is reported
BENIGN_SETS = ("arena-hard", "fuzzyai benign", "xsafety commonsense")
PAGE = Path("docs/model-cards/ngrams.md")

Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Rows:
    """The windows of all samples as features.

    Attributes:
        features: (windows, 2 * buckets + 1), sparse float32: the n-grams, the same again
            if a tool returned the text and zeros if not, and whether it did.
        owners: (windows,): the index of the sample that a window is of, ascending.
    """

    features: Any  # scipy ships no types
    owners: npt.NDArray[np.int64]


def main() -> None:
    """Train, validate, pack and report."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, default=FOLDER)
    parser.add_argument("--page", type=Path, default=PAGE, help="where the figures go")
    asked = parser.parse_args()
    known = samples(asked.data / "train", asked.data / "held-out-5grams.u64", SEED)
    print(f"{len(known)} texts, {sum(s.attack for s in known)} of them attacks")
    rows = rows_of(known)
    held = left_out(rows, known)
    slope, offset = calibration(known, held)
    tables = fit(rows, known, np.ones(len(known), dtype=bool))
    shipped = write_weights(asked.out, tables, slope, offset)
    sets = validation(asked.data / "dev", asked.data / "train")
    lines = [*by_family(known, held), "", *by_set(sets, shipped["prompt"])]
    print("\n".join(lines))
    publish(asked.page, lines)


def rows_of(known: Sequence[Sample]) -> Rows:
    """Return the windows of each text, `MOST_WINDOWS` of a long one."""
    from scipy import sparse  # type: ignore[import-untyped] # scipy ships no types

    columns: list[npt.NDArray[np.int64]] = []
    values: list[Floats] = []
    owners: list[int] = []
    for index, sample in enumerate(known):
        for buckets, weights in _windows(sample.text):
            columns.append(buckets)
            values.append(weights)
            owners.append(index)
    bounds = np.concatenate(([0], np.cumsum([c.size for c in columns])))
    content = (np.concatenate(values).astype(np.float32), np.concatenate(columns), bounds)
    plain = sparse.csr_matrix(content, shape=(len(owners), 1 << BITS))
    tool = np.array([known[index].tool for index in owners], dtype=np.float32)[:, None]
    features = sparse.hstack([plain, plain.multiply(tool), sparse.csr_matrix(tool)], format="csr")
    return Rows(features, np.array(owners, dtype=np.int64))


def _shared(rows: Rows, known: Sequence[Sample], chosen: npt.NDArray[np.int64]) -> Any:  # noqa: ANN401 - scipy ships no types
    """Return the features of the chosen windows without what one source alone says.

    Its names, its turns of phrase and its layout tell where a text is from, which is not
    what is to be learned.
    """
    from scipy import sparse

    features = rows.features[chosen]
    sources = [known[index].source for index in rows.owners[chosen]]
    numbers = np.unique(sources, return_inverse=True)[1]
    found = features.tocoo()
    pairs = np.unique(found.col.astype(np.int64) * (numbers.max() + 1) + numbers[found.row])
    used = np.bincount(pairs // (numbers.max() + 1), minlength=features.shape[1])
    return features @ sparse.diags((used >= SOURCES).astype(np.float32))


def _windows(text: str) -> Iterator[tuple[npt.NDArray[np.int64], Floats]]:
    """Yield the buckets of each window and their counts over the root of all of them."""
    places, buckets = grams(text)
    starts, ends = windows(len(text))
    spread = np.linspace(0, starts.size - 1, min(starts.size, MOST_WINDOWS)).astype(int)
    for start, end in zip(starts[spread], ends[spread], strict=True):
        inside = buckets[(places >= start) & (places < end)]
        found, counts = np.unique(inside, return_counts=True)
        yield found, counts / np.sqrt(max(inside.size, 1))


def fit(rows: Rows, known: Sequence[Sample], chosen: Flags) -> dict[str, Table]:
    """Fit on the samples that are `chosen`, (samples,) bool; return the tables by kind."""
    coefficients, bias = _fit(rows, known, chosen)
    buckets = 1 << BITS
    prompt = coefficients[:buckets]
    tool = prompt + coefficients[buckets : 2 * buckets]
    return {"prompt": Table(prompt, bias), "tool": Table(tool, bias + float(coefficients[-1]))}


def _fit(rows: Rows, known: Sequence[Sample], chosen: Flags) -> tuple[Floats, float]:
    attack = np.array([sample.attack for sample in known])
    first = np.flatnonzero(chosen[rows.owners])
    model = _regression(rows, known, first)
    logits = model.decision_function(rows.features[first])
    best = _highest(logits, rows.owners[first], len(known))
    owners = rows.owners[first]
    second = first[~attack[owners] | (logits >= best[owners])]
    model = _regression(rows, known, second)
    return model.coef_[0].astype(np.float64), float(model.intercept_[0])


def _regression(rows: Rows, known: Sequence[Sample], chosen: npt.NDArray[np.int64]) -> Any:  # noqa: ANN401 - scikit-learn ships no types
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression

    owners = rows.owners[chosen]
    attack = np.array([known[index].attack for index in owners])
    weights = _weights(known, owners)
    for label in (True, False):  # attacks and the rest weigh the same
        weights[attack == label] *= len(chosen) / 2 / weights[attack == label].sum()
    model = LogisticRegression(
        solver="liblinear", dual=True, C=REGULARISATION, tol=0.05, max_iter=25, random_state=SEED
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # stopping early regularises too
        return model.fit(_shared(rows, known, chosen), attack, sample_weight=weights)


def _weights(known: Sequence[Sample], owners: npt.NDArray[np.int64]) -> Floats:
    """Return (windows,): large sources count less, and a long text not as many texts."""
    sizes = Counter(sample.source for sample in known)
    each = np.array([(400 / max(400, sizes[sample.source])) ** 0.4 for sample in known])
    pieces = np.bincount(owners, minlength=len(known))
    return np.asarray(each[owners] / np.sqrt(pieces[owners]))


def _highest(logits: Floats, owners: npt.NDArray[np.int64], count: int) -> Floats:
    highest = np.full(count, -np.inf)
    np.maximum.at(highest, owners, logits)
    return highest


def left_out(rows: Rows, known: Sequence[Sample]) -> Floats:
    """Return (samples,): each one's logit by weights that saw nothing of its family."""
    families = np.array([sample.family for sample in known])
    held = np.zeros(len(known))
    for name in sorted(set(families)):
        coefficients, bias = _fit(rows, known, families != name)
        mine = np.flatnonzero((families == name)[rows.owners])
        logits = rows.features[mine] @ coefficients + bias
        held[families == name] = _highest(logits, rows.owners[mine], len(known))[families == name]
        print(f"left out: {name}", flush=True)
    return held


def calibration(known: Sequence[Sample], held: Floats) -> tuple[float, float]:
    """Return Platt's slope and offset, from logits of texts that were not trained on.

    Each family counts the same, and attacks as one in ten.
    """
    from sklearn.linear_model import LogisticRegression

    attack = np.array([sample.attack for sample in known])
    weights = np.zeros(len(known))
    for label, share in ((True, PREVALENCE), (False, 1 - PREVALENCE)):
        weights[attack == label] = share * _by_weight(known, attack == label)
    fitted = LogisticRegression(C=1e6).fit(held[:, None], attack, sample_weight=weights)
    return round(float(fitted.coef_[0, 0]), 4), round(float(fitted.intercept_[0]), 4)


def _by_weight(known: Sequence[Sample], chosen: Flags) -> Floats:
    """Return the weights of the chosen samples: each family the same, all of them 1,000."""
    families = [sample.family for sample, is_chosen in zip(known, chosen, strict=True) if is_chosen]
    sizes = Counter(families)
    return np.array([1000 / len(sizes) / sizes[name] for name in families])


def threshold(known: Sequence[Sample], held: Floats) -> float:
    """Return the logit that `RATE` of the harmless texts reach, each family counted the same."""
    harmless = np.array([not sample.attack for sample in known])
    weights = _by_weight(known, harmless)
    order = np.argsort(-held[harmless])
    place = int(np.searchsorted(np.cumsum(weights[order]), RATE * weights.sum()))
    return float(held[harmless][order][place])


def write_weights(
    folder: Path, tables: Mapping[str, Table], slope: float, offset: float
) -> dict[str, Table]:
    """Write the weights, int8, and their description; return the tables as they were rounded."""
    scales = {kind: float(np.abs(table.weights).max()) / 127 for kind, table in tables.items()}
    tensors = {
        kind: np.round(table.weights / scales[kind]).astype(np.int8)
        for kind, table in sorted(tables.items())
    }
    content = save(tensors)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / MODEL).write_bytes(content)
    lines = [
        "# Written by `python -m classifiers.training.ngrams`; do not edit.",
        f'format = "{FORMAT}"',
        f'sha256 = "{sha256(content).hexdigest()}"  # of `{MODEL}`',
        f"slope = {slope}  # probability = sigmoid(slope * logit + offset)",
        f"offset = {offset}",
        *_section("scale", scales),
        *_section("bias", {kind: table.bias for kind, table in tables.items()}),
    ]
    (folder / DESCRIPTION).write_text("\n".join(lines) + "\n", encoding="utf-8")
    return {
        kind: Table(tensors[kind] * np.float64(scales[kind]), tables[kind].bias)
        for kind in sorted(tables)
    }


def _section(name: str, values: Mapping[str, float]) -> list[str]:
    return ["", f"[{name}]", *(f"{kind} = {values[kind]!r}" for kind in sorted(values))]


def by_family(known: Sequence[Sample], held: Floats) -> Iterator[str]:
    """Yield the table of what was found in each family by weights that did not see it."""
    limit = threshold(known, held)
    yield "| family, left out of training | attacks | found | harmless | flagged |"
    yield "|---|--:|--:|--:|--:|"
    for name in sorted({sample.family for sample in known}):
        cells = []
        for label in (True, False):
            mine = [i for i, s in enumerate(known) if s.family == name and s.attack == label]
            share = f"{np.mean(held[mine] >= limit):.1%}" if mine else ""
            cells.append(f"{len(mine) or ''} | {share}")
        yield f"| {name} | {cells[0]} | {cells[1]} |"


def by_set(sets: Mapping[str, Sequence[Example]], table: Table) -> Iterator[str]:
    """Yield the table of the validation sets, none of which was trained on."""
    scores = {
        name: np.array([logit(folded(example.text), table) for example in examples])
        for name, examples in sets.items()
        if examples and examples[0].kind is not Kind.REPLY
    }
    benign = np.concatenate([scores[name] for name in BENIGN_SETS])
    limits = [float(np.quantile(benign, 1 - rate)) for rate in (RATE, RATE / 10)]
    yield "| validation set | texts | at 1 % false positives | at 0.1 % |"
    yield "|---|--:|--:|--:|"
    for name, found in scores.items():
        shares = " | ".join(f"{np.mean(found >= limit):.1%}" for limit in limits)
        yield f"| {name} | {found.size} | {shares} |"


def publish(page: Path, lines: Sequence[str]) -> None:
    """Put the figures between the marks on the page, if there is such a page."""
    if page.exists():
        marks = re.compile(r"(<!-- figures -->\n).*?(<!-- end of figures -->)", re.DOTALL)
        text = page.read_text(encoding="utf-8")
        body = "\n".join(lines)
        page.write_text(marks.sub(lambda m: f"{m[1]}\n{body}\n\n{m[2]}", text), encoding="utf-8")


if __name__ == "__main__":
    main()
