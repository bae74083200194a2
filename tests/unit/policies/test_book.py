from dataclasses import replace
from datetime import UTC, datetime

import pytest

from policies.apply import apply
from policies.attachments import Attachment, Attachments
from policies.book import Book, BookError, NotOffered, unite
from policies.circumstances import Circumstances
from policies.types import (
    Action,
    Band,
    Included,
    Policy,
    PolicyException,
    Redactor,
    Rule,
    Stage,
)

NOW = datetime(2026, 11, 26, tzinfo=UTC)


def rule(name="weapons", gte=0.9, action=Action.BLOCK, **more):
    return Rule(
        id=name,
        category="weapons",
        stages=frozenset({Stage.INPUT}),
        bands=(Band(gte, action),),
        on_unavailable=dict.fromkeys(Stage, Action.BLOCK),
        **more,
    )


def policy(name, *rules, **more):
    return Policy(name, "1.0.0", f"digest of {name}", rules or (rule(name),), **more)


def book(*policies, **attached):
    return Book({each.id: each for each in policies}, Attachments(**attached))


def governing(found, project="default", key="k", model="m", chosen=()):
    return {each.id for each in found.governing(project, key, model, chosen).rules}


def test_a_policy_that_no_attachment_mentions_governs_everybody():
    found = book(policy("base"), policy("more"))

    assert governing(found) == {"base", "more"}


def test_a_policy_that_is_attached_governs_only_those_it_is_attached_to():
    found = book(
        policy("base"),
        policy("kids"),
        policy("for-a-key"),
        policy("for-a-model"),
        projects={"school": Attachment(("kids",))},
        keys={"AbC": Attachment(("for-a-key",))},
        models={"gpt-oss-120b": Attachment(("for-a-model",))},
    )

    assert governing(found) == {"base"}
    assert governing(found, project="school") == {"base", "kids"}
    assert governing(found, key="AbC") == {"base", "for-a-key"}
    assert governing(found, "school", "AbC", "gpt-oss-120b") == {
        "base",
        "kids",
        "for-a-key",
        "for-a-model",
    }


def test_a_caller_chooses_only_among_what_is_offered():
    found = book(policy("base"), policy("strict"), projects={"p": Attachment((), ("strict",))})

    assert governing(found, "p") == {"base"}
    assert governing(found, "p", chosen=["strict"]) == {"base", "strict"}
    with pytest.raises(NotOffered, match="`strict` is not offered"):
        found.governing("other", "k", "m", ["strict"])
    with pytest.raises(NotOffered, match="`base` is not offered"):
        found.governing("p", "k", "m", ["base"])


def test_what_is_attached_has_to_be_in_force():
    with pytest.raises(BookError, match="`bsae` is attached and not in force; did you mean `base`"):
        book(policy("base"), everyone=Attachment(("bsae",)))


def test_nobody_may_be_governed_by_nothing():
    with pytest.raises(BookError, match="nothing governs a project that is not listed"):
        book(policy("base"), projects={"p": Attachment(("base",))})
    with pytest.raises(BookError):
        book()


def test_a_policy_that_another_one_includes_is_spoken_for():
    base = policy("base", rule("weapons", 0.9))
    looser = policy(
        "acme", rule("weapons", 0.95), includes=(Included("base", "1.0.0", base.digest),)
    )

    (only,) = book(base, looser).governing("p", "k", "m").rules

    assert only.bands[0].gte == 0.95


def test_the_locked_rules_of_a_newer_version_hold_beside_the_one_that_was_included():
    base = policy("base", rule("locked", 0.8, locked=True), rule("open", 0.8))
    stale = policy(
        "acme", rule("locked", 0.9, locked=True), includes=(Included("base", "0.9.0", "old"),)
    )

    united = book(base, stale).governing("p", "k", "m")

    assert {each.id for each in united.rules} == {"acme:locked", "base:locked"}


def test_the_same_rule_of_two_policies_is_kept_once():
    assert [each.id for each in unite([policy("a", rule()), policy("b", rule())]).rules] == [
        "weapons"
    ]


def test_two_rules_by_one_name_both_count_and_are_told_apart():
    united = unite([policy("a", rule(gte=0.5)), policy("b", rule(gte=0.9))])

    assert {each.id: each.bands[0].gte for each in united.rules} == {
        "a:weapons": 0.5,
        "b:weapons": 0.9,
    }


def test_an_exception_of_one_policy_leaves_the_same_rule_of_another_alone():
    exempt = PolicyException("EX", "weapons", Action.FLAG, NOW, NOW.replace(year=2027))
    united = unite([policy("a", rule(), exceptions=(exempt,)), policy("b", rule())])

    narrowed = apply(united, Circumstances(), NOW)

    assert {each.id: each.bands[0].action for each in narrowed.rules} == {
        "a:weapons": Action.FLAG,
        "b:weapons": Action.BLOCK,
    }


def test_each_policy_keeps_its_own_redactors_and_disclaimers():
    hides = Band(0.5, Action.REDACT, redactor="pii", disclaimer="note")
    parts = [
        policy(
            name,
            replace(rule(name), bands=(hides,)),
            redactors={"pii": Redactor(frozenset({name}))},
            disclaimers={"note": {"": name}},
        )
        for name in ("a", "b")
    ]

    united = unite(parts)

    for each in united.rules:
        (band,) = each.bands
        assert united.redactors[band.redactor].types == {each.id}
        assert united.disclaimers[band.disclaimer] == {"": each.id}


def test_of_limits_the_careful_one_counts():
    united = unite(
        [
            policy(
                "a", deadline_ms=100, judge_deadline_ms=900, max_unscreened_chars=50, spools=True
            ),
            policy("b", deadline_ms=400, judge_deadline_ms=100, max_unscreened_chars=0),
        ]
    )

    assert united.max_unscreened_chars == 0
    assert not united.spools
    assert unite([policy("a", spools=True), policy("b", spools=True)]).spools
    assert (united.deadline_ms, united.judge_deadline_ms) == (400, 900)
    assert (united.id, united.version) == ("a+b", "1.0.0+1.0.0")
    assert united.digest == unite([policy("a"), policy("b")]).digest


def test_a_book_is_known_by_what_is_in_it():
    assert book(policy("a")).digest == book(policy("a")).digest
    assert book(policy("a")).digest != book(policy("b")).digest
    assert book(policy("a")).digest != book(policy("a"), digest="d").digest
