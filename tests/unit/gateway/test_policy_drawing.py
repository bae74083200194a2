from io import StringIO

import pytest
from rich.console import Console

from gateway.policy_drawing import draw, scale
from policies.explain import Account, Role, RuleAccount
from policies.types import Action, Band, Decision, RuleOutcome, Stage

BANDS = (Band(0.95, Action.BLOCK), Band(0.8, Action.REVIEW), Band(0.5, Action.FLAG))


def scaled(score, bands=BANDS, width=40):
    return [line.plain for line in scale(bands, score, width)]


def test_a_score_fills_the_scale_as_far_as_it_goes():
    assert scaled(0.6) == [
        "━━━━━━━━━━━━━━━━━━━━╋━━━━───────┼─────┼─",
        "                    0.5 flag  0.8 review",
        "                              0.95 block",
    ]


@pytest.mark.parametrize("score", [0.0, None])
def test_nothing_fills_nothing(score):
    assert scaled(score)[0] == "────────────────────┼───────────┼─────┼─"


def test_a_score_of_one_fills_it():
    assert "─" not in scaled(1.0)[0]


@pytest.mark.parametrize("width", [12, 20, 40, 60])
def test_no_line_is_wider_than_the_scale_and_every_band_is_named(width):
    drawn = scaled(0.6, width=width)

    assert len(drawn[0]) == width
    assert all(len(line) <= width for line in drawn)
    assert all(label in "\n".join(drawn) for label in ("0.5 flag", "0.8 review", "0.95 block"))


ACCOUNT = Account(
    Decision(Stage.INPUT, Action.BLOCK, ("weapons-uplift",), (), "acme", "1.0.0", "ab" * 32),
    (
        RuleAccount(
            "weapons-uplift",
            "violence.weapons",
            BANDS,
            Role.DETERMINED,
            0.97,
            RuleOutcome("weapons-uplift", "violence.weapons", 0.97, Action.BLOCK),
            ("counts a strike",),
        ),
        RuleAccount(
            "children",
            "violence.weapons",
            BANDS,
            Role.OUT_OF_SCOPE,
            0.97,
            None,
            ("for age groups minor, not [unknown]",),
        ),
    ),
)


def drawn(width, **options):
    written = StringIO()
    draw(ACCOUNT, Console(file=written, width=width, highlight=False, **options))
    return written.getvalue()


def test_each_rule_is_drawn_with_what_came_of_it():
    said = drawn(100)

    assert said.startswith("block at input, because of `weapons-uplift`\n")
    assert "● weapons-uplift  determined the decision\n" in said
    assert "    violence.weapons scored 0.97, calls for block\n" in said
    assert "    counts a strike\n" in said


def test_who_a_rule_is_not_for_needs_no_scale_and_brackets_are_no_markup():
    said = drawn(100).partition("children")[2]

    assert "┼" not in said
    assert "not [unknown]" in said


@pytest.mark.parametrize("width", [20, 40, 80, 200])
def test_nothing_is_wider_than_the_terminal(width):
    assert max(map(len, drawn(width).splitlines())) <= width


def test_a_terminal_gets_colors():
    assert "\x1b[1;31mblock at input" in drawn(100, force_terminal=True, color_system="standard")
