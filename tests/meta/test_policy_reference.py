"""The reference of the policy language says what the schema says."""

from pathlib import Path

import pytest

from policies.attachments import AttachmentsDocument
from policies.conditions import VARIABLES
from policies.reference import _parts, reference
from policies.schema import PolicyDocument

PAGE = Path(__file__).parents[2] / "docs" / "policy-reference.md"
FIELDS = [
    (part.__name__, name, field)
    for document in (PolicyDocument, AttachmentsDocument)
    for _, part in _parts(document, "")
    for name, field in part.model_fields.items()
]


def test_the_page_is_what_the_schema_says():
    assert PAGE.read_text() == reference(), (
        "run: python -m policies.reference > docs/policy-reference.md"
    )


@pytest.mark.parametrize(("part", "name", "field"), FIELDS)
def test_every_key_is_described(part, name, field):
    assert field.description, f"{part}.{name}"


@pytest.mark.parametrize("name", VARIABLES)
def test_everything_that_a_condition_may_look_at_is_described(name):
    assert f"| `{name}` |" in PAGE.read_text()
