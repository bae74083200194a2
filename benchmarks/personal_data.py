"""What it costs to look for personal data and secrets, by classifier and kind of text.

    python -m benchmarks.personal_data [--without-presidio]

Prints, for texts of about a thousand characters, the processor time that each classifier
takes for one of them: the median of many, in milliseconds, and as a multiple of what the
patterns take for the same text. Processor time, because it does not depend on what else
the machine does; on an idle machine the answer takes as long.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import json
import random
from statistics import median
from time import process_time

from classifiers.registry import build
from classifiers.types import Classifier, Passage, Source

LENGTH = 1_000  # characters
ROUNDS = 40

PROSE = (
    "The bread wants a warm place and a long rest. Fold it twice, cover it with a cloth and "
    "come back when it has doubled. A hot oven makes the crust, a little steam makes it thin. "
)
LETTER = (
    "Dear Ms Lovelace, thank you for your order. We write to ada.lovelace@example.org and call "
    "+44 20 7946 0018 if Charles Babbage is not at home in London. Your card 4111 1111 1111 1111 "
    "was charged; refunds go to GB82 WEST 1234 5698 7654 32 within five days. "
)
CODE = (
    "def read(path: Path, key: str = 'name') -> dict[str, int]:\n    with path.open() as file:\n"
    "        rows = [line.split(',') for line in file]\n    return {row[0]: int(row[1]) for row in "
    "rows if row[0] != key and len(row) > 2}\n\n"
)


def texts() -> dict[str, str]:
    """Return one text of each kind, `LENGTH` characters long."""
    rng = random.Random(0)  # noqa: S311 - reproducible, not secret
    rows = [
        {"id": number, "order_id": str(10**15 + number), "at": "2024-11-24T10:15:30Z", "ok": True}
        for number in range(LENGTH)
    ]
    kinds = {
        "prose": PROSE * LENGTH,
        "letter": LETTER * LENGTH,
        "code": CODE * LENGTH,
        "json": json.dumps(rows),
        "base64": base64.b64encode(rng.randbytes(LENGTH)).decode(),
        "digits": "".join(rng.choice("0123456789") for _ in range(LENGTH)),
    }
    return {kind: text[:LENGTH] for kind, text in kinds.items()}


async def spent(classifier: Classifier, text: str) -> float:
    """Return the milliseconds of processor time for one text: the median of `ROUNDS`."""
    taken: list[float] = []
    for number in range(ROUNDS):
        passage = Passage(Source.USER, f"{number} {text}")
        started = process_time()
        await classifier.classify([passage])
        taken.append((process_time() - started) * 1000)
    return median(taken)


async def measure(names: list[str]) -> None:
    """Print every figure."""
    classifiers = []
    for name in names:
        started = process_time()
        classifiers += build([name])
        print(f"{name:10s} loaded in {process_time() - started:.2f} s of processor time")
    print(f"\nmilliseconds for {LENGTH} characters, and as a multiple of the first")
    print(f"{'':10s}" + "".join(f"{name:>18s}" for name in names))
    for kind, text in texts().items():
        row = [await spent(classifier, text) for classifier in classifiers]
        cells = "".join(f"{each:9.2f} {each / row[0]:7.1f} x" for each in row)
        print(f"{kind:10s}{cells}")


def main() -> None:
    """Measure, as the command line says."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--without-presidio", action="store_true")
    asked = parser.parse_args()
    names = ["patterns", "secrets"] + ([] if asked.without_presidio else ["presidio"])
    asyncio.run(measure(names))


if __name__ == "__main__":
    main()
