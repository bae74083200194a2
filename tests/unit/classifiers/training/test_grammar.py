import pytest

from classifiers.training.example import HEADS, Kind
from classifiers.training.grammar import AUTHORED, GrammarError, authored, draw

FILE = """
[slots]
animal = ["a cat", "a {{size}} dog", "an owl"]
size = ["small", "large"]

[[group]]
name = "t.pairs"
kind = "reply"
labels = ["violence"]
unknown = ["hate"]
count = 8
examples = ["He said {nothing}.", {prompt = "Who?", text = "Me."}]
templates = [{prompt = "Draw {{animal}}", text = "Here is {{animal}} beside {{animal#2}}"}]

[[group]]
name = "t.plain"
count = 500
templates = ["one {{size}} word"]
"""


@pytest.fixture
def path(tmp_path):
    file = tmp_path / "t.toml"
    file.write_text(FILE)
    return file


def groups(path, seed=0):
    found: dict[str, list] = {}
    for example in draw(path, seed):
        found.setdefault(example.source, []).append(example)
    return found


def test_hand_written_examples_are_all_taken_as_they_stand(path):
    first, second = groups(path)["authored/t.pairs"][:2]
    assert (first.prompt, first.text) == ("", "He said {nothing}.")
    assert (second.prompt, second.text) == ("Who?", "Me.")


def test_a_slot_has_one_value_within_an_example_and_another_for_another_number(path):
    drawn = groups(path)["authored/t.pairs"][2:]
    assert len(drawn) == 8
    for example in drawn:
        asked = example.prompt.removeprefix("Draw ")
        assert example.text.startswith(f"Here is {asked} beside ")
    assert any(example.text.count(example.prompt[5:]) == 1 for example in drawn)


def test_labels_say_what_is_known_and_leave_out_what_is_not(path):
    labels = groups(path)["authored/t.pairs"][0].labels
    assert labels["violence"] == labels["any"] == 1
    assert "hate" not in labels
    assert set(labels) == set(HEADS) - {"hate"}
    assert set(groups(path)["authored/t.plain"][0].labels.values()) == {0}


def test_a_grammar_that_has_run_out_of_texts_stops(path):
    texts = [example.text for example in groups(path)["authored/t.plain"]]
    assert sorted(texts) == ["one large word", "one small word"]


def test_a_draw_depends_on_the_seed_and_the_group_alone(path, tmp_path):
    assert list(draw(path, 1)) == list(draw(path, 1))
    assert list(draw(path, 1)) != list(draw(path, 2))
    more = tmp_path / "more.toml"
    more.write_text(FILE.replace("[[group]]", '[[group]]\nname = "t.new"\n[[group]]', 1))
    assert groups(more)["authored/t.pairs"] == groups(path)["authored/t.pairs"]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('"violence"', '"violins"', "unknown head `violins`"),
        ("count = 8", "counts = 8", "unknown key `counts`"),
        ("{{size}} dog", "{{sizes}} dog", "slot `sizes`"),
        ('"small"', '"{{size}}"', "endless slot `size`"),
    ],
)
def test_a_mistake_is_named_with_its_group(path, old, new, message):
    path.write_text(FILE.replace(old, new))
    with pytest.raises(GrammarError, match=f"group `t.*{message}"):
        for _ in range(50):
            list(draw(path, _))


def test_the_authored_files_draw_and_speak_of_every_head_on_both_sides():
    ones, zeros = set(), set()
    kinds = set()
    for example in authored(0):
        assert example.text.strip()
        assert "{{" not in example.text
        kinds.add(example.kind)
        ones.update(head for head, label in example.labels.items() if label)
        zeros.update(head for head, label in example.labels.items() if not label)
    assert zeros == set(HEADS)
    # Nothing sexual about minors is authored: that head learns from public labels alone.
    assert ones == set(HEADS) - {"sexual/minors"}
    assert kinds == set(Kind)


def test_no_authored_group_has_the_name_of_another():
    import tomllib

    names = [
        group["name"]
        for path in AUTHORED.glob("*.toml")
        for group in tomllib.loads(path.read_text(encoding="utf-8"))["group"]
    ]
    assert len(names) == len(set(names))
