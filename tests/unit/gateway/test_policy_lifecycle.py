import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.errors import Conflict, Forbidden, GatewayError
from gateway.policy_lifecycle import WAYS, Actor, State, Step, after, operator
from gateway.types import Scope

EDITOR = Actor("editor", frozenset({Scope.POLICY_EDITOR}))
APPROVER = Actor("approver", frozenset({Scope.POLICY_APPROVER}))
ADMIN = Actor("admin", frozenset({Scope.ADMIN}))
BOTH = Actor("both", EDITOR.scopes | APPROVER.scopes)
CALLER = Actor("caller", frozenset({Scope.CALLER, Scope.REVIEWER, Scope.AUDITOR}))

# Step, who may take it, from where, where to.
TABLE = {
    Step.PROPOSE: (EDITOR, "draft", "proposed"),
    Step.APPROVE: (APPROVER, "proposed", "approved"),
    Step.REJECT: (APPROVER, "proposed approved", "rejected"),
    Step.WITHDRAW: (EDITOR, "draft proposed approved", "withdrawn"),
    Step.ACTIVATE: (APPROVER, "approved", "active"),
    Step.INSTALL: (ADMIN, "draft proposed approved superseded rolled_back", "active"),
    Step.RESTORE: (APPROVER, "superseded rolled_back", "active"),
    Step.SUPERSEDE: (APPROVER, "active", "superseded"),
    Step.ROLL_BACK: (APPROVER, "active", "rolled_back"),
    Step.RETIRE: (APPROVER, "active", "superseded"),
}


def take(step, state, actor=ADMIN, author="somebody"):
    return after(step, State(state), actor=actor, author=author)


@pytest.mark.parametrize("step", Step)
@pytest.mark.parametrize("state", State)
def test_a_step_leads_where_the_table_says_and_from_nowhere_else(step, state):
    _, origins, target = TABLE[step]

    if state in origins.split():
        assert take(step, state) == target
    else:
        with pytest.raises(Conflict, match=f"this version is `{state}`"):
            take(step, state)


@pytest.mark.parametrize("step", Step)
def test_only_who_has_its_scope_may_take_a_step(step):
    entitled, origins, target = TABLE[step]
    state = origins.split()[0]

    assert take(step, state, entitled) == target
    for actor in {EDITOR, APPROVER, CALLER} - {entitled}:
        with pytest.raises(Forbidden, match="lacks the scope"):
            take(step, state, actor)


@pytest.mark.parametrize("actor", [ADMIN, BOTH, operator(), operator("alice")])
def test_nobody_approves_what_they_drafted(actor):
    with pytest.raises(Forbidden) as refused:
        take(Step.APPROVE, "proposed", actor, author=actor.id)

    assert refused.value.code == "author_cannot_approve"


def test_two_operators_are_two_people():
    assert take(Step.APPROVE, "proposed", operator("bob"), author=operator("alice").id) == (
        "approved"
    )


def test_who_lacks_the_scope_is_not_told_the_state():
    with pytest.raises(Forbidden):
        take(Step.ACTIVATE, "rejected", EDITOR)


@settings(deadline=None)
@given(st.lists(st.tuples(st.sampled_from(list(Step)), st.sampled_from([ADMIN, BOTH, EDITOR]))))
def test_what_was_turned_down_never_comes_into_force(steps):
    """Whatever is tried, in whatever order."""
    state, turned_down = State.DRAFT, False
    for step, actor in steps:
        try:
            state = after(step, state, actor=actor, author="editor")
        except GatewayError:
            continue
        assert not turned_down
        turned_down = state in {State.REJECTED, State.WITHDRAWN}


@settings(deadline=None)
@given(st.lists(st.sampled_from([step for step in Step if step is not Step.INSTALL])))
def test_without_an_approval_nothing_comes_into_force_but_from_the_command_line(steps):
    state, approved = State.DRAFT, False
    for step in steps:
        try:
            state = after(step, state, actor=ADMIN, author="editor")
        except Conflict:
            continue
        approved = approved or step is Step.APPROVE
        assert approved or state is not State.ACTIVE


def test_every_state_can_be_reached():
    assert {way.target for way in WAYS.values()} | {State.DRAFT} == set(State)
