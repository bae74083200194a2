"""Services: what the routes need, wired once in `gateway.app`."""

from __future__ import annotations

from dataclasses import dataclass

from starlette.requests import Request

from classifiers.panel import Panel
from classifiers.types import Secret
from gateway.audit.ledger import Ledger
from gateway.audit.log_tree import LogTree
from gateway.audit.vault import Vault
from gateway.audit.witnesses import Witnesses
from gateway.consequences import Consequences
from gateway.enforcement import Enforcement
from gateway.identity import Identity
from gateway.limits import Limits
from gateway.metrics import Metrics
from gateway.oversight import Oversight
from gateway.pipeline import Pipeline
from gateway.policy_registry import PolicyRegistry
from gateway.policy_source import PolicySource
from gateway.reviewing import Reviews
from gateway.sealing import Sealer
from gateway.settings import Settings
from gateway.store.session import Database


@dataclass(slots=True)
class Services:
    """Everything a request can touch.

    Attributes:
        settings: As read at start.
        database: For readiness; queries go through the parts that own them.
        ledger: The decision log.
        log_tree: Its Merkle tree and signed checkpoints.
        witnesses: Who cosigns them.
        identity: API key -> principal.
        limits: Quotas.
        enforcement: Where end users stand.
        consequences: Stopped conversations, alerts and who is told of them.
        reviews: Tool calls that wait for a person.
        vault: Kept content.
        policies: The policy in force.
        registry: Versions of policies.
        panel: The classifiers.
        pipeline: The product.
        sealer: Seals reasoning.
        oversight: Reviews exchanges that have ended.
        metrics: Counters for `/metrics`.
        canaries: What must never leave, as the operator set it out.
        in_flight: Requests being served now.
        draining: Whether the server is shutting down.
    """

    settings: Settings
    database: Database
    ledger: Ledger
    log_tree: LogTree
    witnesses: Witnesses
    identity: Identity
    limits: Limits
    enforcement: Enforcement
    consequences: Consequences
    reviews: Reviews
    vault: Vault
    policies: PolicySource
    registry: PolicyRegistry
    panel: Panel
    pipeline: Pipeline
    sealer: Sealer
    oversight: Oversight
    metrics: Metrics
    canaries: tuple[Secret, ...] = ()
    in_flight: int = 0
    draining: bool = False


def services_of(request: Request) -> Services:
    """Return the application's services."""
    services: Services = request.app.state.services
    return services
