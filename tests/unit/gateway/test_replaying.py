import json
from datetime import UTC, datetime

from gateway.policy_replay import replay
from gateway.replaying import CLIPPED, NOBODY, NOT_RECORDED, Replay, Tally
from gateway.store.recorded import Wanted
from policies.load import parse_policy
from policies.replay import Replayer

POLICY = """
apiVersion: ostiary/v1
kind: Policy
metadata: {id: new, version: 2.0.0, owner: a@acme.example}
categories: {weapons: {}}
rules:
  - {id: r1, category: weapons, stages: [input], bands: [{gte: 0.5, actions: [block]}]}
exceptions:
  - {id: EX-1, rule: r1, action: allow, from: 2026-11-01, until: 2026-11-02, reason: why,
     approved_by: [a, b]}
"""

PANEL = {
    "id": "11111111-0000-7000-8000-000000000000",
    "type": "panel.recorded",
    "panel": {"classifiers": [{"id": "encoder@1", "categories": ["weapons"]}], "judges": []},
}


def request(at):
    """A request's id: a UUIDv7 of that moment."""
    return f"req_{int(at.timestamp() * 1000):012x}7" + "0" * 19


def entry(score=0.0, action="allow", rules=(), at=datetime(2026, 11, 26, tzinfo=UTC), **changes):
    said = [{"classifier": "encoder@1", "categories": ["weapons"], "asked": False}]
    return {
        "type": "decision.recorded",
        "recorded_at": "2026-11-26T00:00:00.000000Z",
        "request": {"id": request(at), "endpoint": "responses", "stream": False},
        "actor": {"project": "shop", "safety_identifier": "0123"},
        "policy": {"id": "old", "version": "1.0.0"},
        "decision": {"id": "dec_1", "stage": "input", "action": action},
        "determining_rules": list(rules),
        "panel": PANEL["id"],
        "passages": 1,
        "verdicts": [{**said[0], "scores": [[score]]}],
        "circumstances": {"model": "m"},
    } | changes


def replayed(*entries, panels=(PANEL,)):
    replay = Replay(Replayer(parse_policy(POLICY.encode()).policy))
    replay.feed(json.dumps(each).encode() for each in (*panels, *entries))
    known = {each["id"]: json.dumps(each).encode() for each in panels}
    for panel in tuple(replay.waiting):
        replay.learn(panel, known.get(panel))
    return replay.tally


def test_what_would_have_been_decided_otherwise_is_a_flip():
    tally = replayed(entry(0.6), entry(0.1, "block", ["r9"]), entry(0.6, "block", ["r1"]), entry())

    assert tally.replayed == 4
    assert tally.transitions == {("allow", "block"): 1, ("block", "allow"): 1}
    assert tally.by_rule == {("r1", "stricter"): 1, ("r9", "looser"): 1}
    assert (tally.flipped(), tally.flipped("stricter"), tally.flipped("looser")) == (2, 1, 1)


def test_the_same_action_by_another_rule_is_no_flip():
    tally = replayed(entry(0.6, "block", ["r9"]))

    assert (tally.flipped(), tally.other_rules) == (0, 1)


def test_a_decision_whose_answers_are_not_in_the_log_is_passed_over_and_counted():
    old = {name: value for name, value in entry().items() if name not in ("verdicts", "panel")}
    clipped = entry(omitted={"verdicts": 1})
    tally = replayed(old, clipped, entry(panel="22222222-0000-7000-8000-000000000000"))

    assert tally.replayed == 0
    assert tally.passed_over == {NOT_RECORDED: 1, CLIPPED: 1, NOBODY: 1}


def test_an_exception_is_asked_about_the_moment_the_request_was_admitted():
    inside, outside = datetime(2026, 11, 1, 12, tzinfo=UTC), datetime(2026, 11, 2, tzinfo=UTC)

    tally = replayed(entry(0.6, at=inside), entry(0.6, at=outside))

    assert tally.transitions == {("allow", "block"): 1}


def test_what_several_processes_counted_is_added_up():
    one, other = replayed(entry(0.6)), replayed(entry(0.6), entry())
    whole = Tally()
    for part in (one, other):
        whole.add(part)

    assert (whole.replayed, whole.flipped(), len(whole.flips)) == (3, 2, 2)


def test_an_exported_file_gives_what_the_log_gives(tmp_path):
    policy, file = tmp_path / "policy.yaml", tmp_path / "log.jsonl"
    policy.write_text(POLICY)
    lines = [PANEL, *[entry(score / 10) for score in range(10)], {"type": "request.completed"}]
    file.write_text("".join(json.dumps({"seq": 1, **line}) + "\n" for line in lines))

    def counted(**wanted):
        return replay(str(policy), Wanted(**wanted), "unused", file)[1]

    assert (counted().replayed, counted().flipped()) == (10, 5)
    assert (counted(limit=3).replayed, counted(limit=3).flipped()) == (3, 3)
    assert counted(project="another").replayed == 0
    assert counted(until="2026-11-26").replayed == 0


def test_an_empty_file_holds_nothing(tmp_path):
    policy, file = tmp_path / "policy.yaml", tmp_path / "log.jsonl"
    policy.write_text(POLICY)
    file.write_text("")

    assert replay(str(policy), Wanted(), "unused", file)[1].replayed == 0


def test_several_processes_read_a_file_as_one_does(tmp_path, monkeypatch):
    policy, file = tmp_path / "policy.yaml", tmp_path / "log.jsonl"
    policy.write_text(POLICY)
    lines = [PANEL, *[entry(score % 10 / 10) for score in range(1000)]]
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    monkeypatch.setattr("gateway.policy_replay.WORTH", 300)
    monkeypatch.setattr("os.cpu_count", lambda: 3)

    tally = replay(str(policy), Wanted(), "unused", file)[1]

    assert (tally.replayed, tally.flipped()) == (1000, 500)
