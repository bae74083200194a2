"""Public sets by name, read from a copy of your own: which file, and what its columns mean.

Nothing is downloaded. A layout is the set's own; where it labels less than our categories,
what it does not label stays unknown. Sets of harmful requests alone say yes to `any` and
nothing else, so they show what is caught and not what is flagged by mistake.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

from classifiers.types import Source
from gateway.evaluation.formats import Record, records
from gateway.evaluation.labelled import text_in, truth
from gateway.evaluation.types import ANY, EvaluationError, LabelledSet, Row

Reader = Callable[[Record, str], Iterator[Row]]

_MODERATION = {
    "S": "sexual",
    "H": "hate",
    "V": "violence",
    "HR": "harassment",
    "SH": "self-harm",
    "S3": "sexual/minors",
    "H2": "hate/threatening",
    "V2": "violence/graphic",
}
_HARMBENCH = {"chemical_biological": "bio", "cybercrime_intrusion": "cyber", "illegal": "illicit"}
_BEAVERTAILS = {"self_harm": "self-harm", "sexually_explicit,adult_content": "sexual"}


@dataclass(frozen=True, slots=True)
class Layout:
    """A public set.

    Attributes:
        file: The file it is read from, as its authors name it.
        says: What its labels are, in one line.
        read: Turns one record into rows.
    """

    file: str
    says: str
    read: Reader


def public_set(name: str, path: Path) -> LabelledSet:
    """Return the built-in set `name`, read from `path`.

    Raises:
        EvaluationError: If there is no such set.
    """
    if name not in LAYOUTS:
        near = get_close_matches(name, LAYOUTS, n=1)
        hint = f"did you mean `{near[0]}`?" if near else "see `ostiary eval sets`"
        raise EvaluationError(f"there is no built-in set `{name}`; {hint}")

    def rows() -> Iterator[Row]:
        for line, record in records(path):
            for row in LAYOUTS[name].read(record, f"{path}:{line}"):
                yield Row(row.text, row.labels, row.source, row.prompt, row.kind, line)

    return LabelledSet(name, path, rows)


def _harmful(column: str, *kinds: str, harmful: bool = True) -> Reader:
    """Read a set of requests that are all harmful, or all safe."""

    def read(record: Record, where: str) -> Iterator[Row]:
        yield Row(text_in(record, column, where), {ANY: harmful}, kind=_first(record, *kinds))

    return read


def _injection(record: Record, where: str) -> Iterator[Row]:
    labels = _known(record, {"label": "prompt_injection"}, where)
    yield Row(text_in(record, "text", where), labels)


def _moderation(record: Record, where: str) -> Iterator[Row]:
    labels = _known(record, _MODERATION, where)
    # As in every published figure on this set, what was not labelled counts as no for `any`.
    yield Row(text_in(record, "prompt", where), {ANY: any(labels.values()), **labels})


def _xstest(record: Record, where: str) -> Iterator[Row]:
    kind = text_in(record, "type", where)
    label = truth(record.get("label"), where, "label")
    harmful = kind.startswith("contrast_") if label is None else label
    yield Row(text_in(record, "prompt", where), {ANY: harmful}, kind=kind)


def _harmbench(record: Record, where: str) -> Iterator[Row]:
    kind = _first(record, "SemanticCategory")
    context = str(record.get("ContextString") or "")
    behavior = text_in(record, "Behavior", where)
    labels = {ANY: True} if kind != "copyright" else {}  # a breach, but no harm of ours
    if kind in _HARMBENCH:
        labels[_HARMBENCH[kind]] = True
    yield Row(f"{context}\n\n{behavior}" if context else behavior, labels, kind=kind)


def _toxicchat(record: Record, where: str) -> Iterator[Row]:
    labels = _known(record, {"toxicity": ANY, "jailbreaking": "prompt_injection"}, where)
    yield Row(text_in(record, "user_input", where), labels)


def _hatecheck(record: Record, where: str) -> Iterator[Row]:
    gold = text_in(record, "label_gold", where)
    if gold not in {"hateful", "non-hateful"}:
        raise EvaluationError(f"{where}: `label_gold` must be `hateful` or `non-hateful`")
    # Its counter-examples include abuse of people who are no protected group.
    labels = {"hate": True, ANY: True} if gold == "hateful" else {"hate": False}
    yield Row(text_in(record, "test_case", where), labels, kind=_first(record, "functionality"))


def _wildguard(record: Record, where: str) -> Iterator[Row]:
    prompt = text_in(record, "prompt", where)
    kind = _first(record, "subcategory")
    asked = truth(record.get("prompt_harm_label"), where, "prompt_harm_label")
    if asked is not None:
        yield Row(prompt, {ANY: asked}, kind=kind)
    said = truth(record.get("response_harm_label"), where, "response_harm_label")
    if record.get("response") and said is not None:
        yield Row(str(record["response"]), {ANY: said}, Source.FINAL, prompt, kind)


def _beavertails(record: Record, where: str) -> Iterator[Row]:
    categories = record.get("category") or {}
    if not isinstance(categories, dict):
        raise EvaluationError(f"{where}: `category` must be an object")
    safe = truth(record.get("is_safe"), where, "is_safe")
    labels = {} if safe is None else {ANY: not safe}
    for theirs, ours in _BEAVERTAILS.items():
        if theirs in categories:
            labels[ours] = bool(categories[theirs])
    kind = next((name for name, holds in categories.items() if holds), "")
    prompt = text_in(record, "prompt", where)
    yield Row(text_in(record, "response", where), labels, Source.FINAL, prompt, kind)


def _aegis(record: Record, where: str) -> Iterator[Row]:
    prompt = text_in(record, "prompt", where)
    kind = _first(record, "violated_categories").partition(",")[0]
    asked = truth(record.get("prompt_label"), where, "prompt_label")
    if asked is not None and prompt != "REDACTED":
        yield Row(prompt, {ANY: asked}, kind=kind)
    said = truth(record.get("response_label"), where, "response_label")
    if record.get("response") and said is not None:
        yield Row(str(record["response"]), {ANY: said}, Source.FINAL, prompt, kind)


def _agentdojo(record: Record, where: str) -> Iterator[Row]:
    """Read one run log: each tool's output, injected if it holds one of the injections."""
    messages, injections = record.get("messages"), record.get("injections") or {}
    if not isinstance(messages, list) or not isinstance(injections, dict):
        raise EvaluationError(f"{where}: not a run log: it needs `messages` and `injections`")
    planted = [bare for text in injections.values() if (bare := _bare(str(text)))]
    for message in messages:
        if isinstance(message, dict) and message.get("role") == "tool":
            text = _content(message.get("content"))
            injected = any(bare in _bare(text) for bare in planted)
            kind = _first(record, "attack_type") if injected else _first(record, "suite_name")
            if text:
                yield Row(text, {"prompt_injection": injected}, Source.TOOL, kind=kind)


def _bare(text: str) -> str:
    """Return the letters and digits: a tool's output wraps and quotes what it carries."""
    return re.sub(r"\W+", "", text)


def _content(content: object) -> str:
    if isinstance(content, list):
        parts = [part for part in content if isinstance(part, dict)]
        return "\n".join(str(part.get("content", part.get("text", ""))) for part in parts)
    return content if isinstance(content, str) else ""


def _known(record: Record, columns: dict[str, str], where: str) -> dict[str, bool]:
    if not columns.keys() & record.keys():
        raise EvaluationError(f"{where}: there is no column `{next(iter(columns))}`")
    cells = {ours: truth(record.get(theirs), where, theirs) for theirs, ours in columns.items()}
    return {name: cell for name, cell in cells.items() if cell is not None}


def _first(record: Record, *columns: str) -> str:
    return next((str(record[name]) for name in columns if record.get(name)), "")


LAYOUTS: dict[str, Layout] = {
    "advbench": Layout("harmful_behaviors.csv", "all harmful", _harmful("goal")),
    "aegis": Layout("test.json", "prompts and replies, safe or unsafe", _aegis),
    "agentdojo": Layout(
        "runs.jsonl, one run log a line", "tool outputs, injected or not", _agentdojo
    ),
    "beavertails": Layout("test.jsonl.gz", "replies, safe or in 14 categories", _beavertails),
    "deepset-prompt-injections": Layout("test-*.parquet or CSV", "prompt injections", _injection),
    "harmbench": Layout("harmbench_behaviors_text_all.csv", "all harmful, by kind", _harmbench),
    "hatecheck": Layout("test_suite_cases.csv", "hateful or not, by functionality", _hatecheck),
    "jailbreakbench": Layout(
        "harmful-behaviors.csv", "all harmful, by category", _harmful("Goal", "Category")
    ),
    "jailbreakbench-benign": Layout(
        "benign-behaviors.csv", "all safe", _harmful("Goal", "Category", harmful=False)
    ),
    "openai-moderation": Layout(
        "samples-1680.jsonl.gz", "eight moderation categories", _moderation
    ),
    "or-bench": Layout(
        "or-bench-80k.csv or or-bench-hard-1k.csv",
        "all safe, though they may not look it",
        _harmful("prompt", "category", harmful=False),
    ),
    "or-bench-toxic": Layout("or-bench-toxic.csv", "all harmful", _harmful("prompt", "category")),
    "simplesafetytests": Layout(
        "SimpleSafetyTests - test cases.csv",
        "all harmful",
        _harmful("prompt", "harm_area", "category"),
    ),
    "strongreject": Layout(
        "strongreject_dataset.csv", "all harmful, by kind", _harmful("forbidden_prompt", "category")
    ),
    "toxicchat": Layout(
        "toxic-chat_annotation_test.csv", "toxic or not, jailbreak or not", _toxicchat
    ),
    "wildguardmix": Layout(
        "wildguard_test.parquet", "prompts and replies, harmful or not", _wildguard
    ),
    "xstest": Layout(
        "xstest_prompts.csv", "safe look-alikes and their contrasts, by type", _xstest
    ),
}
