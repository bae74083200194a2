import json
import logging

import pytest
import structlog

from gateway.log import configure_logging, redact


@pytest.fixture(autouse=True)
def _logging_as_before():
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    structlog.reset_defaults()
    root.handlers[:], root.level = handlers, level


@pytest.mark.parametrize(
    "name",
    [
        *("authorization", "Authorization", "x-api-key", "first_api_key", "secret", "prompt"),
        *("text", "input", "content", "message", "safety_identifier", "user_message"),
    ],
)
def test_a_value_that_could_be_content_or_a_secret_is_logged_as_its_length(name):
    logged = redact(None, "info", {"event": "request_parsed", name: "hush"})

    assert logged == {"event": "request_parsed", name: "[redacted: 4 chars]"}


def test_content_inside_other_values_is_redacted_too():
    logged = redact(None, "info", {"event": "x", "request": {"items": [{"text": "hush"}]}})

    assert "hush" not in str(logged)


def test_content_hidden_too_deep_is_not_logged():
    nested = {"text": "hush"}
    for _ in range(20):
        nested = {"inner": nested}

    assert "hush" not in str(redact(None, "info", {"event": "x", "request": nested}))


def test_counts_and_ids_stay_readable():
    event = {"event": "x", "request_id": "req_1", "input_tokens": 5, "prompt": None, "message": 3}

    assert redact(None, "info", event) == event


def test_json_lines_go_to_stderr_with_the_requests_id(capsys):
    configure_logging("info", "json")
    with structlog.contextvars.bound_contextvars(request_id="req_1"):
        structlog.get_logger().info("decision_recorded", chars=12)

    out, err = capsys.readouterr()
    assert out == ""
    line = json.loads(err)
    assert (line["event"], line["request_id"], line["chars"]) == ("decision_recorded", "req_1", 12)


@pytest.mark.parametrize("format", ["json", "console"])
def test_a_traceback_shows_no_local_variables(capsys, format):
    configure_logging("info", format)
    prompt = "my very private question"
    try:
        int(prompt[:0])
    except ValueError:
        structlog.get_logger().exception("request_failed")

    err = capsys.readouterr().err
    assert "ValueError" in err
    assert "very private" not in err


def test_lines_of_other_libraries_take_the_same_way(capsys):
    configure_logging("info", "json")
    logging.getLogger("some.library").warning("retrying %s", "soon")

    assert json.loads(capsys.readouterr().err)["event"] == "retrying soon"


def test_lines_below_the_level_are_not_written(capsys):
    configure_logging("error", "json")
    structlog.get_logger().warning("something_happened")

    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(("level", "format"), [("loud", "json"), ("info", "xml")])
def test_an_unknown_level_or_format_is_refused(level, format):
    with pytest.raises(ValueError, match="is not one of"):
        configure_logging(level, format)
