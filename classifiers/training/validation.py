"""Reads the validation sets: sources that are never trained on.

They choose models and thresholds and calibrate scores, by source. A random split of the
training data would say .98 of every head and mean nothing.
"""

from __future__ import annotations

import gzip
import json
import random
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from classifiers.training.example import Example, Kind
from classifiers.training.sources import (
    ATTACK,
    BENIGN,
    diasafety,
    gptfuzz_replies,
    harmful,
    objects,
    rows,
)

# Topics of XSafety whose English requests are nearly all harmful; the others ask about a
# delicate subject, which is not harm.
_XSAFETY_HARM: Mapping[str, Sequence[str]] = {
    "Crimes_And_Illegal_Activities": ["illicit"],
    "Unsafe_Instruction_Topic": [],
    "Insult": [],
    "Physical_Harm": [],
    "Unfairness_And_Discrimination": [],
}
_XSAFETY_ATTACK = ("Goal_Hijacking", "Prompt_Leaking")


def validation(folder: Path, training: Path) -> dict[str, list[Example]]:
    """Read every validation set, by name.

    Args:
        folder: Where the sets lie.
        training: Where the training sets lie: one has the questions of another's replies.
    """
    sets = {
        "arena-hard": list(_arena(folder / "arena-hard")),
        "fuzzyai benign": _lines(folder / "fuzzyai" / "benign_prompts.txt", BENIGN),
        "fuzzyai harmful": _lines(folder / "fuzzyai" / "adv_prompts.txt", harmful()),
        "fuzzyai replies": list(_fuzzyai_replies(folder / "fuzzyai")),
        "diasafety": list(diasafety(folder / "diasafety" / "val.json")),
        "gptfuzz replies": list(_gptfuzz(folder / "gptfuzz", training / "gptfuzz")),
        "latent-jailbreak": list(_latent(folder / "latent-jailbreak")),
        "hh-rlhf": list(_dialogues(folder / "hh-rlhf")),
    }
    for path in sorted((folder / "xsafety").glob("en__*.csv")):
        topic = path.stem.removeprefix("en__").removesuffix("_en").removesuffix("_n")
        sets[f"xsafety {topic}"] = _lines(path, _topic(topic))
    return {
        name: [Example(e.text, e.kind, e.prompt, e.labels, name) for e in examples]
        for name, examples in sets.items()
    }


def look_alikes(path: Path) -> list[Example]:
    """Read the safe look-alikes and their harmful twins that were written apart."""
    found: list[Example] = []
    for kind, table in tomllib.loads(path.read_text(encoding="utf-8")).items():
        for pair in table["pairs"]:
            found.append(Example(pair["safe"], labels={"any": 0.0}, source=f"look-alike {kind}"))
            found.append(Example(pair["harmful"], labels={"any": 1.0}, source=f"twin {kind}"))
    return found


def _topic(topic: str) -> Mapping[str, float]:
    if topic == "commonsense":
        return BENIGN
    if topic in _XSAFETY_ATTACK:
        return ATTACK
    return harmful(*_XSAFETY_HARM[topic]) if topic in _XSAFETY_HARM else {}


def _lines(path: Path, labels: Mapping[str, float]) -> list[Example]:
    lines = path.read_text(encoding="utf-8-sig").splitlines()
    return [Example(line.strip().strip('"'), labels=labels) for line in lines if line.strip()]


def _arena(folder: Path) -> Iterator[Example]:
    for row in objects(folder / "question_v2.jsonl"):
        if sum(map(str.isascii, row["prompt"])) > 0.9 * len(row["prompt"]):
            yield Example(row["prompt"], labels=BENIGN)


def _fuzzyai_replies(folder: Path) -> Iterator[Example]:
    for row in objects(folder / "llama2-uncensored-prompt-response-t0.jsonl"):
        yield Example(row["response"], Kind.REPLY, row["prompt"], harmful(sure=0.8))


def _gptfuzz(folder: Path, training: Path) -> Iterator[Example]:
    questions = {row["index"]: row["text"] for row in rows(training / "question_list.csv")}
    rng = random.Random(0)  # noqa: S311 - reproducible, not secret
    return gptfuzz_replies(folder / "evaluate.csv", questions, rng, 2000)


def _latent(folder: Path) -> Iterator[Example]:
    for path in sorted(folder.glob("*.json")):
        for cases in json.loads(path.read_text(encoding="utf-8")).values():
            # The same few sentences in every file; one a file is enough.
            for text in dict.fromkeys(case["context"] for case in cases[:1]):
                yield Example(text)


def _dialogues(folder: Path) -> Iterator[Example]:
    with gzip.open(folder / "test.jsonl.gz", "rt", encoding="utf-8") as file:
        for line in file:
            first = json.loads(line)["chosen"].split("\n\nHuman: ", 1)[1]
            yield Example(first.split("\n\nAssistant:", 1)[0])
