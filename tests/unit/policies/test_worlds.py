import random

import pytest

from policies.circumstances import AgeGroup, Circumstances
from policies.conditions import compile_condition, facts_of
from policies.types import Stage
from policies.worlds import World, is_simple, worlds

SIMPLE = [
    "user.strikes > 2",
    "user.strikes >= 2 && request.stream",
    "size(request.tools) > 1 || 'shell' in request.tools",
    "'lab' in request.access && !('bio' in request.access)",
    "request.project in ['a', \"b\"] || request.tier != 'free'",
    "!request.stream || user.age_group == 'minor'",
    "user.strikes in [1, 4]",
    "stage == 'input' && request.endpoint == 'chat'",
]
OTHERS = [
    "score > 0.5",
    "'spam' in scores",
    "request.project == request.tier",
    "request.project in request.tools",
    "request.model.startsWith('a')",
    "request.tools == ['a']",
    "request.tools[0] == 'a'",
    "['a'] == request.tools",
    "request.model < 'b'",
    "user.strikes + 1 > 2",
    "user.strikes > size(request.tools)",
    "(user.strikes > 1) == (user.strikes > 2)",
    "request.tools.exists(tool, tool == 'a')",
    "user.strikes > 2 ? true : request.stream",
    "request.model == r'a'",
    "size(request.model) > 2",
]


@pytest.mark.parametrize("text", SIMPLE)
def test_comparisons_with_what_stands_in_the_text_are_simple(text):
    compile_condition(text)
    assert is_simple(text)


@pytest.mark.parametrize("text", OTHERS)
def test_what_depends_on_more_is_not_simple(text):
    compile_condition(text)
    assert not is_simple(text)


def somebody(chance):
    names = ["a", "b", "free", "shell", "lab", "bio", "other", "more"]
    return Circumstances(
        project=chance.choice(names),
        tier=chance.choice(names),
        endpoint=chance.choice(["responses", "chat", "moderations"]),
        stream=chance.random() < 0.5,
        tools=tuple(chance.sample(names, chance.randrange(5))),
        access=frozenset(chance.sample(names, chance.randrange(5))),
        age_group=chance.choice([*AgeGroup]),
        strikes=chance.randrange(7),
    )


@pytest.mark.parametrize("seed", range(12))
def test_whatever_a_request_is_like_its_world_was_found(seed):
    chance = random.Random(seed)  # noqa: S311 - a test's dice
    conditions = [compile_condition(text) for text in chance.sample(SIMPLE, 3)]
    known = [world.truths for world in worlds(conditions, Stage.INPUT)]

    for _ in range(200):
        facts = {**facts_of(somebody(chance)), "stage": "input"}
        assert {each.text: each.holds(facts) for each in conditions} in known


def test_a_world_names_a_request_of_which_it_is_so():
    conditions = [compile_condition(text) for text in SIMPLE[:3]]

    for world in worlds(conditions, Stage.INPUT):
        facts = {**facts_of(Circumstances()), "stage": "input", **world.facts}
        assert {each.text: each.holds(facts) for each in conditions} == world.truths


def test_where_nothing_is_simple_there_is_one_world_that_says_nothing():
    assert worlds([compile_condition("score > 0.5")], Stage.INPUT) == (World(),)


def test_what_would_be_too_much_is_not_looked_into():
    names = ", ".join(f"'{number}'" for number in range(40))
    text = " && ".join(
        f"request.{name} in [{names}]" for name in ("project", "tier", "model", "locale")
    )

    assert worlds([compile_condition(text)], Stage.INPUT) == (World(),)
