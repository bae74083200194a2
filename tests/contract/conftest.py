"""Gateways for the contract tests: started once where tests can share them."""

from contextlib import ExitStack

import pytest
import structlog

from tests.contract.live import DONE, Gateway, final, thought


@pytest.fixture(scope="session", autouse=True)
def quiet_log():
    """Only errors, in one line each: the default draws local variables, which takes seconds."""
    before = structlog.get_config()
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.format_exc_info,
            structlog.processors.KeyValueRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(40),
    )
    yield
    structlog.configure(**before)


@pytest.fixture(scope="session")
def shared_gateway(tmp_path_factory):
    with Gateway(tmp_path_factory.mktemp("hidden")) as gateway:
        yield gateway


@pytest.fixture(scope="session")
def shared_exposing_gateway(tmp_path_factory):
    with Gateway(tmp_path_factory.mktemp("exposed"), expose_reasoning=True) as gateway:
        yield gateway


@pytest.fixture
def gateway(shared_gateway):
    """A gateway as it comes, whose model thinks and greets unless told otherwise."""
    shared_gateway.script(thought("A greeting."), final("Hello there."), DONE)
    return shared_gateway


@pytest.fixture
def exposing_gateway(shared_exposing_gateway):
    """A gateway whose operator shows callers the chain of thought."""
    shared_exposing_gateway.script(thought("A greeting."), final("Hello there."), DONE)
    return shared_exposing_gateway


@pytest.fixture
def new_gateway(tmp_path):
    """Starts gateways with settings of their own; they stop with the test."""
    with ExitStack() as stack:
        homes = (tmp_path / f"home{number}" for number in range(10))

        def start(runner=None, **settings):
            return stack.enter_context(Gateway(next(homes), runner, **settings))

        yield start
