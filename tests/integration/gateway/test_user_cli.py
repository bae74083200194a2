"""`ostiary user`, as it is called beside a gateway."""

import asyncio
import json
from datetime import UTC, datetime, timedelta

import pytest
from typer.testing import CliRunner

from gateway.audit.queries import tail
from gateway.audit.records import pseudonym
from gateway.cli import app
from gateway.settings import Settings
from gateway.store import strikes
from gateway.store.keyfile import read_or_create
from gateway.store.session import Database
from gateway.store.strikes import Strike

pytestmark = pytest.mark.integration

POLICY = """apiVersion: ostiary/v1
kind: Policy
metadata: {id: acme, version: 1.0.0, owner: trust-and-safety@acme.example}
categories:
  secrets.credential: {severity: high, rationale: "a credential must not leave"}
rules:
  - id: secret-out
    category: secrets.credential
    stages: [output]
    bands:
      - {gte: 0.9, actions: [block, strike]}
enforcement:
  strikes:
    window: 30d
    ladder:
      - {at: 1, do: warn}
      - {at: 3, do: suspend, for: 7d}
      - {at: 5, do: deactivate}
"""


@pytest.fixture
def home(tmp_path, monkeypatch):
    file = tmp_path / "acme.yaml"
    file.write_text(POLICY)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OSTIARY_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("OSTIARY_POLICY", str(file))
    return tmp_path / "home"


@pytest.fixture
def secret(home):
    return read_or_create(home / "keys" / "pseudonym")


def in_database(ask):
    async def run():
        database = Database(Settings().resolved_database_url)
        try:
            await database.migrate()
            return await ask(database)
        finally:
            await database.aclose()

    return asyncio.run(run())


@pytest.fixture
def strike(secret):
    """Stores strikes that were made so many days ago; returns the pseudonym."""

    def make(user, *days, project="shop"):
        subject = pseudonym(secret, project, user)

        async def store(database):
            for number, day in enumerate(days):
                moment = datetime.now(UTC) - timedelta(days=day)
                one = Strike(
                    f"req_{user}_{number}", "secret-out", f"dec_{number}", "acme", project,
                    subject, moment,
                )  # fmt: skip
                await strikes.add(database, [one], [], lambda before: None)

        in_database(store)
        return subject

    return make


def user(*arguments):
    return CliRunner().invoke(app, ["user", *arguments], catch_exceptions=False)


def as_json(*arguments):
    done = user(*arguments, "--json")
    return done.exit_code, [json.loads(line) for line in done.stdout.splitlines()]


def test_who_has_no_strikes_is_served(secret):
    done = user("show", "--project", "shop", "--safety-identifier", "nobody")

    assert done.exit_code == 0
    assert done.stdout.endswith(": none, 0 strikes counting\n")


def test_a_suspension_is_shown_with_its_span_and_its_strikes(strike):
    subject = strike("user-1", 6, 5, 4)

    status, [shown] = as_json("show", "--project", "shop", "--safety-identifier", "user-1")

    assert (status, shown["subject"]) == (1, subject)
    assert (shown["sanction"], shown["strikes"]) == ("suspend", 3)
    since, until = (datetime.fromisoformat(shown[name]) for name in ("since", "until"))
    assert until - since == timedelta(days=7)
    assert shown["since"] == shown["history"][0]["struck_at"]


def test_people_read_one_line_and_a_table(strike):
    subject = strike("user-1", 1)

    done = user("show", "--project", "shop", "--subject", subject)

    first, *table = done.stdout.splitlines()
    assert first.startswith(f"{subject}: warn since ")
    assert first.endswith(", 1 strike counting")
    assert "secret-out" in "\n".join(table)


def test_a_deactivation_is_shown_when_its_strikes_count_no_more(strike):
    subject = strike("user-1", 104, 103, 102, 101, 100)

    status, [shown] = as_json("show", "--project", "shop", "--subject", subject)

    assert (status, shown["sanction"], shown["strikes"]) == (1, "deactivate", 0)


def test_the_harshest_are_listed_first_and_other_projects_not_at_all(strike):
    strike("user-1", 1)
    strike("user-2", 4, 3, 2)
    strike("user-3", 31)
    strike("user-4", 1, project="bank")

    assert [row["sanction"] for row in as_json("list", "--project", "shop")[1]] == [
        "suspend",
        "warn",
    ]
    _, [only] = as_json("list", "--project", "shop", "--sanction", "suspend")
    assert only["strikes"] == 3


def test_reinstating_reverses_the_strikes_and_keeps_them(strike):
    subject = strike("user-1", 4, 3, 2)
    who = ("--project", "shop", "--subject", subject)

    status, [done] = as_json("reinstate", *who, "--reason", "a false positive", "--as", "alice")

    assert (status, done["reversed"]) == (0, 3)
    status, [shown] = as_json("show", *who)
    assert (status, shown["sanction"], shown["strikes"]) == (0, "none", 0)
    assert all(strike["reversed_at"] for strike in shown["history"])
    [entry] = in_database(lambda database: tail(database, 10))
    assert (entry["type"], entry["actor"]) == ("enforcement.reversed", {"key": "cli:alice"})
    assert entry["reversal"]["reason"] == "a false positive"
    assert user("reinstate", *who, "--reason", "again").exit_code == 1


@pytest.mark.parametrize(
    "named",
    [
        (),
        ("--safety-identifier", "a", "--subject", "ab" * 16),
        ("--subject", "user-1"),
        ("--safety-identifier", ""),
    ],
)
def test_an_end_user_is_named_in_one_of_two_ways(secret, named):
    assert user("show", *named).exit_code == 2


def test_without_the_secret_an_identifier_cannot_be_looked_up(home):
    done = user("show", "--safety-identifier", "user-1")

    assert (done.exit_code, "--subject" in done.stderr) == (2, True)
    assert not (home / "keys" / "pseudonym").exists()


def test_a_policy_that_cannot_be_used_is_named(secret, tmp_path):
    (tmp_path / "acme.yaml").write_text(POLICY.replace("window: 30d", "window: soon"))

    done = user("list")

    assert done.exit_code == 1
    assert "acme.yaml:14:13: `window`" in done.stderr
