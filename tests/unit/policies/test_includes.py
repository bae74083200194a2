import pytest

from policies.bundle import SourceFile
from policies.includes import in_range
from policies.resolve import Library, PolicyError, resolve
from policies.types import Action

HEAD = "apiVersion: ostiary/v1\nkind: Policy\n"


def source(name, text, version="1.0.0"):
    head = f"{HEAD}metadata: {{id: {name}, version: {version}, owner: ts@acme.example}}\n"
    return SourceFile(f"{name}-{version}.yaml", (head + text).encode())


def rule(name="r1", gte=0.8, actions="[block]", more=""):
    return (
        f"  - {{id: {name}, category: weapons, stages: [input], "
        f"bands: [{{gte: {gte}, actions: {actions}}}]{more}}}\n"
    )


CATEGORIES = "categories: {weapons: {}}\n"
EXCEPTION = (
    "exceptions:\n  - {{id: {id}, rule: {rule}, action: flag, from: 2026-01-01, "
    "until: 2027-01-01, reason: why, approved_by: [a, b]}}\n"
)


def base(text=None, name="base"):
    return source(name, CATEGORIES + "rules:\n" + (text or rule(more=", locked: true")))


def including(*names, text=""):
    return source("own", "includes:\n" + _includes(names) + text)


def _includes(names):
    return "".join(f'  - {{id: {name}, version: "^1.0"}}\n' for name in names)


def resolved(file, *others):
    return resolve(file, Library(others, pinned=False)).policy


def mistakes(file, *others):
    with pytest.raises(PolicyError) as caught:
        resolved(file, *others)
    return "\n".join(caught.value.lines())


@pytest.mark.parametrize(
    ("wanted", "inside", "outside"),
    [
        ("1.2.3", ["1.2.3"], ["1.2.4", "1.2.2"]),
        ("1.2", ["1.2.0", "1.2.99"], ["1.3.0", "1.1.9", "12.0.0"]),
        ("1", ["1.0.0", "1.99.0"], ["2.0.0", "0.1.0", "10.0.0"]),
        ("~1.2.3", ["1.2.3", "1.2.10"], ["1.2.2", "1.3.0"]),
        ("~1.2", ["1.2.0", "1.2.5"], ["1.3.0", "1.1.0"]),
        ("~1", ["1.0.0", "1.9.0"], ["2.0.0"]),
        ("^1.2.3", ["1.2.3", "1.10.0"], ["1.2.2", "2.0.0"]),
        ("^1", ["1.0.0", "1.5.5"], ["0.9.0", "2.0.0"]),
        ("^0.2.3", ["0.2.3", "0.2.9"], ["0.3.0", "0.2.2", "1.0.0"]),
        ("^0.0.3", ["0.0.3"], ["0.0.4", "0.0.2"]),
        ("^0.0", ["0.0.0", "0.0.7"], ["0.1.0"]),
        ("^0", ["0.0.0", "0.9.0"], ["1.0.0"]),
        ("latest", [], ["1.0.0"]),
        ("", [], ["0.0.0"]),
    ],
)
def test_a_range_takes_the_versions_that_it_says(wanted, inside, outside):
    assert [version for version in inside if not in_range(version, wanted)] == []
    assert [version for version in outside if in_range(version, wanted)] == []


def test_included_rules_come_first_and_hold_as_they_are():
    policy = resolved(including("base", text="rules:\n" + rule("r2")), base())

    assert [(each.id, each.origin) for each in policy.rules] == [("r1", "base"), ("r2", "own")]
    assert policy.rules[0].locked
    assert [each.id for each in policy.includes] == ["base"]


def test_an_own_rule_takes_the_place_of_the_included_one():
    policy = resolved(including("base", text="rules:\n" + rule(gte=0.9)), base(rule()))

    assert [(each.id, each.bands[0].gte) for each in policy.rules] == [("r1", 0.9)]


def test_a_locked_rule_may_be_tightened_and_stays_locked():
    policy = resolved(including("base", text="rules:\n" + rule(gte=0.5)), base())
    (found,) = policy.rules

    assert (found.bands[0].gte, found.locked, found.origin) == (0.5, True, "own")


@pytest.mark.parametrize(
    "looser",
    [
        rule(gte=0.81),
        rule(actions="[review]"),
        rule(more=", mode: shadow"),
        rule(more=", scope: {projects: [shop]}"),
        rule(more=", when: user.strikes > 1"),
        rule(more=", on_unavailable: flag"),
        rule(more=", classifiers: [encoder]"),
    ],
)
def test_a_locked_rule_may_not_be_loosened(looser):
    assert "is locked by `base`" in mistakes(including("base", text="rules:\n" + looser), base())


def test_a_lock_holds_whichever_policy_with_that_rule_is_included_first():
    looser = "rules:\n" + rule(gte=0.99)
    open_one = base(rule(), "another")

    for order in (("base", "another"), ("another", "base")):
        found = mistakes(including(*order, text=looser), base(), open_one)
        assert "rule `r1` is locked by `base`: at 0.8 it does `allow`" in found


def test_a_lock_holds_through_a_policy_between():
    between = source("between", "includes:\n" + _includes(["base"]) + "rules:\n" + rule(gte=0.5))
    own = including("between", text="rules:\n" + rule(gte=0.6))

    assert "is locked by `between`" in mistakes(own, between, base())


def test_the_same_policy_by_two_ways_is_included_once():
    left = source("left", "includes:\n" + _includes(["base"]) + "rules:\n" + rule("r2"))
    right = source("right", "includes:\n" + _includes(["base"]) + "rules:\n" + rule("r3"))

    policy = resolved(including("left", "right"), left, right, base())

    assert [each.id for each in policy.rules] == ["r1", "r2", "r3"]
    assert [each.id for each in policy.includes] == ["base", "left", "right"]


def test_two_included_policies_with_different_rules_of_one_name_clash():
    other = base(rule(gte=0.3), "another")

    assert "differs from the one of `base`" in mistakes(including("base", "another"), base(), other)


def test_an_exception_may_not_touch_a_rule_that_an_include_locks():
    own = including("base", text=EXCEPTION.format(id="EX-1", rule="r1"))

    assert "no exception here" in mistakes(own, base())


def test_an_exception_may_touch_an_open_rule_of_an_include():
    own = including("base", text=EXCEPTION.format(id="EX-1", rule="r1"))

    assert [each.id for each in resolved(own, base(rule())).exceptions] == ["EX-1"]


def test_an_exception_of_one_include_may_not_touch_what_another_one_locks():
    text = rule() + EXCEPTION.format(id="EX-1", rule="r1")
    own = including("another", "base", text="rules:\n" + rule(gte=0.5))

    found = mistakes(own, base(text, "another"), base())

    assert "exception `EX-1` of `another` touches rule `r1`, which `base` locks" in found


def test_the_locking_policys_own_exceptions_hold_on():
    text = rule(more=", locked: true") + EXCEPTION.format(id="EX-1", rule="r1")

    assert [each.id for each in resolved(including("base"), base(text)).exceptions] == ["EX-1"]


def test_an_exception_cannot_be_replaced_by_another_one_of_its_name():
    text = rule() + EXCEPTION.format(id="EX-1", rule="r1")
    own = including("base", text="rules:\n" + rule("r2") + EXCEPTION.format(id="EX-1", rule="r2"))

    assert "`EX-1` is taken by `base`" in mistakes(own, base(text))


def test_names_of_redactors_and_disclaimers_are_not_taken_over():
    text = rule() + "redactors: {pii: {types: [email]}}\ndisclaimers: {d: mind}\n"
    own = including("base", text="redactors: {pii: {types: [none]}}\ndisclaimers: {d: ''}\n")

    found = mistakes(own, base(text))

    assert "`pii` is taken by `base`" in found
    assert "`d` is taken by `base`" in found


def test_two_includes_may_not_mean_two_things_by_one_name():
    one = base(rule("r1") + "redactors: {pii: {types: [email]}}\n", "one")
    two = base(rule("r2") + "redactors: {pii: {types: [phone]}}\n", "two")

    assert "`two` and `one` mean two things by `pii`" in mistakes(including("one", "two"), one, two)


def test_the_smallest_leak_budget_counts_and_every_ladder():
    enforcement = (
        "enforcement: {strikes: {window: 30d, ladder: [{at: 1, do: %s}]}}\n"
        "defaults: {max_unscreened_chars: %d}\n"
    )
    policy = resolved(
        including("base", text=enforcement % ("warn", 200)),
        base(rule() + enforcement % ("suspend", 100)),
    )

    assert policy.max_unscreened_chars == 100
    assert len(policy.ladders) == 2


@pytest.mark.parametrize(
    ("own", "taken", "spools"),
    [
        ("spool", "spool", True),
        ("spool", "before_response", False),
        ("before_response", "spool", False),
    ],
)
def test_records_may_be_spooled_where_every_part_says_so(own, taken, spools):
    defaults = "defaults: {durability: %s}\n"
    policy = resolved(including("base", text=defaults % own), base(rule() + defaults % taken))

    assert policy.spools is spools


def test_the_defaults_of_a_policy_are_not_those_of_its_includes():
    policy = resolved(including("base", text="defaults: {on_unavailable: allow}\n"), base())

    assert set(policy.rules[0].on_unavailable.values()) == {Action.BLOCK}
