"""What docs/packs.md shows is what can be done."""

import re
from pathlib import Path

from classifiers.registry import build
from policies.attachments import parse_attachments
from policies.load import read_policy
from policies.types import Action, Stage

PAGE = (Path(__file__).parents[2] / "docs" / "packs.md").read_text()
YAML = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
TOML = re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL)


def test_the_attachments_name_packs_that_there_are():
    said = parse_attachments(YAML[0].encode()).attachments
    named = re.findall(r"ostiary-([a-z]+)", YAML[0])

    assert set(named) == {"baseline", "minors", "enterprise", "agents", "preparedness"}
    assert said.profiles["red-team"].access == {"cyber"}


def test_packs_stand_beside_each_other_in_one_policy(tmp_path):
    (tmp_path / "acme.yaml").write_text(
        YAML[1].replace(
            "defaults:",
            '  - {id: ostiary-minors, version: "^1.0"}\n'
            '  - {id: ostiary-preparedness, version: "^1.0"}\ndefaults:',
        )
    )

    policy = read_policy(tmp_path / "acme.yaml", pinned=False).policy

    rules = {rule.id: rule for rule in policy.rules}
    assert {"sexual-minors", "destroy-vital", "email-hidden", "minors-romance"} <= set(rules)
    assert rules["destroy-vital"].on_unavailable[Stage.TOOL_CALL] is Action.BLOCK
    assert len(policy.includes) == 5


def test_the_pattern_file_is_one(tmp_path):
    (tmp_path / "acme-words.toml").write_text(TOML[0])

    (words,) = build([str(tmp_path / "acme-words.toml")])

    (pattern,) = words.patterns
    assert all(any(pattern.spans(text, 0)) for text in pattern.matches)
    assert not any(any(pattern.spans(text, 0)) for text in pattern.misses)
