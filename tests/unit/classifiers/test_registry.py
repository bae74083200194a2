import pytest

from classifiers.registry import UnknownClassifier, build


def test_a_classifier_is_built_by_its_name():
    names = [classifier.name for classifier in build(["patterns", "secrets"])]

    assert names == ["patterns@1", "secrets@1"]


def test_an_unknown_name_is_refused_with_the_nearest_one():
    with pytest.raises(UnknownClassifier, match="`paterns`; did you mean `patterns`"):
        build(["patterns", "paterns"])


def test_a_name_like_no_other_is_refused_with_all_there_are():
    with pytest.raises(UnknownClassifier, match=r"`x`; known are .*`patterns`"):
        build(["x"])
