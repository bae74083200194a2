import pytest

from classifiers.categories import HEADS, PACKS
from classifiers.judges.written_policy import SECTIONS, builtin_names, read_policy
from model_runner.harmony import load_harmony
from model_runner.types import Message, Prompt, Role

GOOD = "category: hate\n\n# Title\n\n" + "\n\n".join(f"## {name}\n\ntext" for name in SECTIONS)


@pytest.fixture(scope="module")
def count(tmp_path_factory):
    harmony = load_harmony(tmp_path_factory.mktemp("cache"))

    def tokens(text):
        return len(harmony.render(Prompt("m", (Message(Role.DEVELOPER, text),))))

    return lambda text: tokens(text) - tokens("")


def write(folder, text):
    (folder / "own.md").write_text(text)
    return read_policy("own.md", folder)


@pytest.mark.parametrize("name", builtin_names())
def test_a_policy_of_ours_has_the_length_that_serves_the_model_best(name, tmp_path, count):
    policy = read_policy(name, tmp_path)

    assert 400 <= count(policy.text) <= 640


@pytest.mark.parametrize("name", builtin_names())
def test_a_policy_of_ours_has_examples_on_both_sides(name, tmp_path):
    examples = read_policy(name, tmp_path).text.partition("## EXAMPLES")[2]

    assert 4 <= examples.count("Content: ") <= 6
    assert examples.count("Label: 1 (V") >= 2
    assert examples.count("Label: 0 (S") >= 2


def test_every_harm_we_know_has_a_policy(tmp_path):
    decided = {read_policy(name, tmp_path).category for name in builtin_names()}

    assert decided == set(HEADS) - {"any"}


def test_a_policy_may_decide_a_category_of_the_packs(tmp_path):
    policy = write(tmp_path, GOOD.replace("category: hate", "category: minors.romance"))

    assert policy.category in PACKS


def test_a_policy_of_the_operator_is_read_from_beside_the_judges_file(tmp_path):
    policy = write(tmp_path, GOOD.replace("category: hate", "category: custom/advice"))

    assert (policy.name, policy.category) == ("own", "custom/advice")
    assert policy.text.startswith("# Title")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("# Title\n", "own.md: it must begin with `category"),
        (GOOD.replace("category: hate", "category: hatr"), "unknown category `hatr`; did you mean"),
        (GOOD.replace("## DEFINITIONS", "## Definitions"), "its sections must be"),
        (GOOD + "\n\n## MORE\n", "its sections must be"),
        (GOOD + "x" * 70_000, "at most 65536 bytes"),
    ],
)
def test_a_policy_of_the_wrong_form_is_refused(tmp_path, text, message):
    with pytest.raises(ValueError, match=message):
        write(tmp_path, text)


def test_bytes_that_are_no_text_are_refused(tmp_path):
    (tmp_path / "own.md").write_bytes(b"\xff\xfe")

    with pytest.raises(ValueError, match=r"own\.md"):
        read_policy("own.md", tmp_path)


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(ValueError, match=r"cannot read the policy `gone\.md`"):
        read_policy("gone.md", tmp_path)


def test_an_unknown_name_is_refused_with_the_nearest_one(tmp_path):
    with pytest.raises(ValueError, match="unknown policy `harasment`; did you mean `harassment`"):
        read_policy("harasment", tmp_path)
