from pathlib import Path

import pytest

from classifiers.judges.pack import adopt_policy
from classifiers.judges.written_policy import SECTIONS, parse_policy

PARTS = ("INSTRUCTIONS", "DEFINITIONS", "VIOLATES", "SAFE", "EXAMPLES")
SPAM = Path(__file__).parents[4] / "examples" / "packs" / "spam" / "policy.md"


def policy(heading="## {}", parts=PARTS, title="# Spam\n\n"):
    return title + "\n\n".join(f"{heading.format(part)}\n\ntext of {part}" for part in parts)


def adopted(content, category="custom/spam", title="spam"):
    return adopt_policy(content, "policy.md", category, title)


@pytest.mark.parametrize(
    "heading", ["## {}", "# {}", "### {}:", "**{}**", "**{}:**", "{}", "{}:", "## {} (1)"]
)
def test_headings_are_known_however_they_are_marked(heading):
    written = parse_policy("spam", adopted(policy(heading)))

    assert written.category == "custom/spam"
    assert [f"## {section}" in written.text for section in SECTIONS] == [True] * 5
    assert written.text.startswith("# Spam\n")


def test_longer_names_of_the_parts_are_known():
    parts = ("Instructions", "Definitions", "VIOLATES POLICY", "SAFE CONTENT (0)", "Examples")

    assert "## SAFE (0)\n\ntext of SAFE CONTENT" in adopted(policy("## {}", parts))


def test_a_word_that_begins_a_sentence_is_no_heading():
    content = policy().replace("text of SAFE", "Safe\nis what harms nobody")

    assert "Safe\nis what harms nobody" in adopted(content)


def test_other_headings_stay_one_level_down_where_they_stand():
    content = policy().replace("text of EXAMPLES", "## Example 1\n\nContent")

    assert "## EXAMPLES\n\n### Example 1\n\nContent" in adopted(content)


def test_what_stands_above_the_first_part_is_kept():
    content = policy(title="# Spam\n\nGOAL: a clean inbox.\n\n")

    assert "# Spam\n\nGOAL: a clean inbox.\n\n## INSTRUCTIONS" in adopted(content)


def test_a_policy_without_a_title_is_called_as_the_caller_says():
    assert "# spam\n\n## INSTRUCTIONS" in adopted(policy(title=""))


@pytest.mark.parametrize(
    "end", ["Content: {{content}}\nAnswer (0 or 1):", "[INPUT]", "Content: [content]\n\nAnswer:"]
)
def test_a_placeholder_for_the_content_goes(end):
    assert adopted(policy() + "\n\n" + end).endswith("text of EXAMPLES\n")


def test_the_pack_we_ship_is_adopted():
    written = parse_policy("spam", adopted(SPAM.read_text()))

    assert "{{" not in written.text
    assert written.text.count("Content: ") == 5


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (policy(parts=PARTS[:4]), r"policy\.md:17: there is no part EXAMPLES"),
        (
            policy().replace("## EXAMPLES", "## EXMAPLES"),
            r"policy\.md:\d+: there is no part EXAMPLES; line 19 looks like it",
        ),
        (policy(parts=(*PARTS, "SAFE")), r"policy\.md:23: SAFE stands here a second time"),
        (
            policy(parts=("DEFINITIONS", "INSTRUCTIONS", *PARTS[2:])),
            r"policy\.md:3: DEFINITIONS is out of order",
        ),
        (policy().replace("text of SAFE", ""), r"policy\.md:15: there is nothing under SAFE"),
        (policy().replace("text of SAFE", "x" * 70_000), r"policy\.md:1: a policy is at most"),
    ],
)
def test_a_policy_that_is_not_of_the_shape_is_named_with_its_line(content, message):
    with pytest.raises(ValueError, match=message):
        adopted(content)
