import asyncio

import pytest

from classifiers.registry import UnknownClassifier, build
from classifiers.types import Passage, Source

CODE_WORDS = """
[[pattern]]
id = "merger"
kind = "code_name"
categories = ["enterprise.confidential"]
score = 0.97
hint = '\\bkingfisher\\b'
expression = '\\bproject kingfisher\\b'
matches = ["Project Kingfisher closes in May"]
misses = ["a kingfisher at the river"]
"""


def own(folder, name="acme-words.toml", text=CODE_WORDS):
    path = folder / name
    path.write_text(text)
    return str(path)


def test_a_classifier_is_built_by_its_name():
    names = [classifier.name for classifier in build(["patterns", "secrets"])]

    assert names == ["patterns@1", "secrets@1"]


def test_an_unknown_name_is_refused_with_the_nearest_one():
    with pytest.raises(UnknownClassifier, match="`paterns`; did you mean `patterns`"):
        build(["patterns", "paterns"])


def test_a_name_like_no_other_is_refused_with_all_there_are():
    with pytest.raises(UnknownClassifier, match=r"`x`; known are .*`patterns`"):
        build(["x"])


def test_a_pattern_file_of_ones_own_stands_beside_ours(tmp_path):
    ours, words = build(["patterns", own(tmp_path)])
    (verdicts,) = asyncio.run(
        words.classify([Passage(Source.FINAL, "Project Kingfisher closes in May.")])
    )

    assert ours.name == "patterns@1"
    assert words.name == f"acme-words@{words.digest[:8]}"
    assert [(each.category, each.score, each.spans[0].kind) for each in verdicts] == [
        ("enterprise.confidential", 0.97, "code_name")
    ]


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("acme.toml", "score = ", r"acme\.toml: the pattern file is not TOML"),
        ("Acme Words.toml", CODE_WORDS, r"Acme Words\.toml: the name must be"),
        ("patterns.toml", CODE_WORDS, "two classifiers would be called `patterns`"),
    ],
)
def test_a_pattern_file_that_cannot_be_used_is_named(tmp_path, name, text, message):
    with pytest.raises(ValueError, match=message):
        build(["patterns", own(tmp_path, name, text)])


def test_a_pattern_file_that_is_not_there_is_named():
    with pytest.raises(ValueError, match=r"gone\.toml: cannot read the patterns: No such file"):
        build(["gone.toml"])


def test_the_monitor_asks_the_encoder_that_the_panel_asks():
    encoder, monitor = build(["encoder", "monitor"])

    assert monitor._encoder is encoder
