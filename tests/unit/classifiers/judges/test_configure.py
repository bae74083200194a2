import pytest

from classifiers.judges.configure import load_judges
from classifiers.types import Classifier, Passage, Selective, Source
from tests.unit.classifiers.judges.fakes import FakeModel

SAFEGUARD = """
[[judge]]
name = "safeguard"
kind = "safeguard"
url = "http://127.0.0.1:8000/v1"
model = "openai/gpt-oss-safeguard-20b"
policies = ["hate", "cyber"]
"""
GUARD = """
[[judge]]
name = "llama"
kind = "guard"
guard = "llama-guard-3"
url = "http://127.0.0.1:8001/v1"
model = "meta-llama/Llama-Guard-3-8B"
"""
MODERATIONS = """
[[judge]]
name = "openai"
kind = "moderations"
url = "https://api.openai.example/v1"
model = "omni-moderation-latest"
api_key_env = "JUDGE_TEST_KEY"
"""


def load(folder, text, own=None):
    path = folder / "judges.toml"
    path.write_text(text)
    return load_judges(path, own)


def test_the_judges_of_a_file_are_classifiers_in_its_order(tmp_path, monkeypatch):
    monkeypatch.setenv("JUDGE_TEST_KEY", "secret")

    judges = load(tmp_path, SAFEGUARD + GUARD + MODERATIONS)

    assert [judge.name for judge in judges] == ["safeguard@1", "llama@1", "openai@1"]
    assert judges[0].categories == {"hate", "cyber"}
    assert "sexual/minors" in judges[1].categories
    assert len(judges[2].categories) == 13
    assert len({judge.digest for judge in judges}) == 3
    assert isinstance(judges[0], Selective)
    classifiers: list[Classifier] = [*judges]
    assert classifiers


def test_a_file_without_judges_has_none(tmp_path):
    assert load(tmp_path, "# nobody") == []


async def test_a_judge_may_ask_the_gateways_own_model(tmp_path):
    model = FakeModel('{"violation": 1, "rationale": "V1"}')
    text = SAFEGUARD.replace('url = "http://127.0.0.1:8000/v1"', 'runner = "self"')
    text = text.replace('model = "openai/gpt-oss-safeguard-20b"\n', "")

    (judge,) = load(tmp_path, text.replace('"hate", "cyber"', '"hate"'), model)
    ((verdict,),) = await judge.classify([Passage(Source.USER, "text")])

    assert verdict.score == 0.97
    assert model.questions[0].messages[0].role == "developer"
    with pytest.raises(ValueError, match="needs a gateway that serves a model"):
        load(tmp_path, text)


def test_policies_and_guards_of_the_operator_are_read_from_beside_the_file(tmp_path):
    (tmp_path / "advice.md").write_text(
        "category: custom/advice\n\n# T\n\n"
        + "\n".join(
            f"## {name}\n"
            for name in ("INSTRUCTIONS", "DEFINITIONS", "VIOLATES (1)", "SAFE (0)", "EXAMPLES")
        )
    )

    (judge,) = load(tmp_path, SAFEGUARD.replace('"hate", "cyber"', '"advice.md"'))

    assert judge.categories == {"custom/advice"}


WRONG = [
    ("[[judg]]", "[[judge]]", SAFEGUARD, "judges.toml: unknown key `judg`; did you mean `judge`"),
    ("[judge]", "[[judge]]", SAFEGUARD, "judges are written as `[[judge]]`"),
    ('kind = "savegard"', 'kind = "safeguard"', SAFEGUARD, "judge `safeguard`: unknown kind `save"),
    ("", 'kind = "safeguard"\n', SAFEGUARD, "judge `safeguard`: key `kind` is missing"),
    ("modle =", "model =", SAFEGUARD, "judge `safeguard`: unknown key `modle`; did you mean `mod"),
    ('"hatr"', '"hate"', SAFEGUARD, "judge `safeguard`: unknown policy `hatr`; did you mean `hat"),
    ('"hate", "hate"', '"hate", "cyber"', SAFEGUARD, "one per category"),
    ("policies = []", 'policies = ["hate", "cyber"]', SAFEGUARD, "judge `safeguard`: `policies`"),
    ("", 'url = "http://127.0.0.1:8000/v1"\n', SAFEGUARD, "either `url` or `runner`"),
    ("", 'model = "openai/gpt-oss-safeguard-20b"\n', SAFEGUARD, "needs `model`"),
    ('url = "ftp://x"', 'url = "http://127.0.0.1:8000/v1"', SAFEGUARD, "must start with `http://`"),
    ('url = "http://h/v1?a=1"', 'url = "http://127.0.0.1:8000/v1"', SAFEGUARD, "end with its path"),
    ('url = "http://h:99999"', 'url = "http://127.0.0.1:8000/v1"', SAFEGUARD, "Port out of range"),
    ('url = "http://u:p@h/v1"', 'url = "http://127.0.0.1:8000/v1"', SAFEGUARD, "hold credentials"),
    ('name = "Not A Name"', 'name = "safeguard"', SAFEGUARD, "`name`"),
    ('"lama-guard-3"', '"llama-guard-3"', GUARD, "judge `llama`: unknown guard `lama-guard-3`; di"),
    ('runner = "self"', 'url = "http://127.0.0.1:8001/v1"\nmodel = "meta-llama/Llama-Guard-3-8B"',
     GUARD, "`runner` cannot be `self`"),
    ("timeout_s = 0\nurl", "url", GUARD, "judge `llama`: `timeout_s`"),
    ("most_running = 2.5\nurl", "url", GUARD, "judge `llama`: `most_running`"),
    ('[judge.labels]\ntoxic = "hatefull"\n', "", MODERATIONS, "unknown category `hatefull`; did y"),
    ("kind", "kind =", GUARD, "judges.toml: not TOML"),
]  # fmt: skip


@pytest.mark.parametrize(("new", "old", "text", "message"), WRONG)
def test_what_is_wrong_is_said_with_the_file_the_judge_and_the_nearest_word(
    tmp_path, monkeypatch, new, old, text, message
):
    monkeypatch.setenv("JUDGE_TEST_KEY", "secret")
    assert old in text
    changed = text.replace(old, new) if old else text + new

    with pytest.raises(ValueError, match=message.replace("[", r"\[").replace("(", r"\(")) as raised:
        load(tmp_path, changed)

    assert str(raised.value).startswith("judges.toml: ")


def test_a_key_that_is_not_in_the_environment_is_named(tmp_path, monkeypatch):
    monkeypatch.delenv("JUDGE_TEST_KEY", raising=False)

    with pytest.raises(ValueError, match="`JUDGE_TEST_KEY` is not set"):
        load(tmp_path, MODERATIONS)


def test_a_key_that_is_none_is_refused_and_not_shown(tmp_path, monkeypatch):
    monkeypatch.setenv("JUDGE_TEST_KEY", "sec\nret")

    with pytest.raises(ValueError, match="what `JUDGE_TEST_KEY` holds is no key") as raised:
        load(tmp_path, MODERATIONS)

    assert "sec" not in str(raised.value)


def test_two_judges_of_one_name_are_refused(tmp_path):
    with pytest.raises(ValueError, match="two judges are named `llama`"):
        load(tmp_path, GUARD + GUARD)


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(ValueError, match=r"cannot read `gone\.toml`"):
        load_judges(tmp_path / "gone.toml")
