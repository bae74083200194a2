import pytest
from hypothesis import given
from hypothesis import strategies as st

from policies.circumstances import (
    ANYBODY,
    EVERYBODY,
    AgeGroup,
    Circumstances,
    Scope,
    language_tags,
)


def test_a_scope_that_says_nothing_is_for_everybody():
    assert EVERYBODY.covers(ANYBODY)
    assert Scope().covers(Circumstances("p", "free", "chat", "m", locale="de"))


@pytest.mark.parametrize(
    ("scope", "inside", "outside"),
    [
        (Scope(projects=("red-*",)), Circumstances(project="red-team"), ANYBODY),
        (Scope(tiers=("free", "pro")), Circumstances(tier="pro"), Circumstances(tier="prod")),
        (
            Scope(age_groups=("minor",)),
            Circumstances(age_group=AgeGroup.MINOR),
            Circumstances(age_group=AgeGroup.UNKNOWN),
        ),
        (Scope(endpoints=("chat",)), Circumstances(endpoint="chat"), ANYBODY),
        (Scope(models=("*-20b",)), Circumstances(model="gpt-oss-20b"), ANYBODY),
        (Scope(locales=("de",)), Circumstances(locale="de-AT"), Circumstances(locale="den")),
    ],
)
def test_each_field_of_a_scope_tells_who_is_in_it(scope, inside, outside):
    assert scope.covers(inside)
    assert not scope.covers(outside)


def test_every_field_that_is_given_has_to_agree():
    scope = Scope(projects=("shop",), tiers=("free",))

    assert scope.covers(Circumstances(project="shop", tier="free"))
    assert not scope.covers(Circumstances(project="shop", tier="pro"))
    assert not scope.covers(Circumstances(project="other", tier="free"))


@pytest.mark.parametrize("name", ["[a]b", "a?b", "a.b", "!x"])
def test_a_star_is_the_only_character_that_means_something(name):
    assert Scope(projects=(f"{name}*",)).covers(Circumstances(project=f"{name}-1"))
    assert not Scope(projects=(f"{name}*",)).covers(Circumstances(project="axb-1"))


def test_names_tell_capitals_apart_and_a_part_is_not_the_whole():
    assert not Scope(projects=("Shop",)).covers(Circumstances(project="shop"))
    assert not Scope(projects=("shop",)).covers(Circumstances(project="shop-2"))


@pytest.mark.parametrize("locale", ["de-AT", "de_AT", "DE-at", "de-AT-1996", "de_AT.UTF-8"])
def test_every_usual_spelling_of_a_locale_is_its_language(locale):
    assert Scope(locales=("DE",)).covers(Circumstances(locale=locale))


def test_a_region_is_not_its_language_and_no_locale_is_in_no_language():
    assert not Scope(locales=("de-AT",)).covers(Circumstances(locale="de"))
    assert not Scope(locales=("de-AT",)).covers(Circumstances(locale="de-CH"))
    assert not Scope(locales=("de",)).covers(ANYBODY)
    assert Scope(locales=("*",)).covers(ANYBODY)


def test_the_tags_of_a_locale_are_narrowest_first():
    assert language_tags("zh-Hant_TW") == ("zh-hant-tw", "zh-hant", "zh")
    assert language_tags("") == ()


NAMES = st.text(st.sampled_from("ab*[]?.-"), max_size=6)


@given(NAMES, NAMES)
def test_a_pattern_matches_what_stars_alone_say(pattern, name):
    def matches(pattern, name):
        if not pattern:
            return not name
        if pattern[0] == "*":
            return matches(pattern[1:], name) or (bool(name) and matches(pattern, name[1:]))
        return bool(name) and name[0] == pattern[0] and matches(pattern[1:], name[1:])

    covered = Scope(projects=(pattern,)).covers(Circumstances(project=name))

    assert covered is matches(pattern, name)
