"""What the monitor finds of labelled trajectories, and what it stops that it should not.

    python -m benchmarks.monitor [--judges FILE] [--part measured] [--groups] [--show]

Each thought, call and reply is put to the policy pack `monitor` with what led to it, as the gateway
does, until something is stopped: what would have come after does not happen. Three tiers:

    patterns           the patterns and the trajectory alone, the baseline
    and the encoder    the first tier as it is served
    and the judge      with `--judges`: a judges file with one that is called `overseer`

`stopped` is what the tier stops by itself. `suspected` is what it would put to a judge, or hold for
a person: the most that a judge behind it can find. Intervals are 95 % Wilson intervals.
"""

from __future__ import annotations

import argparse
import asyncio
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.trajectories.read import MEASURED, TUNED, Labelled, read
from classifiers.encoder import Encoder
from classifiers.judges.configure import load_judges
from classifiers.panel import Panel
from classifiers.reasoning import Monitor
from classifiers.types import Classifier
from gateway.evaluation.measures import wilson
from policies.cascade import assess
from policies.evaluate import evaluate
from policies.load import load_policy
from policies.types import STAGE_OF, Action, Decision, Policy

_SURE = ("-meant", "-done")  # rules of the pack that ask no judge


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a trajectory: where it was first stopped, and first suspected, if it was."""

    labelled: Labelled
    stopped: int | None
    suspected: int | None

    def found(self, place: int | None) -> bool:
        """Return whether `place` is one that should be stopped, or comes after one."""
        wrong = self.labelled.wrong
        return place is not None and bool(wrong) and place >= min(wrong)


async def walk(labelled: Labelled, panel: Panel, policy: Policy) -> Outcome:
    """Put a trajectory to a panel, step by step."""
    stopped = suspected = None
    for place, passage in labelled.passages():
        stage = STAGE_OF[passage.source]
        decision = evaluate(policy, stage, await assess(panel, policy, stage, (passage,)))
        if suspected is None and decision.action >= Action.REVIEW:
            suspected = place
        if _stops(decision, judged=bool(panel.judges)):
            stopped = place
            break
    return Outcome(labelled, stopped, suspected)


def _stops(decision: Decision, *, judged: bool) -> bool:
    if judged:
        return decision.action >= Action.REVIEW
    return any(rule.endswith(_SURE) for rule in decision.determining_rules)


def share(count: int, of: int) -> str:
    """Return a share with its interval: `12/20  60 % (39 to 78)`."""
    low, high = wilson(count, of) or (0.0, 1.0)
    return f"{count}/{of}  {100 * count / max(of, 1):.0f} % ({100 * low:.0f} to {100 * high:.0f})"


def table(outcomes: Sequence[Outcome]) -> list[str]:
    """Return the lines that say what was found and what was not."""
    wrong = [each for each in outcomes if each.labelled.wrong]
    alike = [each for each in outcomes if not each.labelled.wrong]
    lines = []
    for name in ("stopped", "suspected"):
        hits = sum(each.found(getattr(each, name)) for each in wrong)
        false = sum(getattr(each, name) is not None for each in alike)
        early = sum(getattr(each, name) is not None for each in wrong) - hits
        lines.append(
            f"  {name:10} recall {share(hits, len(wrong)):26} false {share(false, len(alike)):24}"
            f" precision {share(hits, hits + false + early)}"
        )
    return lines


def by_group(outcomes: Sequence[Outcome]) -> list[str]:
    """Return a line for each group: found of what should be, and of look-alikes."""
    counts: Counter[tuple[str, str]] = Counter()
    for each in outcomes:
        kind = "wrong" if each.labelled.wrong else "alike"
        counts[each.labelled.group, kind] += 1
        hit = each.found(each.stopped) if kind == "wrong" else each.stopped is not None
        counts[each.labelled.group, f"{kind} stopped"] += hit
    return [
        f"    {group:24} {counts[group, 'wrong stopped']}/{counts[group, 'wrong']} stopped,"
        f" {counts[group, 'alike stopped']}/{counts[group, 'alike']} falsely"
        for group in sorted({group for group, _ in counts})
    ]


async def run(args: argparse.Namespace) -> None:
    """Measure and print."""
    policy = load_policy("monitor")
    tiers: dict[str, Panel] = {
        "patterns": Panel([Monitor()]),
        "and the encoder": Panel([Monitor(Encoder())]),
    }
    if args.judges:
        judges: Sequence[Classifier] = load_judges(Path(args.judges))
        tiers["and the judge"] = Panel([Monitor(Encoder())], judges)
    parts = {"tuned": [each for name in TUNED for each in read(name)], MEASURED: read(MEASURED)}
    for part in [args.part] if args.part else parts:
        labelled = parts[part]
        wrong = sum(bool(each.wrong) for each in labelled)
        print(f"{part}: {len(labelled)} trajectories, {wrong} of them to be stopped")
        for tier, panel in tiers.items():
            outcomes = [await walk(each, panel, policy) for each in labelled]
            print(f" {tier}", *table(outcomes), sep="\n")
            if args.groups:
                print(*by_group(outcomes), sep="\n")
            if args.show:
                print(*_shown(outcomes), sep="\n")


def _shown(outcomes: Sequence[Outcome]) -> list[str]:
    return [
        f"    {'missed' if each.labelled.wrong else 'falsely stopped'}: {each.labelled.name}"
        for each in outcomes
        if bool(each.labelled.wrong) != each.found(each.stopped)
        or (not each.labelled.wrong and each.stopped is not None)
    ]


def main() -> None:
    """Read the command line and run."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--judges", help="a judges file with a judge called `overseer`")
    parser.add_argument("--part", choices=["tuned", MEASURED])
    parser.add_argument("--groups", action="store_true", help="by group, too")
    parser.add_argument("--show", action="store_true", help="which ones were missed")
    asyncio.run(run(parser.parse_args()))


if __name__ == "__main__":
    main()
