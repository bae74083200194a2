"""The composition root: the only file that builds things. Read it as a wiring diagram."""

from __future__ import annotations

import asyncio
import hmac
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from importlib.metadata import version
from pathlib import Path

from fastapi import FastAPI
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from classifiers.panel import Panel
from classifiers.registry import build
from gateway.alerting import Alerts
from gateway.api import (
    chat,
    custody,
    health,
    models,
    moderations,
    organization,
    responses,
    safety,
    stopped,
)
from gateway.api import policies as policies_api
from gateway.api import reviews as reviews_api
from gateway.api.middleware import RequestIdentity
from gateway.api.problems import error_response
from gateway.api.services import Services
from gateway.audit.expiry import Expiry
from gateway.audit.heads import open_heads
from gateway.audit.ledger import Ledger
from gateway.audit.log_index import LogIndex
from gateway.audit.log_key import open_log_keys
from gateway.audit.log_tree import LogTree
from gateway.audit.spool import Spool
from gateway.audit.sweeper import Sweeper
from gateway.audit.vault import Vault, open_vault
from gateway.audit.witnesses import Witnesses, parse_place
from gateway.consequences import Consequences
from gateway.egress import Egress, networks
from gateway.enforcement import Enforcement
from gateway.errors import GatewayError, MethodNotAllowed, NotFound
from gateway.identity import Identity
from gateway.judging import open_judges, open_probes, open_reviewer
from gateway.limits import Limits, open_limits
from gateway.metrics import Metrics
from gateway.oversight import Oversight
from gateway.pipeline import Pipeline
from gateway.policy_files import LastGood
from gateway.policy_news import PolicyNews
from gateway.policy_registry import PolicyRegistry
from gateway.policy_signing import open_trust
from gateway.policy_source import PolicySource
from gateway.policy_witness import PolicyWitness
from gateway.reviewing import Reviews
from gateway.sealing import Sealer
from gateway.secrecy import read_canaries
from gateway.settings import Settings, UpstreamMode
from gateway.stopping import Stops
from gateway.store.keyfile import read_or_create
from gateway.store.session import Database
from gateway.webhook_endpoints import read_endpoints
from gateway.webhooks import Webhooks
from model_runner.types import Runner
from policies.testing import judge_of

_ROUTERS = (
    moderations.router,
    models.router,
    policies_api.router,
    organization.router,
    reviews_api.router,
    custody.router,
    safety.router,
    stopped.router,
    health.router,
)


def create_app(settings: Settings, runner: Runner | None = None) -> FastAPI:
    """Return the application; nothing is opened before its lifespan starts.

    Args:
        settings: As read once, at start.
        runner: Used instead of the one that `settings` asks for (tests, embedding).
    """
    metrics = Metrics()

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with open_services(settings, metrics, runner) as services:
            app.state.services = services
            yield

    app = FastAPI(
        title="Ostiary",
        version=version("ostiary"),
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        redirect_slashes=False,
    )
    app.router.routes.extend([responses.route, chat.route])
    for router in _ROUTERS:
        app.include_router(router)
    app.add_exception_handler(HTTPException, _no_such_route)
    app.add_middleware(RequestIdentity, metrics=metrics)
    return app


@asynccontextmanager
async def open_services(
    settings: Settings, metrics: Metrics, runner: Runner | None = None
) -> AsyncIterator[Services]:
    """Build everything, in the order in which things need each other, and close it again."""
    async with AsyncExitStack() as stack:
        database = Database(settings.resolved_database_url)
        database.stale_s = settings.stale_s
        stack.push_async_callback(database.aclose)
        await database.migrate()
        log_tree, witnesses = _open_log_tree(settings, database, stack)
        ledger = await _open_ledger(settings, database, stack)
        await log_tree.start()
        model = runner if runner is not None else await asyncio.to_thread(open_runner, settings)
        stack.push_async_callback(model.aclose)
        panel = await _open_panel(settings, model, stack)
        registry, policies = await _open_policies(settings, database, panel, ledger, stack)
        webhooks = _open_webhooks(settings, database, metrics, stack)
        enforcement, consequences, reviews = _open_following(settings, webhooks, stack)
        vault = await _open_vault(settings, database, stack)
        pipeline = _pipeline(settings, model, panel, ledger, enforcement, vault)
        yield Services(
            settings=settings,
            database=database,
            ledger=ledger,
            log_tree=log_tree,
            witnesses=witnesses,
            identity=_open_identity(settings, database),
            limits=_open_limits(settings, stack),
            enforcement=enforcement,
            consequences=consequences,
            reviews=reviews,
            vault=vault,
            policies=policies,
            registry=registry,
            panel=panel,
            pipeline=replace(pipeline, follower=consequences, reviewer=reviews),
            sealer=Sealer(read_or_create(settings.home / "keys" / "sealing")),
            oversight=_open_oversight(settings, panel, ledger, consequences, metrics, stack),
            metrics=metrics,
            canaries=read_canaries(settings.canaries_file),
        )


def open_runner(settings: Settings) -> Runner:
    """Return the runner that `settings` asks for; loads a local model's weights."""
    cache = settings.home / "cache"
    if settings.upstream_url:
        from model_runner.upstream import Engine, UpstreamChat, UpstreamToken

        engine = Engine(
            settings.upstream_url,
            settings.model,
            settings.upstream_model,
            settings.upstream_api_key.get_secret_value(),
            settings.upstream_timeout_s,
        )
        if settings.upstream_mode is UpstreamMode.CHAT:
            return UpstreamChat(engine)
        from model_runner.harmony import load_harmony

        return UpstreamToken(engine, load_harmony(cache))
    from model_runner.local import load_local  # imports torch: only where it is needed

    probes_file = Path(settings.probes_file) if settings.probes_file else None
    return load_local(settings.model, cache, probes_file)


def _open_log_tree(
    settings: Settings, database: Database, stack: AsyncExitStack
) -> tuple[LogTree, Witnesses]:
    """Return the log's tree, which is closed after the ledger: that writes to the last."""
    keys = open_log_keys(settings)
    witnesses = Witnesses(database, [parse_place(each) for each in settings.witnesses])
    stack.push_async_callback(witnesses.aclose)
    log_tree = LogTree(database, keys, open_heads(settings.resolved_head_keeper, settings.home))
    stack.push_async_callback(log_tree.aclose)
    witnesses.start()
    return log_tree, witnesses


def _open_limits(settings: Settings, stack: AsyncExitStack) -> Limits:
    limits = open_limits(settings.redis_url)
    stack.push_async_callback(limits.aclose)
    return limits


async def _open_ledger(settings: Settings, database: Database, stack: AsyncExitStack) -> Ledger:
    ledger = Ledger(database, settings.home, lease_s=settings.lease_s)
    ledger.spool = Spool(settings.home / "spool", settings.spool_mb << 20)
    await ledger.start()
    stack.push_async_callback(ledger.aclose)
    sweeper = Sweeper(ledger)
    await sweeper.start()
    stack.push_async_callback(sweeper.aclose)
    index = LogIndex(database)
    index.start()
    stack.push_async_callback(index.aclose)
    return ledger


async def _open_vault(settings: Settings, database: Database, stack: AsyncExitStack) -> Vault:
    vault = open_vault(settings, database)
    await vault.check()
    expiry = Expiry(database, settings.content_days, settings.reasoning_days)
    expiry.start()
    stack.push_async_callback(expiry.aclose)
    return vault


def _open_webhooks(
    settings: Settings, database: Database, metrics: Metrics, stack: AsyncExitStack
) -> Webhooks:
    endpoints = read_endpoints(settings.webhooks_file)
    egress = Egress(networks(settings.egress_allow))
    webhooks = Webhooks(database, endpoints, egress, metrics.webhook)
    webhooks.start()
    stack.push_async_callback(webhooks.aclose)
    return webhooks


def _open_following(
    settings: Settings, webhooks: Webhooks, stack: AsyncExitStack
) -> tuple[Enforcement, Consequences, Reviews]:
    """Return what does what follows from decisions: for a person, a conversation, a call."""
    database = webhooks.database
    enforcement = Enforcement(database, webhooks=webhooks)
    secret = read_or_create(settings.home / "keys" / "conversations")
    stops = Stops(database, secret, timedelta(days=settings.stop_days))
    consequences = Consequences(stops, Alerts(database, webhooks))
    reviews = Reviews(database, settings.review_timeout_s, settings.review_approvals)
    for each in (enforcement, consequences, reviews):
        stack.push_async_callback(each.aclose)
    return enforcement, consequences, reviews


def _open_oversight(
    settings: Settings,
    panel: Panel,
    ledger: Ledger,
    consequences: Consequences,
    metrics: Metrics,
    stack: AsyncExitStack,
) -> Oversight:
    """Return what reviews exchanges that have ended; it is closed before what it needs."""
    reviewer = open_reviewer(panel, settings.oversight_judge)
    oversight = Oversight(
        reviewer, ledger, consequences, settings.oversight_percent, metrics.oversight
    )
    oversight.start()
    stack.push_async_callback(oversight.aclose, settings.drain_s)
    return oversight


def _pipeline(
    settings: Settings,
    model: Runner,
    panel: Panel,
    ledger: Ledger,
    enforcement: Enforcement,
    vault: Vault,
) -> Pipeline:
    return Pipeline(
        model,
        panel,
        ledger,
        enforcement,
        vault,
        timeout_s=settings.generation_timeout_s,
        key=hmac.digest(read_or_create(settings.home / "keys" / "sealing"), b"results", "sha256"),
    )


def _open_identity(settings: Settings, database: Database) -> Identity:
    return Identity(
        database,
        read_or_create(settings.home / "keys" / "pepper"),
        settings.bootstrap_key.get_secret_value(),
        settings.requests_per_minute,
        settings.tokens_per_minute,
    )


async def _open_panel(settings: Settings, model: Runner, stack: AsyncExitStack) -> Panel:
    judges = await asyncio.to_thread(open_judges, settings.judges_file, model)
    for judge in judges:
        stack.push_async_callback(judge.aclose)
    return Panel(build(settings.classifiers), [*judges, *open_probes(settings.probes_file)])


async def _open_policies(
    settings: Settings, database: Database, panel: Panel, ledger: Ledger, stack: AsyncExitStack
) -> tuple[PolicyRegistry, PolicySource]:
    news = PolicyNews(settings.redis_url)
    stack.push_async_callback(news.aclose)
    registry = PolicyRegistry(database, open_trust(settings), news.publish)
    source = PolicySource(
        settings.policy,
        judge_of(panel),
        PolicyWitness(ledger, panel),
        registry,
        LastGood(settings.home, settings.policy),
    )
    await source.start()
    registry.trial = source.trial
    for name, work in (("watcher", source.watch()), ("listener", news.listen(source.wake))):
        stack.callback(asyncio.create_task(work, name=f"policy-{name}").cancel)
    return registry, source


async def _no_such_route(request: Request, error: Exception) -> Response:
    """Answer what no route takes, in OpenAI's shape."""
    status = error.status_code if isinstance(error, HTTPException) else 500
    if status == 405:
        problem: GatewayError = MethodNotAllowed(f"the method {request.method} is not allowed here")
    else:
        problem = NotFound(f"no such endpoint: {request.method} {request.url.path[:80]}")
    return error_response(problem, {})
