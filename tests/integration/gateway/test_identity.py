import asyncio
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import text

from gateway.audit.queries import tail
from gateway.errors import BadRequest, StoreUnavailable, Unauthenticated
from gateway.identity import Identity, NewKey, mint, prefix_of
from gateway.store import keys
from gateway.types import Scope

pytestmark = pytest.mark.integration

PEPPER = b"p" * 32
BOOTSTRAP = "bootstrap-key-0123456789"
NEW = NewKey("shop", "checkout", frozenset({Scope.CALLER, Scope.AUDITOR}))


class Today:
    def __init__(self):
        self.moment = datetime(2026, 1, 1, tzinfo=UTC)

    def __call__(self):
        return self.moment


@pytest.fixture
def today():
    return Today()


@pytest.fixture
def identity(database, clock, today):
    return Identity(database, PEPPER, BOOTSTRAP, 60, 6000, monotonic=clock.monotonic, now=today)


@pytest.fixture
def hide_keys(database):
    async def hide():
        async with database.write() as connection:
            await connection.execute(text("ALTER TABLE api_keys RENAME TO hidden"))

    return hide


async def refused(identity, authorization):
    with pytest.raises(Unauthenticated) as error:
        await identity.authenticate(authorization)
    return str(error.value)


async def test_a_created_key_names_its_principal(identity):
    key = await identity.create(NEW, actor="cli")

    principal = await identity.authenticate(f"Bearer {key}")

    assert principal.key_id == prefix_of(key)
    assert (principal.project, principal.scopes) == ("shop", NEW.scopes)
    assert (principal.requests_per_minute, principal.tokens_per_minute) == (60, 6000)


async def test_the_database_holds_nothing_of_a_keys_secret(database, identity):
    key = await identity.create(NEW, actor="cli")
    secret = key.split("_")[3]

    [stored] = await keys.listed(database)

    assert secret not in repr(stored)
    assert secret.encode() not in stored.secret_hmac


async def test_every_reason_to_refuse_a_key_reads_the_same(identity, today):
    revoked = await identity.create(NEW, actor="cli")
    await identity.revoke(prefix_of(revoked), actor="cli")
    soon = today.moment + timedelta(seconds=1)
    expired = await identity.create(NewKey("shop", "x", NEW.scopes, expires_at=soon), actor="cli")
    today.moment = soon
    other_pepper = Identity(identity.database, b"q" * 32)
    foreign = await other_pepper.create(NEW, actor="cli")

    reasons = {
        await refused(identity, f"Bearer {key}")
        for key in (revoked, expired, foreign, mint("live")[0], "nonsense", "x" * 600)
    }

    assert reasons == {"the API key is not valid"}


@pytest.mark.parametrize("header", [None, ""])
async def test_a_missing_header_says_how_to_send_a_key(identity, header):
    assert "Authorization: Bearer" in await refused(identity, header)


async def test_the_scheme_must_be_bearer_in_any_case(identity):
    key = await identity.create(NEW, actor="cli")

    assert (await identity.authenticate(f"bEaReR  {key} ")).project == "shop"
    assert await refused(identity, f"Basic {key}") == "the API key is not valid"


async def test_the_bootstrap_key_is_an_admins_and_needs_no_database(identity, hide_keys):
    await hide_keys()

    principal = await identity.authenticate(f"Bearer {BOOTSTRAP}")

    assert (principal.key_id, principal.project) == ("bootstrap", "default")
    assert all(principal.may(scope) for scope in Scope)


async def test_without_a_bootstrap_key_none_is_accepted(database):
    assert await refused(Identity(database, PEPPER), "Bearer ") == "the API key is not valid"


async def test_a_bootstrap_key_that_could_be_guessed_is_refused_at_start(database):
    with pytest.raises(ValueError, match="at least 20 characters"):
        Identity(database, PEPPER, "short")


async def test_a_key_revoked_elsewhere_is_refused_within_a_second(database, identity, clock):
    key = await identity.create(NEW, actor="cli")
    await identity.authenticate(f"Bearer {key}")
    elsewhere = Identity(database, PEPPER)

    await elsewhere.revoke(prefix_of(key), actor="cli")
    clock.now += 1.0

    assert await refused(identity, f"Bearer {key}") == "the API key is not valid"


async def test_a_key_is_looked_up_once_a_second(identity, clock, hide_keys):
    key = await identity.create(NEW, actor="cli")
    await identity.authenticate(f"Bearer {key}")
    await hide_keys()
    clock.now += 0.9

    assert (await identity.authenticate(f"Bearer {key}")).project == "shop"


async def test_without_the_database_a_known_key_is_refused_within_a_second(
    identity, clock, hide_keys
):
    key = await identity.create(NEW, actor="cli")
    await identity.authenticate(f"Bearer {key}")
    await hide_keys()
    clock.now += 1.0

    with pytest.raises(StoreUnavailable):
        await identity.authenticate(f"Bearer {key}")


async def test_a_made_up_key_is_refused_without_the_database(identity, hide_keys):
    await hide_keys()

    assert await refused(identity, "Bearer ost_live_made_up_key") == "the API key is not valid"


async def test_a_caller_who_leaves_does_not_take_the_answer_from_the_others(identity):
    key = await identity.create(NEW, actor="cli")
    leaving, staying = (
        asyncio.create_task(identity.authenticate(f"Bearer {key}")) for _ in range(2)
    )
    await asyncio.sleep(0)
    leaving.cancel()

    assert (await staying).project == "shop"


async def test_a_key_expires_while_it_is_remembered(identity, today):
    soon = today.moment + timedelta(milliseconds=200)
    key = await identity.create(NewKey("shop", "x", NEW.scopes, expires_at=soon), actor="cli")
    await identity.authenticate(f"Bearer {key}")
    today.moment = soon

    assert await refused(identity, f"Bearer {key}") == "the API key is not valid"


async def test_creating_and_revoking_are_in_the_log(database, identity):
    prefix = prefix_of(await identity.create(NEW, actor="cli"))
    assert await identity.revoke(prefix, actor="adminkey")
    assert not await identity.revoke(prefix, actor="adminkey")
    assert not await identity.revoke("unknown", actor="adminkey")

    created, revoked = await tail(database, 10)

    assert (created["type"], created["key"]["id"], created["actor"]) == (
        "key.created",
        prefix,
        {"key": "cli"},
    )
    assert (revoked["type"], revoked["key"]["id"]) == ("key.revoked", prefix)


async def test_a_key_that_cannot_be_recorded_is_not_made(database, identity, log_away):
    key = await identity.create(NEW, actor="cli")
    async with log_away():
        with pytest.raises(StoreUnavailable):
            await identity.create(NEW, actor="cli")
        with pytest.raises(StoreUnavailable):
            await identity.revoke(prefix_of(key), actor="cli")

    [kept] = await keys.listed(database)
    assert (kept.prefix, kept.revoked_at) == (prefix_of(key), None)


async def test_keys_are_listed_by_project_newest_first(database, identity, today):
    prefixes = []
    for project in ("shop", "bank", "shop"):
        today.moment += timedelta(seconds=1)
        key = await identity.create(NewKey(project, "x", NEW.scopes), actor="cli")
        prefixes.append(prefix_of(key))

    assert [key.prefix for key in await keys.listed(database)] == prefixes[::-1]
    assert [key.prefix for key in await keys.listed(database, "shop")] == [prefixes[2], prefixes[0]]


@pytest.mark.parametrize(
    ("changes", "param"),
    [
        ({"project": "a b"}, "project"),
        ({"project": ""}, "project"),
        ({"name": ""}, "name"),
        ({"scopes": frozenset()}, "scopes"),
        ({"environment": "staging"}, "environment"),
        ({"requests_per_minute": 0}, "requests_per_minute"),
        ({"tokens_per_minute": 10**10}, "tokens_per_minute"),
    ],
)
async def test_a_key_out_of_range_is_refused_by_field(identity, changes, param):
    fields = {"project": "shop", "name": "x", "scopes": NEW.scopes} | changes

    with pytest.raises(BadRequest) as error:
        await identity.create(NewKey(**fields), actor="cli")

    assert error.value.param == param
