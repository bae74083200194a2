import socket

import pytest

from gateway.serve import CANNOT_START, WRONG_SETTINGS

pytestmark = [pytest.mark.integration, pytest.mark.timeout(120)]

NOWHERE = "postgresql://nobody:hush@127.0.0.1:1/nothing"


@pytest.fixture
def refusal(tmp_path, new_gateway):
    """Returns the exit status and the lines of a gateway that does not start."""

    async def start(**settings):
        url = settings.pop("database_url", f"sqlite:///{tmp_path / 'ostiary.db'}")
        gateway = new_gateway(url, **settings)
        gateway.spawn()
        status = await gateway.wait()
        return status, gateway.stderr.read_text().splitlines()

    return start


async def test_a_policy_that_does_not_parse_is_refused_with_line_and_column(tmp_path, refusal):
    policy = tmp_path / "policy.yaml"
    policy.write_text("apiVersion: ostiary/v1\nkind: [Policy\n")

    status, [line] = await refusal(policy=str(policy))

    assert status == CANNOT_START
    assert line.startswith(f"cannot start: {policy}:3:1: ")


@pytest.mark.parametrize(
    ("setting", "value", "said"),
    [
        ("port", "99999", "OSTIARY_PORT: input should be less than or equal to 65535"),
        ("log_level", "loud", "OSTIARY_LOG_LEVEL: input should be 'debug', 'info'"),
        ("classifiers", "patterns", 'error parsing value for field "classifiers"'),
        ("classifiers", '["palmistry"]', "cannot start: unknown classifier `palmistry`"),
        ("bootstrap_key", "short", "cannot start: `bootstrap_key` must have at least 20"),
        ("database_url", "mysql://localhost/x", "cannot start: `mysql` is not a database"),
        ("redis_url", "localhost", "cannot start: Redis URL must specify one of"),
        ("vault_key", "hush", "cannot start: a key in `vault_key` must have 32 bytes"),
    ],
)
async def test_a_wrong_setting_is_refused_in_one_line(refusal, setting, value, said):
    status, [line] = await refusal(**{setting: value})

    assert status == WRONG_SETTINGS
    assert line.startswith(said)


async def test_a_database_that_cannot_be_reached_is_refused_in_one_line(refusal):
    status, [line] = await refusal(database_url=NOWHERE)

    assert status == CANNOT_START
    assert line == "cannot start: the database cannot be used: ConnectionRefusedError"


async def test_a_port_in_use_is_refused_in_one_line(refusal):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        status, [line] = await refusal(port=str(taken.getsockname()[1]))

    assert status == CANNOT_START
    assert "address already in use" in line


async def test_a_settings_file_that_is_not_toml_is_refused_in_one_line(tmp_path, refusal):
    (tmp_path / "ostiary.toml").write_text("port =\n")

    status, [line] = await refusal()

    assert status == WRONG_SETTINGS
    assert line.startswith("ostiary.toml: ")
