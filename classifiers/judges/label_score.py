"""How sure a model was of the label it gave, as a score.

Where the engine tells log-probabilities, the score is the weight of the labels, weighted
by their probabilities at the token where the label began. Where it does not, a label
counts by two constants. Neither is calibrated: thresholds on a judge are chosen by
measuring it, not by reading the number as a probability.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import exp

from classifiers.judges.text_model import Answer, Token

# A label without a probability. Not 1 and 0: a judge errs, and a policy must be able to ask
# for more than its word; not nearer to the middle, because a threshold of 0.9 is usual.
SURE = 0.97
UNSURE = 0.03

# A probability a hair away from 0 or 1 is float noise, not knowledge.
_FLOOR, _CEILING = 0.001, 0.999


def label_score(answer: Answer, label: str, start: int, weights: Mapping[str, float]) -> float:
    """Return the score of an answer that holds `label` from `start`, in code points, on.

    Args:
        answer: What the model said.
        label: One of the keys of `weights`.
        start: Where in `answer.text` it begins.
        weights: What each label counts, in [0, 1]: 1 for harmful, 0 for harmless.
    """
    place = _place(answer, start)
    masses = _masses(*place, weights) if place else {}
    total = sum(masses.values())
    if label not in masses or total <= 0:
        return UNSURE + (SURE - UNSURE) * weights[label]
    score = sum(weights[each] * mass for each, mass in masses.items()) / total
    return min(_CEILING, max(_FLOOR, score))


def _place(answer: Answer, start: int) -> tuple[Token, int] | None:
    """Return the token that holds the code point `start` of the text, and where in it.

    The tokens may begin with the chain of thought and end with control tokens, so the text
    is looked for in them, from the end: what was said last is the answer.
    """
    spoken = "".join(token.text for token in answer.tokens)
    offset = spoken.rfind(answer.text) if answer.text else -1
    if offset < 0:
        return None
    place = offset + start
    for token in answer.tokens:
        if place < len(token.text):
            return token, place
        place -= len(token.text)
    return None


def _masses(token: Token, place: int, weights: Mapping[str, float]) -> dict[str, float]:
    """Return the probability of each label that some alternative begins, and no other.

    A token may hold a piece of what stands before the label, which its rivals must hold
    too: `: Un` and `: Sa`, but not `; Sa`.
    """
    before = token.text[:place].strip()
    masses: dict[str, float] = {}
    for text, logprob in token.alternatives:
        stripped = text.strip()
        if not stripped.startswith(before):
            continue
        begun = _begun(stripped[len(before) :].lstrip(), weights)
        if len(begun) == 1:
            masses[begun[0]] = masses.get(begun[0], 0.0) + exp(logprob)
    return masses


def _begun(text: str, labels: Mapping[str, float]) -> Sequence[str]:
    if not text:
        return ()
    return [label for label in labels if label.startswith(text) or text.startswith(label)]
