import sys
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.terminal import entry_line, indented, rows, shown

REWRITES = "rm -rf /\x1b[2K\x1b[1Als\r\x08\x9b2J\x07\x7f\u202ecod\u2066.\u200f"
ESCAPED = r"rm -rf /\x1b[2K\x1b[1Als\x0d\x08\x9b2J\x07\x7f\u202ecod\u2066.\u200f"


@given(st.text())
def test_nothing_that_is_shown_controls_a_terminal(text):
    left = {each for each in shown(text) if unicodedata.category(each) == "Cc"}

    assert left <= {"\n", "\t"}
    assert not any(
        unicodedata.bidirectional(each) in {"LRE", "RLE", "LRO", "RLO", "PDF"}
        or unicodedata.bidirectional(each) in {"LRI", "RLI", "FSI", "PDI"}
        or each in "\u061c\u200e\u200f"
        for each in shown(text)
    )


@pytest.mark.parametrize("text", ["one\n\ttwo", "naïve 日本 🙂 עברית", r"\x1b"])
def test_other_text_is_shown_as_it_is(text):
    assert shown(text) == text


@pytest.mark.parametrize("terminal", [False, True])
def test_what_a_call_says_is_printed_with_its_controls_escaped(terminal, capsys, monkeypatch):
    monkeypatch.setattr(sys.stdout, "isatty", lambda: terminal)
    monkeypatch.setenv("COLUMNS", "200")

    indented(f"run: {REWRITES}")

    assert capsys.readouterr().out == f"    run: {ESCAPED}\n"


@pytest.mark.parametrize("terminal", [False, True])
def test_a_cell_of_a_table_is_printed_with_its_controls_escaped(terminal, capsys, monkeypatch):
    monkeypatch.setattr(sys.stdout, "isatty", lambda: terminal)
    monkeypatch.setenv("COLUMNS", "200")

    rows([{"tool": REWRITES, "tags": [REWRITES]}], as_json=False)

    printed = capsys.readouterr().out
    assert printed.count(ESCAPED) == 2
    assert REWRITES not in printed


@pytest.mark.parametrize("text", ["[red]ls[/red]", r"\[red]ls\[/red]", ":smile:", "ls\\"])
def test_a_cell_of_a_table_holds_no_markup(text, capsys):
    rows([{"tool": text, "project": "shop"}], as_json=False)

    assert capsys.readouterr().out.splitlines()[1].split() == [text, "shop"]


def test_a_line_of_the_log_has_its_controls_escaped():
    entry = {
        "seq": 1,
        "recorded_at": "2026-07-01T12:00:00.000Z",
        "type": "decision",
        "outcome": {"reason": REWRITES},
    }

    assert entry_line(entry).endswith(ESCAPED)
