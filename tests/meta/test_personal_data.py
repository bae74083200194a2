"""What is found of personal data and secrets is documented."""

import re
from pathlib import Path

import pytest

from classifiers.patterns import Patterns
from classifiers.presidio import Presidio
from classifiers.secrets import Secrets

PAGE = (Path(__file__).parents[2] / "docs" / "personal-data.md").read_text()
PATTERNS = [
    pattern
    for pattern in Patterns().patterns
    if pattern.categories[0].startswith(("pii.", "secrets."))
]
CATEGORIES = {category for pattern in PATTERNS for category in pattern.categories}


def row(category):
    return next(line for line in PAGE.splitlines() if line.startswith(f"| `{category}` |"))


@pytest.mark.parametrize("category", sorted(CATEGORIES | Secrets.categories | Presidio.categories))
def test_a_category_of_personal_data_is_documented(category):
    assert row(category)


@pytest.mark.parametrize("pattern", PATTERNS, ids=lambda pattern: pattern.id)
def test_what_a_redaction_says_is_documented(pattern):
    assert f"`{pattern.kind}`" in row(pattern.categories[0])


def test_no_category_is_documented_that_does_not_exist():
    documented = set(re.findall(r"^\| `((?:pii|secrets)\.[a-z_]+)` \|", PAGE, re.MULTILINE))

    assert documented == CATEGORIES | Secrets.categories | Presidio.categories
