"""Prometheus metrics: what they count, in one place. One registry per application."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from classifiers.panel import DOWN
from classifiers.standing import Standing, State
from gateway.audit.log_tree import LogTree
from gateway.audit.publisher import Wrong
from gateway.audit.spool import Spool
from gateway.audit.witnesses import Standing as WitnessStanding
from gateway.audit.witnesses import WitnessState
from policies.footing import Footing
from policies.types import Action, Decision, Stage

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300)

_SHORT_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)


class Metrics:
    """The counters of one gateway; labels never hold anything a caller wrote."""

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry()
        self._requests = Counter(
            "ostiary_requests_total",
            "Requests by endpoint and HTTP status.",
            ["endpoint", "status"],
            registry=registry,
        )
        self._seconds = Histogram(
            "ostiary_request_duration_seconds",
            "Time from the first byte in to the last byte out.",
            ["endpoint"],
            buckets=_SECONDS,
            registry=registry,
        )
        self._outcomes = Counter(
            "ostiary_exchanges_total",
            "Admitted requests by how they ended.",
            ["endpoint", "outcome"],
            registry=registry,
        )
        self._count_decisions(registry)
        self._count_classifiers(registry)
        self.in_flight = Gauge("ostiary_in_flight", "Requests being served now.", registry=registry)
        self.policy_stale = Gauge(
            "ostiary_policy_stale",
            "1 while the policy file on disk is refused and the last good one is in force.",
            registry=registry,
        )

        self._count_log(registry)
        self._count_webhooks(registry)
        self._count_oversight(registry)

    def _count_oversight(self, registry: CollectorRegistry) -> None:
        self._reviews = Counter(
            "ostiary_oversight_total",
            "Reviews of exchanges that have ended, by how they went.",
            ["result"],
            registry=registry,
        )
        self._to_review = Gauge(
            "ostiary_oversight_waiting",
            "Exchanges that wait for their review.",
            registry=registry,
        )

    def _count_webhooks(self, registry: CollectorRegistry) -> None:
        self.reviews_waiting = Gauge(
            "ostiary_reviews_waiting",
            "Tool calls that wait for a person on this replica.",
            registry=registry,
        )
        self._tries = Counter(
            "ostiary_webhook_tries_total",
            "Tries to deliver an event, by how they ended.",
            ["endpoint", "outcome"],
            registry=registry,
        )
        self._undelivered = Gauge(
            "ostiary_webhook_undelivered",
            "Deliveries that have not arrived: waiting, or dead.",
            ["endpoint", "state"],
            registry=registry,
        )

    def _count_log(self, registry: CollectorRegistry) -> None:
        self._alarm = Gauge(
            "ostiary_log_alarm",
            "1 while the decision log is not what was signed, by what is wrong.",
            ["wrong"],
            registry=registry,
        )
        self._witness = Gauge(
            "ostiary_witness_state",
            "1 for how it stands with a witness.",
            ["witness", "state"],
            registry=registry,
        )
        self._cosigned = Gauge(
            "ostiary_witness_checkpoint_size",
            "Entries under the last checkpoint that a witness cosigned for this replica.",
            ["witness"],
            registry=registry,
        )
        self._signed = Gauge(
            "ostiary_log_checkpoint_size",
            "Entries under the last checkpoint that this replica signed.",
            registry=registry,
        )
        self._spool_entries = Gauge(
            "ostiary_log_spool_entries",
            "Entries that wait on this replica's disk for the log.",
            registry=registry,
        )
        self._spool_bytes = Gauge(
            "ostiary_log_spool_bytes",
            "What they take; `OSTIARY_SPOOL_MB` is the limit.",
            registry=registry,
        )

    def _count_decisions(self, registry: CollectorRegistry) -> None:
        self._decisions = Counter(
            "ostiary_decisions_total",
            "Decisions by stage and action.",
            ["stage", "action"],
            registry=registry,
        )
        # Looked up once: finding a labelled child costs more than counting it.
        self._decided = {
            (stage, action): self._decisions.labels(stage.value, action.name.lower())
            for stage in Stage
            for action in Action
        }
        self._tokens = Counter(
            "ostiary_tokens_total", "Tokens by direction.", ["direction"], registry=registry
        )

    def _count_classifiers(self, registry: CollectorRegistry) -> None:
        self._asked = Counter(
            "ostiary_classifier_asked_total",
            "Times a classifier was asked about the passages of a stage.",
            ["classifier"],
            registry=registry,
        )
        self._took = Histogram(
            "ostiary_classifier_duration_seconds",
            "Time a classifier took for the passages of a stage.",
            ["classifier"],
            buckets=_SHORT_SECONDS,
            registry=registry,
        )
        self._unavailable = Counter(
            "ostiary_classifier_errors_total",
            "Times a classifier gave no full answer.",
            ["classifier", "error"],
            registry=registry,
        )
        self._judged = Counter(
            "ostiary_suspicions_total",
            "Suspicions that a judge answered, by what became of them.",
            ["classifier", "result"],
            registry=registry,
        )
        self._up = Gauge(
            "ostiary_classifier_up",
            "0 while a classifier gives no answers, else 1.",
            ["classifier"],
            registry=registry,
        )
        self._active = Gauge(
            "ostiary_rung_active",
            "1 for the classifier that decides for a rule what is in doubt.",
            ["rule", "classifier"],
            registry=registry,
        )

    def request(self, endpoint: str, status: int, seconds: float) -> None:
        """Count one HTTP request."""
        self._requests.labels(endpoint, str(status)).inc()
        self._seconds.labels(endpoint).observe(seconds)

    def exchange(self, endpoint: str, outcome: str, decisions: Iterable[Decision]) -> None:
        """Count one admitted request that has ended, and its decisions."""
        self._outcomes.labels(endpoint, outcome).inc()
        for decision in decisions:
            self._decided[decision.stage, decision.action].inc()
            for receipt in decision.receipts:
                if receipt.error != DOWN:  # that one was not asked
                    self._asked.labels(receipt.classifier).inc()
                    self._took.labels(receipt.classifier).observe(receipt.duration_ms / 1000)
                if receipt.error is not None:
                    self._unavailable.labels(receipt.classifier, receipt.error).inc()
            self._suspicions(decision)

    def _suspicions(self, decision: Decision) -> None:
        for each in decision.outcomes:
            if each.suspicion is not None:
                result = "lowered" if (each.score or 0.0) < each.suspicion else "upheld"
                self._judged.labels(each.classifier or "", result).inc()

    def panel(self, standing: Iterable[Standing], rungs: Iterable[Footing]) -> None:
        """Note how the classifiers are doing, and who decides what is in doubt."""
        for each in standing:
            self._up.labels(each.classifier).set(each.state is not State.DOWN)
        self._active.clear()  # of a policy that is no longer in force
        for footing in rungs:
            for classifier in footing.active or ("none",):
                self._active.labels(footing.rule, classifier).set(1)

    def log(self, tree: LogTree, spool: Spool | None) -> None:
        """Note whether the log is intact, how far it is signed, and what waits for it."""
        wrong = tree.alarm and tree.alarm.wrong
        for kind in Wrong:
            self._alarm.labels(kind.value).set(kind is wrong)
        self._signed.set(tree.head.size if tree.head else 0)
        self._spool_entries.set(spool.entries if spool else 0)
        self._spool_bytes.set(spool.size if spool else 0)

    def oversight(self, result: str, waiting: int) -> None:
        """Count one review that ended, and note how many wait."""
        self._reviews.labels(result).inc()
        self._to_review.set(waiting)

    def webhook(self, endpoint: str, outcome: str) -> None:
        """Count one try to deliver an event."""
        self._tries.labels(endpoint, outcome).inc()

    def undelivered(self, counted: Mapping[tuple[str, str], int]) -> None:
        """Note how many deliveries there are that have not arrived."""
        self._undelivered.clear()
        for (endpoint, state), count in counted.items():
            self._undelivered.labels(endpoint, state).set(count)

    def witnesses(self, standing: Iterable[WitnessStanding]) -> None:
        """Note how it stands with the witnesses of the log."""
        for each in standing:
            for state in WitnessState:
                self._witness.labels(each.name, state.value).set(state is each.state)
            self._cosigned.labels(each.name).set(each.size)

    def tokens(self, input_tokens: int, output_tokens: int) -> None:
        """Count the tokens of one reply."""
        self._tokens.labels("input").inc(input_tokens)
        self._tokens.labels("output").inc(output_tokens)

    def render(self) -> bytes:
        """Return the exposition text."""
        return generate_latest(self.registry)
