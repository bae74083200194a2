"""A judge pack from its folder to a measured policy, with a judge that reads it."""

import json
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from classifiers.judges import safeguard
from classifiers.judges.safeguard import SafeguardOptions
from classifiers.judges.written_policy import read_policy
from classifiers.types import Source
from gateway.cli import app
from policies.lint import lint
from policies.load import load_policy
from policies.load import read_policy as read_policy_file
from tests.contract.engine import Engine
from tests.unit.classifiers.judges.tiny_safeguard import (
    TEMPLATE,
    rendered,
    reply,
    taught,
    tokenizer_of,
)

SPAM = Path(__file__).parents[3] / "examples" / "packs" / "spam"
LURES = (
    "click",
    "winner",
    "pay ",
    "sale",
    "buy ",
    "triple",
    "password",
    "earn",
    "call this number",
)
NONCE = "0123456789abcdef"
SHORT = "\n\n".join(
    f"**{part}**\n\n{part.lower()}"
    for part in ("INSTRUCTIONS", "DEFINITIONS", "VIOLATES", "SAFE", "EXAMPLES")
)
TWO = 'text,label\n"You won. Claim it.",1\n"See you at nine.",0\n'


def ostiary(*arguments):
    return CliRunner().invoke(app, ["policy", *map(str, arguments)])


def imported(folder, pack=SPAM):
    done = ostiary("import-pack", pack, "--out", folder)
    assert done.exit_code == 0, done.output
    return done


def judges(folder, where, monkeypatch):
    (folder / "judges.toml").write_text(
        f'[[judge]]\nname = "safeguard"\nkind = "safeguard"\npolicies = ["spam.md"]\n{where}\n'
    )
    monkeypatch.setenv("OSTIARY_JUDGES_FILE", str(folder / "judges.toml"))
    monkeypatch.setenv("OSTIARY_CLASSIFIERS", '["patterns"]')


def by_words(engine, sock):
    """Call whatever holds a word of a lure spam: a judge that errs on both sides."""
    policy, content = (message["content"] for message in engine.asked[-1]["messages"][:2])
    assert "V3: Pretends to be a bank" in policy
    violation = int(any(word in content.lower() for word in LURES))
    said = json.dumps({"violation": violation, "rationale": "by its words"})
    choice = {"index": 0, "message": {"content": said}, "finish_reason": "stop"}
    body = json.dumps({"choices": [choice]}).encode()
    head = f"HTTP/1.1 200 OK\r\ncontent-length: {len(body)}\r\nconnection: close\r\n\r\n"
    sock.sendall(head.encode() + body)


def test_a_pack_becomes_a_policy_without_findings_that_says_what_its_judge_has_to_read(tmp_path):
    done = imported(tmp_path)

    assert [Path(line).name for line in done.stdout.split()] == [
        "spam.md",
        "spam.yaml",
        "spam.csv",
        "floors.toml",
    ]
    assert 'add "spam.md" to the policies of the judge `safeguard`' in done.stderr
    assert lint(read_policy_file(tmp_path / "spam.yaml")) == ()
    (rule,) = load_policy(tmp_path / "spam.yaml").rules
    assert (rule.category, set(rule.classifiers)) == ("custom/spam", {"safeguard"})
    assert read_policy("spam.md", tmp_path).category == "custom/spam"


def test_what_was_imported_is_measured_with_its_judge(tmp_path, monkeypatch):
    imported(tmp_path)
    with Engine() as engine:
        engine.play(by_words)
        judges(tmp_path, f'url = "{engine.url}"\nmodel = "m"\nlogprobs = false', monkeypatch)

        done = ostiary("test", tmp_path / "spam.yaml", "--json")

    rows = [json.loads(line) for line in done.stdout.splitlines()]
    (whole,) = [row for row in rows if row.get("rule", "") is None]
    assert [row["passed"] for row in rows if "test" in row] == [True] * 7
    assert (whole["caught"], whole["positives"]) == (9, 12)
    assert (whole["flagged"], whole["negatives"]) == (1, 12)  # the button in the manual
    assert done.exit_code == 1  # 9 of 12 is below the floor that was written


def test_a_floor_that_is_kept_is_no_failure(tmp_path, monkeypatch):
    imported(tmp_path)
    (tmp_path / "examples" / "floors.toml").write_text("[spam]\nrecall = 0.7\n")
    with Engine() as engine:
        engine.play(by_words)
        judges(tmp_path, f'url = "{engine.url}"\nmodel = "m"\nlogprobs = false', monkeypatch)

        done = ostiary("test", tmp_path / "spam.yaml")

    assert done.exit_code == 0
    assert "spam  9/12  75 % (47 to 91)" in done.stdout


def test_without_its_judge_a_policy_that_was_imported_lets_nothing_pass(tmp_path, monkeypatch):
    imported(tmp_path)
    monkeypatch.setenv("OSTIARY_CLASSIFIERS", '["patterns"]')

    done = ostiary("test", tmp_path / "spam.yaml")

    assert done.exit_code == 1
    assert "24 for want of an answer" in done.stdout


@pytest.fixture
def small(tmp_path, monkeypatch):
    """A pack of two examples, and gpt-oss in small that learnt their labels by heart."""
    pack, out = tmp_path / "spam", tmp_path / "out"
    pack.mkdir()
    (pack / "policy.md").write_text(SHORT)
    (pack / "two.csv").write_text(TWO)
    imported(out, pack)
    monkeypatch.setattr(safeguard, "nonce_for", lambda *texts: NONCE)
    written = read_policy("spam.md", out)
    asked = [
        safeguard.messages(
            safeguard._Case(0, Source.USER, written, text, "", ""), SafeguardOptions()
        )
        for text in ("You won. Claim it.", "See you at nine.")
    ]
    answers = [reply(1) + "<|return|>", reply(0) + "<|return|>"]
    texts = [message.text for messages in asked for message in messages]
    tokenizer = tokenizer_of(*texts, *answers, TEMPLATE)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    lessons = [(rendered(tokenizer, each), said) for each, said in zip(asked, answers, strict=True)]
    taught(tokenizer, lessons).save_pretrained(tmp_path / "model")
    tokenizer.save_pretrained(tmp_path / "model")
    yield out, tmp_path / "model"
    torch.set_num_threads(threads)


def test_gpt_oss_in_small_reads_the_pack_and_finds_what_is_labelled(small, monkeypatch):
    out, model = small
    judges(out, f'runner = "in-process"\nmodel = "{model}"', monkeypatch)

    done = ostiary("test", out / "spam.yaml")

    assert done.exit_code == 0, done.output
    assert "spam.yaml 1.0.0: 5 passed, 0 failed" in done.stdout  # two of them by its texts
    assert "all   1/1  100 %" in done.stdout


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("policy.md", "# Spam\n\n## INSTRUCTIONS\n\nx\n", r"policy.md:6: there is no part DEFIN"),
        ("two.csv", "text,label\na,1\nb,perhaps\n", "two.csv:3: a label is 1 or 0, not `perhaps`"),
        ("two.csv", "body,label\na,1\n", "two.csv:1: there is no column `text`"),
        ("more.csv", TWO, "a pack has one labelled CSV, and here is more.csv, two.csv"),
        ("policy.md", None, "policy.md: no such file"),
    ],
)
def test_a_pack_that_cannot_be_imported_is_named_and_nothing_is_written(
    tmp_path, name, content, message
):
    pack, out = tmp_path / "spam", tmp_path / "out"
    pack.mkdir()
    (pack / "policy.md").write_text((SPAM / "policy.md").read_text())
    (pack / "two.csv").write_text(TWO)
    if content is None:
        (pack / name).unlink()
    else:
        (pack / name).write_text(content)

    done = ostiary("import-pack", pack, "--out", out)

    assert done.exit_code == 2
    assert message in done.stderr
    assert not out.exists()


def test_nothing_is_overwritten(tmp_path):
    imported(tmp_path)
    before = (tmp_path / "spam.yaml").read_bytes()

    done = ostiary("import-pack", SPAM, "--out", tmp_path)

    assert done.exit_code == 2
    assert "spam.md: the file is there already" in done.stderr
    assert (tmp_path / "spam.yaml").read_bytes() == before


def test_floors_that_are_there_are_added_to(tmp_path):
    (tmp_path / "examples").mkdir()
    (tmp_path / "examples" / "floors.toml").write_text("[other]\nrecall = 1.0\n")

    imported(tmp_path)

    assert (tmp_path / "examples" / "floors.toml").read_text().startswith("[other]\nrecall = 1.0\n")
    assert "[spam]" in (tmp_path / "examples" / "floors.toml").read_text()
