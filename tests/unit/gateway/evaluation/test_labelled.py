import pytest

from classifiers.types import Source
from gateway.evaluation.labelled import Columns, labelled_set, truth
from gateway.evaluation.types import EvaluationError, Row

KNOWN = frozenset({"any", "violence", "hate/threatening"})


OWN = Columns()


def rows(tmp_path, content, columns=OWN, name="mine.csv"):
    path = tmp_path / name
    path.write_text(content)
    return list(labelled_set("mine", path, columns, KNOWN).rows())


def test_a_column_of_labels_is_about_any_harm(tmp_path):
    assert rows(tmp_path, "text,label\na,1\nb,0\nc,\n") == [
        Row("a", {"any": True}, line=2),
        Row("b", {"any": False}, line=3),
        Row("c", {}, line=4),
    ]


def test_a_column_of_labels_can_be_about_one_category(tmp_path):
    columns = Columns(text="words", label="bad", categories=("violence",))

    assert rows(tmp_path, "words,bad\na,yes\n", columns) == [Row("a", {"violence": True}, line=2)]


def test_there_can_be_a_column_for_each_category(tmp_path):
    content = "text,violence,hate/threatening,note\na,1,,x\nb,0,1,y\n"

    assert rows(tmp_path, content) == [
        Row("a", {"violence": True}, line=2),
        Row("b", {"violence": False, "hate/threatening": True}, line=3),
    ]


def test_of_the_category_columns_some_can_be_chosen(tmp_path):
    content = "text,violence,weather\na,1,0\n"

    assert rows(tmp_path, content, Columns(categories=("weather",))) == [
        Row("a", {"weather": False}, line=2)
    ]


def test_kind_source_and_prompt_are_read_where_they_are(tmp_path):
    content = "text,label,kind,source,prompt\na,1,poem,final,Write one\nb,0,,,\n"

    assert rows(tmp_path, content) == [
        Row("a", {"any": True}, Source.FINAL, "Write one", "poem", 2),
        Row("b", {"any": False}, line=3),
    ]


@pytest.mark.parametrize("said", ["1", "1.0", "true", "YES", " unsafe ", 1, True, "harmful"])
def test_yes_is_said_in_several_ways(said):
    assert truth(said, "file:1", "label") is True


@pytest.mark.parametrize("said", ["0", "0.0", "False", "no", "safe", 0, False, "unharmful"])
def test_no_is_said_in_several_ways(said):
    assert truth(said, "file:1", "label") is False


@pytest.mark.parametrize("said", ["", "  ", None, "nan", "unknown", float("nan")])
def test_unknown_is_neither(said):
    assert truth(said, "file:1", "label") is None


@pytest.mark.parametrize(
    ("content", "columns", "message"),
    [
        ("text,label\na,maybe\n", Columns(), ":2: `label` must be 1, 0 or empty, not `maybe`"),
        ("text,label\na,0.7\n", Columns(), ":2: `label` must be 1, 0 or empty"),
        ("words,label\na,1\n", Columns(), ":2: there is no column `text`; there are `words`"),
        ("text,other\na,1\n", Columns(), ":2: there is no column `label`, and none named like"),
        ("text,violence\na,1\n", Columns(categories=("hate",)), ":2: there is no column `hate`"),
        ("text,label\na,1\n", Columns(categories=("a", "b")), "cannot label several categories"),
        ("text,label,source\na,1,nobody\n", Columns(), ":2: `source` must be one of"),
    ],
)
def test_a_mistake_is_never_a_guess(tmp_path, content, columns, message):
    with pytest.raises(EvaluationError) as caught:
        rows(tmp_path, content, columns)

    assert message in str(caught.value)


def test_a_text_that_is_none_is_a_mistake(tmp_path):
    with pytest.raises(EvaluationError, match=":1: `text` holds no text"):
        rows(tmp_path, '{"text": 7, "label": 1}\n', name="mine.jsonl")
