"""The classifiers by name, for whoever assembles a panel."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from difflib import get_close_matches
from functools import cache
from pathlib import Path

from classifiers.patterns import Patterns, read_patterns
from classifiers.reasoning import Monitor
from classifiers.types import Classifier


def _carried() -> Classifier:
    from classifiers.carried import Carried

    return Carried()


def _encoder() -> Classifier:
    from classifiers.encoder import Encoder  # imports onnxruntime: only where it is needed

    return Encoder()


def _monitor() -> Classifier:
    return Monitor(_encoder())


def _presidio() -> Classifier:
    from classifiers.presidio import Presidio  # imports presidio and spaCy: seconds

    return Presidio()


def _secrets() -> Classifier:
    from classifiers.secrets import Secrets  # imports detect-secrets

    return Secrets()


# A plain dict: adding a classifier is adding a line. Names carry no version.
CLASSIFIERS: dict[str, Callable[[], Classifier]] = {
    "carried": _carried,
    "encoder": _encoder,
    "monitor": _monitor,
    "patterns": Patterns,
    "presidio": _presidio,
    "secrets": _secrets,
}


class UnknownClassifier(ValueError):
    """No classifier of this name is registered."""


def build(names: Iterable[str]) -> list[Classifier]:
    """Build the named classifiers, in order; loading weights may take seconds.

    Args:
        names: Registered names, and pattern files of one's own, which end in `.toml`.

    Raises:
        UnknownClassifier: If a name is not registered; nothing is built then.
        ValueError: If a pattern file cannot be used, or has the name of another classifier.
    """
    wanted = list(names)
    for name in wanted:
        if name not in CLASSIFIERS and not _own(name):
            near = get_close_matches(name, CLASSIFIERS, n=1)
            known = ", ".join(f"`{each}`" for each in sorted(CLASSIFIERS))
            hint = f"did you mean `{near[0]}`?" if near else f"known are {known}"
            raise UnknownClassifier(f"unknown classifier `{name[:80]}`; {hint}")
        if _own(name) and [Path(each).stem for each in wanted].count(Path(name).stem) > 1:
            raise ValueError(f"two classifiers would be called `{Path(name).stem}`")
    encoder = cache(_encoder)  # one for both, so that what both read is read once
    made = CLASSIFIERS | {"encoder": encoder, "monitor": lambda: Monitor(encoder())}
    return [read_patterns(Path(name)) if _own(name) else made[name]() for name in wanted]


def _own(name: str) -> bool:
    return name.endswith(".toml")
