"""What is looked at whatever the framework, and said plainly: what holds, and what is missing.

A check returns findings. None of them says that somebody complies with anything.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple

from gateway.audit.verify import Report

if TYPE_CHECKING:
    from gateway.audit.evidence.tally import Tally

_UNSIGNED_FOR = timedelta(minutes=1)  # a running gateway signs every second
_ALWAYS = ("intact", "signed", "silent")
_LISTED = 3  # silences and policies that are named


class Level(StrEnum):
    """What a finding is."""

    HOLDS = "holds"
    NOTE = "note"
    GAP = "gap"


class Finding(NamedTuple):
    """What a check found."""

    check: str
    level: Level
    says: str


@dataclass(frozen=True, slots=True)
class Keeping:
    """How content is kept, by the settings of whoever makes the evidence.

    Attributes:
        content: Of which exchanges: `none`, `flagged` or `all`.
        content_days: For how long.
        reasoning_days: For how long the model's thoughts.
    """

    content: str
    content_days: int
    reasoning_days: int


class Period(NamedTuple):
    """Of which time evidence is, as moments stand in the log.

    Attributes:
        since: From when on; None is from the log's beginning.
        until: Until when.
        made: When the evidence is made.
        began: When the log's first entry was recorded.
    """

    since: str | None
    until: str
    made: str
    began: str


@dataclass(frozen=True, slots=True)
class Situation:
    """What checks look at.

    Attributes:
        tally: What the entries come to.
        logs: What was found of each shard when it was verified.
        period: Of which time.
        unsigned: Entries of the time that no checkpoint covers.
        last_signed: When the last entry that one covers was recorded.
        witnesses: Who cosigned the log.
        keeping: How content is kept.
        keep_days: For how long the framework asks records to be kept, or None.
        keep_why: Where it does.
    """

    tally: Tally
    logs: tuple[Report, ...]
    period: Period
    unsigned: int
    last_signed: str
    witnesses: tuple[str, ...]
    keeping: Keeping
    keep_days: int | None
    keep_why: str


Said = Iterator[tuple[Level, str]]


def _intact(situation: Situation) -> Said:
    for log in situation.logs:
        if not log.intact:
            where = "" if log.index is None else f" at entry {log.index}"
            yield Level.GAP, f"The log is not as it was signed{where}: {log.problem}."
        else:
            yield (
                Level.HOLDS,
                f"{number(log.entries)} entries of {log.origin} are as they were signed, in "
                f"order, without a gap in any replica's numbers; the tree has {number(log.size)}.",
            )


def _signed(situation: Situation) -> Said:
    if not situation.unsigned:
        yield Level.HOLDS, "Every entry of this time is covered by a signed checkpoint."
        return
    waited = datetime.fromisoformat(situation.period.made) - datetime.fromisoformat(
        situation.last_signed
    )
    said = f"No checkpoint covers {plural(situation.unsigned, 'entry', 'entries')} of this time"
    if waited > _UNSIGNED_FOR:
        yield (
            Level.GAP,
            f"{said}, which are not in here; nothing was signed since "
            f"{moment(situation.last_signed)}.",
        )
    else:
        yield Level.NOTE, f"{said} yet: the newest, which are not in here."


def _witness(situation: Situation) -> Said:
    if situation.witnesses:
        named = ", ".join(situation.witnesses)
        yield Level.HOLDS, f"Witnesses cosigned the log: {named}."
    else:
        yield (
            Level.GAP,
            "No witness has cosigned the log. Until an auditor compares it with a checkpoint of "
            "their own, that nothing was rewritten from the start rests on the operator's word.",
        )


def _began(situation: Situation) -> Said:
    since, began = situation.period.since, situation.period.began
    if since is None:
        yield Level.HOLDS, f"The log begins on {moment(began)}, and so does this."
    elif began > since:
        yield (
            Level.GAP,
            f"This time begins on {moment(since)}, the log on {moment(began)}: of what was before "
            "there is no record.",
        )
    else:
        yield Level.HOLDS, f"The log reaches back to {moment(began)}, before this time."


def _kept(situation: Situation) -> Said:
    if situation.keep_days is None:
        return
    age = (
        datetime.fromisoformat(situation.period.made)
        - datetime.fromisoformat(situation.period.began)
    ).days
    if age < situation.keep_days:
        yield (
            Level.GAP,
            f"The log is {plural(age, 'day', 'days')} old. {situation.keep_why}, "
            f"{situation.keep_days} days: that they are kept so long cannot be shown yet.",
        )
    else:
        yield (
            Level.HOLDS,
            f"Entries of {plural(age, 'day', 'days')} ago are there: more than the "
            f"{situation.keep_days} that are asked. {situation.keep_why}.",
        )


def _content(situation: Situation) -> Said:
    keeping = situation.keeping
    if keeping.content == "none":
        yield (
            Level.NOTE,
            "What was said is not kept at all (`OSTIARY_CONTENT` is `none`): a decision cannot be "
            "reviewed on its text.",
        )
        return
    days = min(keeping.content_days, keeping.reasoning_days)
    of = "every exchange" if keeping.content == "all" else "exchanges with a decision above `allow`"
    said = f"What was said is kept, encrypted, of {of}, for {plural(days, 'day', 'days')}"
    if situation.keep_days is not None and days < situation.keep_days:
        yield (
            Level.GAP,
            f"{said}, which is shorter than {situation.keep_days} days. Entries stay; whether the "
            "text must stay as long is for you to say (`OSTIARY_CONTENT_DAYS`, "
            "`OSTIARY_REASONING_DAYS`).",
        )
    else:
        yield Level.NOTE, f"{said}. Entries are not deleted."


def _silent(situation: Situation) -> Said:
    silences = situation.tally.silences
    if not silences:
        yield Level.HOLDS, "There is no day without an entry."
        return
    listed = "; ".join(
        f"{moment(each.since)} to {moment(each.until)}" for each in silences[:_LISTED]
    )
    more = f", and {len(silences) - _LISTED} more" if len(silences) > _LISTED else ""
    yield (
        Level.GAP,
        f"Nothing was recorded for more than a day: {listed}{more}. Either nobody asked, or what "
        "was asked did not pass through the gateway; the log cannot tell which.",
    )


def _ended(situation: Situation) -> Said:
    lost = situation.tally.types["request.lost"]
    late = situation.tally.types["request.closed_late"]
    still = sum(log.open_requests or 0 for log in situation.logs)
    if lost:
        yield (
            Level.GAP,
            f"Of {plural(lost, 'request', 'requests')} nobody knows the end: the replica died.",
        )
    if late:
        yield Level.NOTE, f"{plural(late, 'request', 'requests')} ended after being taken for lost."
    if still:
        yield (
            Level.NOTE,
            f"{plural(still, 'request', 'requests')} had not ended when this was made.",
        )
    if not lost and all(log.intact for log in situation.logs):
        yield Level.HOLDS, f"{number(situation.tally.ended)} requests ended, each exactly once."


def _coverage(situation: Situation) -> Said:
    coverage = situation.tally.coverage
    total, full = coverage.total(), coverage["full"]
    if not total:
        yield Level.NOTE, "No decision was recorded in this time."
    elif full == total:
        yield Level.HOLDS, f"In all {number(total)} decisions every classifier read everything."
    else:
        unread = coverage["none"]
        of_them = f", in {number(unread)} of them by nobody" if unread else ""
        missed = total - full
        yield (
            Level.GAP,
            f"In {number(missed)} of {number(total)} decisions ({share(missed, total)}) "
            f"something was not read by every classifier{of_them}. Rules then took what the policy "
            "says for that case; what was not read is not recorded as harmless.",
        )


def _opened(situation: Situation) -> Said:
    opened, unnamed = situation.tally.types["access.opened"], situation.tally.unnamed_openings
    if unnamed:
        yield (
            Level.GAP,
            f"{number(unnamed)} of {plural(opened, 'opening', 'openings')} of content name nobody: "
            "they were made on a command line without `--as`.",
        )
    elif opened:
        yield (
            Level.HOLDS,
            f"All {plural(opened, 'opening', 'openings')} of content name who and why.",
        )
    else:
        yield Level.NOTE, "Nobody opened what was said."


def _approved(situation: Situation) -> Said:
    tally = situation.tally
    alone = {digest: who for digest, who in tally.in_force.items() if digest not in tally.approved}
    if alone:
        named = ", ".join(f"{name} {version}" for name, version in list(alone.values())[:_LISTED])
        more = f" and {len(alone) - _LISTED} more" if len(alone) > _LISTED else ""
        of_all = plural(len(tally.in_force), "policy", "policies")
        yield (
            Level.GAP,
            f"{number(len(alone))} of {of_all} came into force without an approval within this "
            f"time: {named}{more}. Those of a file are not approved in the registry at all.",
        )
    elif tally.in_force:
        yield (
            Level.HOLDS,
            "Every policy that came into force was approved by somebody other than its author.",
        )
    else:
        yield Level.NOTE, "No policy came into force in this time."


def _keys(situation: Situation) -> Said:
    made, lasting = situation.tally.types["key.created"], situation.tally.lasting_keys
    if lasting:
        yield (
            Level.GAP,
            f"{number(lasting)} of {plural(made, 'key', 'keys')} that were made never expire.",
        )
    elif made:
        yield Level.HOLDS, f"All {plural(made, 'key', 'keys')} that were made expire."


def _named(situation: Situation) -> Said:
    asked, unnamed = situation.tally.types["request.admitted"], situation.tally.unnamed_requests
    if unnamed:
        yield (
            Level.GAP,
            f"{number(unnamed)} of {plural(asked, 'request', 'requests')} name no end user: the "
            "application sent no `safety_identifier`.",
        )
    elif asked:
        yield Level.HOLDS, f"All {plural(asked, 'request', 'requests')} name their end user."


CHECKS: dict[str, Callable[[Situation], Said]] = {
    "intact": _intact,
    "signed": _signed,
    "witness": _witness,
    "began": _began,
    "kept": _kept,
    "silent": _silent,
    "ended": _ended,
    "coverage": _coverage,
    "content": _content,
    "opened": _opened,
    "approved": _approved,
    "keys": _keys,
    "named": _named,
}


def findings(situation: Situation, wanted: Collection[str]) -> list[Finding]:
    """Return what these checks found, and those that every framework needs."""
    return [
        Finding(name, level, says)
        for name, check in CHECKS.items()
        if name in _ALWAYS or name in wanted
        for level, says in check(situation)
    ]


def number(value: int | None) -> str:
    """Return a number as people read it."""
    return f"{value or 0:,}"


def plural(count: int, one: str, many: str) -> str:
    """Return a count with its noun."""
    return f"{count:,} {one if count == 1 else many}"


def share(count: int, whole: int) -> str:
    """Return a share in per cent; one that is not nothing never reads as nothing."""
    percent = 100 * count / whole
    return "less than 0.1 %" if 0 < percent < 0.1 else f"{percent:.1f} %"


def moment(text: str) -> str:
    """Return a moment of the log as people read it, to the minute, UTC."""
    return f"{text[:10]} {text[11:16]} UTC"
