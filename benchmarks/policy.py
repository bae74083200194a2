"""What a decision costs: `policies.apply` once an exchange, `policies.evaluate` at each stage.

    python -m benchmarks.policy [--calls 20000]

A policy of 200 rules is made up: a third for some only (projects, tiers, ages, models,
locales), a quarter under a condition, a fifth with a judge, one to three bands each, some
canaries and exceptions. It meets requests that differ in who asks, in how much text there is
and in what the classifiers say: in most nothing is found, in some something, and in one of
200 a classifier gives no answer, which every rule that relies on it then has to deal with.
The baseline stands beside it. One thread, and its processor time: what other processes take
from it on a shared machine is not the policy's; the clock's median stands in the last column.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from random import Random
from statistics import median, quantiles
from time import perf_counter_ns, thread_time_ns

from classifiers.types import Assessment, Passage, Span, Verdict
from policies.apply import apply
from policies.circumstances import AgeGroup, Circumstances
from policies.evaluate import evaluate
from policies.load import load_policy, parse_policy
from policies.testing import SOURCE_AT
from policies.types import Policy, Stage

NOW = datetime(2026, 11, 26, tzinfo=UTC)
RULES, CATEGORIES = 200, 60
CHANCE = Random(4)  # noqa: S311 - made up, not secret

SCOPES = (
    "{projects: [shop-*, red-team]}",
    "{tiers: [free]}",
    "{age_groups: [minor, unknown]}",
    "{models: ['*-20b'], endpoints: [responses]}",
    "{locales: [de, en]}",
    "{projects: [shop-1, shop-2, shop-3], tiers: [pro]}",
)
CONDITIONS = (
    "user.strikes < 3 || size(request.tools) > 0",
    "user.age_group != 'minor' && !('biology' in request.access)",
    "request.stream && stage == 'output'",
    "score >= 0.7 || user.strikes > 1",
    "scores['harm-1'] >= 0.2",
    "request.tools.exists(name, name.startsWith('pay'))",
)


def policy_text() -> str:
    """Return a policy of `RULES` rules, as a file."""
    rules = "\n".join(_rule(number) for number in range(RULES))
    exceptions = "\n".join(
        f"  - {{id: EX-{number}, rule: rule-{number * 17}, action: flag, from: 2026-11-01, "
        "until: 2026-12-01, scope: {projects: [red-team]}, reason: why, approved_by: [a, b]}"
        for number in range(10)
    )
    categories = ", ".join(f"harm-{number}: {{}}" for number in range(CATEGORIES))
    return (
        "apiVersion: ostiary/v1\nkind: Policy\n"
        "metadata: {id: large, version: 1.0.0, owner: ts@acme.example}\n"
        f"categories: {{{categories}}}\nrules:\n{rules}\nexceptions:\n{exceptions}\n"
    )


def _rule(number: int) -> str:
    bands = sorted(CHANCE.sample((0.3, 0.5, 0.7, 0.8, 0.9, 0.95), CHANCE.randint(1, 3)))
    actions = ("[flag]", "[review]", "[block, strike]")[-len(bands) :]
    stages = CHANCE.sample([stage.value for stage in Stage], CHANCE.randint(2, 5))
    lines = [
        f"  - id: rule-{number}",
        f"    category: harm-{number % CATEGORIES}",
        f"    stages: [{', '.join(stages)}]",
        "    bands:",
        *(
            f"      - {{gte: {gte}, actions: {action}}}"
            for gte, action in zip(bands, actions, strict=True)
        ),
    ]
    if CHANCE.random() < 0.33:
        lines.append(f"    scope: {CHANCE.choice(SCOPES)}")
    if CHANCE.random() < 0.25:
        lines.append(f'    when: "{CHANCE.choice(CONDITIONS)}"')
    if CHANCE.random() < 0.2:
        lines.append("    classifiers: [encoder, judge]\n    escalate_at: 0.4")
    if CHANCE.random() < 0.05:
        lines.append("    mode: {canary: 10}")
    return "\n".join(lines)


def circumstances() -> Circumstances:
    """Return who asks."""
    return Circumstances(
        project=f"shop-{CHANCE.randint(1, 5)}" if CHANCE.random() < 0.8 else "red-team",
        tier=CHANCE.choice(["free", "pro"]),
        endpoint=CHANCE.choice(["responses", "chat"]),
        model=CHANCE.choice(["gpt-oss-20b", "gpt-oss-120b"]),
        stream=CHANCE.random() < 0.5,
        tools=tuple(CHANCE.sample(["pay", "search", "mail", "pay_back"], CHANCE.randint(0, 3))),
        age_group=CHANCE.choice(list(AgeGroup)),
        locale=CHANCE.choice(["", "de-AT", "en-US", "fr"]),
        end_user=f"{CHANCE.getrandbits(64):016x}",
        strikes=CHANCE.choice([0, 0, 0, 1, 4]),
    )


def assessment(policy: Policy, stage: Stage, *, finds: bool, down: bool) -> Assessment:
    """Return what the classifiers say of some passages: the encoder a low score in 13 categories.

    Args:
        policy: Whose categories are asked about.
        stage: Where the passages stand.
        finds: Whether one of them holds what patterns and, in doubt, a judge answer to.
        down: Whether the encoder gives no answer at all.
    """
    categories = sorted(policy.categories)
    passages = (Passage(SOURCE_AT[stage], "x" * 300),) * CHANCE.choice([1, 1, 1, 2, 4, 12])
    asked: set[tuple[int, str]] = set()
    verdicts = [_low(categories, down=down) for _ in passages]
    if finds:
        index = CHANCE.randrange(len(passages))
        for name in CHANCE.sample(categories, CHANCE.randint(1, 5)):
            score = round(CHANCE.uniform(0.3, 1), 4)
            verdicts[index].append(Verdict("patterns@5", name, score, (Span(3, 9, "email"),)))
            asked.add((index, name))
            if CHANCE.random() < 0.5:
                verdicts[index].append(Verdict("judge@1", name, round(CHANCE.random(), 4)))
    return Assessment(
        passages,
        tuple(map(tuple, verdicts)),
        (),
        dict.fromkeys(categories, frozenset({"encoder@3", "patterns@5"})),
        dict.fromkeys(categories, frozenset({"judge@1"})),
        {"judge@1": frozenset(asked)} if asked else {},
    )


def _low(categories: Sequence[str], *, down: bool) -> list[Verdict]:
    if down:
        return [Verdict("encoder@3", name, None, error="timeout") for name in categories]
    scores = [round(CHANCE.random() * 0.2, 4) for _ in range(13)]
    return [
        Verdict("encoder@3", name, score) for name, score in zip(categories, scores, strict=False)
    ]


def timed(calls: Sequence[Callable[[], object]]) -> str:
    """Run each call once, and return the figures: processor time, then the clock's median."""
    used, passed = [], []
    for call in calls:
        clock, started = perf_counter_ns(), thread_time_ns()
        call()
        used.append((thread_time_ns() - started) / 1000)
        passed.append((perf_counter_ns() - clock) / 1000)
    cuts = quantiles(used, n=1000)
    figures = (cuts[499], cuts[989], cuts[998], max(used), median(passed))
    return " ".join(f"{figure:>8.0f}" for figure in figures)


def measure(name: str, policy: Policy, calls: int) -> None:
    """Print what narrowing and deciding cost."""
    people = [circumstances() for _ in range(200)]
    narrowed = [apply(policy, who, NOW) for who in people]
    stages = [CHANCE.choice(list(Stage)) for _ in range(200)]

    def applying(who: int) -> Callable[[], object]:
        return lambda: apply(policy, people[who], NOW)

    def deciding(who: int, stage: Stage, said: Assessment) -> Callable[[], object]:
        return lambda: evaluate(narrowed[who], stage, said, people[who])

    mixed = []
    for kind, share in (("nothing found", 0.85), ("something found", 0.145), ("down", 0.005)):
        said = [
            assessment(policy, stage, finds=kind == "something found", down=kind == "down")
            for stage in stages
        ]
        made = [
            deciding(CHANCE.randrange(200), stages[what], said[what])
            for what in (CHANCE.randrange(200) for _ in range(calls))
        ]
        mixed += made[: round(calls * share)]
        label = "a classifier is down" if kind == "down" else kind
        print(f"{name:<20} {label:<22} {timed(made[: calls // 4])}")
    CHANCE.shuffle(mixed)
    print(f"{name:<20} {'85, 14.5 and 0.5 %':<22} {timed(mixed)}")
    narrowing = [applying(CHANCE.randrange(200)) for _ in range(calls // 4)]
    print(f"{name:<20} {'apply, once a request':<22} {timed(narrowing)}")


def main() -> None:
    """Measure both policies."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--calls", type=int, default=20_000)
    calls = parser.parse_args().calls
    print(f"{'microseconds':<43} {'p50':>8} {'p99':>8} {'p99.9':>8} {'max':>8} {'clock':>8}")
    large = parse_policy(policy_text().encode()).policy
    measure(f"{len(large.rules)} rules", large, calls)
    baseline = load_policy("baseline")
    measure(f"baseline, {len(baseline.rules)} rules", baseline, calls)


if __name__ == "__main__":
    main()
