import pytest

from gateway.api.called import Called
from gateway.errors import BadRequest

NO_NAME = (None, "name")


def test_a_result_is_of_the_function_that_was_called():
    called = Called()
    called.made("c1", "web", "p")
    called.made("c2", "mail", "p")

    assert called.answered("c2", "p", NO_NAME) == "mail"
    assert called.answered("c1", "p", ("web", "name")) == "web"


def test_an_id_may_be_used_again_once_its_call_was_answered():
    called = Called()
    for name in ("web", "mail"):
        called.made("call_1", name, "p")
        assert called.answered("call_1", "p", NO_NAME) == name


@pytest.mark.parametrize(
    ("call_id", "name", "param"),
    [("other", NO_NAME, "p"), (None, NO_NAME, "p"), ("c1", ("mail", "n"), "n")],
)
def test_a_result_that_answers_no_call_is_refused(call_id, name, param):
    called = Called()
    called.made("c1", "web", "p")

    with pytest.raises(BadRequest) as refused:
        called.answered(call_id, "p", name)

    assert (refused.value.param, refused.value.code) == (param, "invalid_tool_result")
    assert called.answered("c1", "p", NO_NAME) == "web"  # what was refused has used nothing up


def test_a_second_result_and_a_second_call_while_the_first_waits_are_refused():
    called = Called()
    called.made("c1", "web", "p")
    with pytest.raises(BadRequest, match="waits for its result"):
        called.made("c1", "web", "p")
    called.answered("c1", "p", NO_NAME)

    with pytest.raises(BadRequest, match="there is a result of this call already"):
        called.answered("c1", "p", NO_NAME)
