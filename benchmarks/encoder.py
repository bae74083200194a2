"""How long the embedded encoder takes, alone and under load.

    python -m benchmarks.encoder [--threads N]

Prints, for texts of several lengths, the median and the 99th percentile of one text at a
time on one thread; then how many short texts a second are answered when many callers ask
at once on `--threads` threads; then what the cache saves. Texts differ from call to call,
so nothing but the last figure comes from the cache.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
from statistics import median, quantiles
from time import perf_counter

from classifiers.encoder import Encoder
from classifiers.types import Passage, Source

WORDS = (
    "the", "a", "my", "your", "please", "how", "what", "write", "explain", "bread", "city",
    "letter", "train", "garden", "music", "table", "short", "long", "kind", "simple", "before",
    "after", "with", "without", "about", "from", "into", "make", "find", "keep", "open",
)  # fmt: skip
ROUNDS = 200
LENGTHS = (8, 16, 32, 100, 400)  # words
SHORT = 16
CALLERS = 64
UNDER_LOAD = 3_000  # texts


def text(rng: random.Random, words: int) -> str:
    """Return so many words; that another call had them in this order is most unlikely."""
    return " ".join(rng.choice(WORDS) for _ in range(words))


async def alone(encoder: Encoder, rng: random.Random, words: int) -> list[float]:
    """Return the milliseconds of each of `ROUNDS` texts, one after the other."""
    spent: list[float] = []
    for _ in range(ROUNDS):
        passage = Passage(Source.USER, text(rng, words))
        started = perf_counter()
        await encoder.classify([passage])
        spent.append((perf_counter() - started) * 1000)
    return spent


async def under_load(encoder: Encoder, rng: random.Random) -> tuple[float, list[float]]:
    """Return texts a second and each text's milliseconds, with `CALLERS` at once."""
    left = [Passage(Source.USER, text(rng, SHORT)) for _ in range(UNDER_LOAD)]
    spent: list[float] = []

    async def caller() -> None:
        while left:
            passage = left.pop()
            started = perf_counter()
            await encoder.classify([passage])
            spent.append((perf_counter() - started) * 1000)

    started = perf_counter()
    await asyncio.gather(*(caller() for _ in range(CALLERS)))
    return UNDER_LOAD / (perf_counter() - started), spent


def _tail(spent: list[float]) -> str:
    return f"median {median(spent):6.2f} ms   p99 {quantiles(spent, n=100)[98]:6.2f} ms"


async def measure(threads: int) -> None:
    """Print every figure."""
    rng = random.Random(0)  # noqa: S311 - reproducible, not secret
    started = perf_counter()
    encoder = Encoder(threads=1)
    print(f"{encoder.name} {encoder.digest[:16]}, loaded in {perf_counter() - started:.2f} s")
    for words in LENGTHS:
        await alone(encoder, rng, words)  # warm
        print(f"one at a time, {words:4d} words   {_tail(await alone(encoder, rng, words))}")
    encoder = Encoder(threads=threads)
    rate, spent = await under_load(encoder, rng)
    print(
        f"{CALLERS} callers, {SHORT} words, {threads} threads   {rate:.0f} texts/s   {_tail(spent)}"
    )
    system = Passage(Source.SYSTEM, text(rng, 2_000))
    started = perf_counter()
    await encoder.classify([system])
    first = perf_counter() - started
    started = perf_counter()
    await encoder.classify([system])
    again = perf_counter() - started
    print(f"2,000 words of a system prompt   {first * 1000:.1f} ms, again {again * 1000:.3f} ms")


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.encoder")
    parser.add_argument("--threads", type=int, default=min(4, os.cpu_count() or 1))
    asyncio.run(measure(parser.parse_args().threads))


if __name__ == "__main__":
    main()
