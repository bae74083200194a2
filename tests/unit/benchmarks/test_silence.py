from random import Random

from benchmarks.silence import THOUGHTS, _chance


def test_the_two_thoughts_are_of_equal_length():
    assert len({len(said) for said in THOUGHTS.values()}) == 1


def test_times_of_one_kind_are_likely_and_times_that_differ_are_not():
    rng = Random(1)  # noqa: S311 - reproducible, not secret
    one, other = ([rng.gauss(10, 2) for _ in range(200)] for _ in range(2))

    assert _chance(one, other) > 0.1
    assert _chance(one, [value + 2 for value in other]) < 0.001
    assert _chance(one, one) == 1.0
