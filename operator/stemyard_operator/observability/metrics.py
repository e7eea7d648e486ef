"""Prometheus metrics of a replica, and the only importer of prometheus_client."""

import collections
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from typing import Final, TypeVar

from aiohttp import web
from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    PlatformCollector,
    ProcessCollector,
    disable_created_metrics,
)
from prometheus_client.aiohttp import make_aiohttp_handler
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from stemyard_contract.failures import FAILURES, FailureCode, Stage
from stemyard_contract.handover import WorkStage
from stemyard_contract.mirror import AttemptRecord
from stemyard_contract.separationjob import TERMINAL_PHASES, Reason
from stemyard_operator.config.profiles import Profile
from stemyard_operator.decision.failure_policy import OOM_KILLED
from stemyard_operator.decision.status_change import OTHER, StatusChange
from stemyard_operator.model.conditions import camel_case
from stemyard_operator.observability.readings import Readings

METRICS_PATH: Final = "/metrics"
_RECONCILES: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
_WAITS: Final = (1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1800, 3600, 7200, 14400, 43200, 86400)
_STAGES: Final = (1, 2, 5, 10, 20, 30, 45, 60, 90, 120, 180, 300, 600, 1200, 1800, 3600)
_ATTEMPTS: Final = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 15, 30)
_STAGES_OF: Final[Mapping[Stage, tuple[WorkStage, ...]]] = {
    Stage.FETCH: (WorkStage.FETCH,),
    Stage.SEPARATE: (WorkStage.SEPARATE,),
    Stage.PUBLISH: tuple(WorkStage),
    Stage.CONTROL: tuple(WorkStage),
}
"""Stages that runs fail in, by the stage of the failure table. Refused requests are few and have no fixed codes."""
_RECORDING: Final = "recording"
_Item = TypeVar("_Item")


class Metrics:
    """Counters of this process. Only the leader acts, so they add up over replicas and failovers.

    What follows from the state of the cluster is read at each scrape instead, so that it is right after a failover. No
    label has a value that a user can choose: models and profiles are those of the deployment.
    """

    def __init__(self) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        PlatformCollector(registry=self.registry)
        self._register_separations(self.registry)
        self._register_devices(self.registry)
        self._register_operator(self.registry)
        self._register_webhooks(self.registry)
        self._register_sweep(self.registry)
        self._count_from_zero()

    def _register_separations(self, registry: CollectorRegistry) -> None:
        self._ended = Counter(
            "stemyard_separations_ended", "Runs that ended, by terminal phase.", ["phase"], registry=registry
        )
        self._failures = Counter(
            "stemyard_failures", "Runs that failed, by stage and failure code.", ["stage", "code"], registry=registry
        )
        self._retries = Counter(
            "stemyard_retries", "Failed attempts that are retried.", ["stage", "reason"], registry=registry
        )
        self._queue_wait = Histogram(
            "stemyard_queue_wait_seconds",
            "From the end of fetch until the separate pod was scheduled.",
            ["profile", "watched_namespace"],
            buckets=_WAITS,
            registry=registry,
        )
        self._stages = Histogram(
            "stemyard_stage_seconds",
            "Run time of the last pod of a completed stage.",
            ["stage", "model"],
            buckets=_STAGES,
            registry=registry,
        )
        self._cache_hits = Counter(
            "stemyard_cache_hits",
            "Separations completed from the result of another, by how it was found.",
            ["level"],
            registry=registry,
        )

    def _register_devices(self, registry: CollectorRegistry) -> None:
        self._gpu_seconds = Counter(
            "stemyard_gpu_seconds", "Seconds that separate pods held a GPU, times GPUs.", ["profile"], registry=registry
        )
        self._busy = Counter(
            "stemyard_gpu_busy_seconds",
            "Seconds that networks computed on a GPU, times GPUs, of published separations.",
            ["profile"],
            registry=registry,
        )
        self._held_over_busy = Gauge(
            "stemyard_gpu_held_over_busy",
            "Seconds that pods held a GPU, idle workers included, for each in which a network computed.",
            ["profile"],
            registry=registry,
        )
        self._held: collections.defaultdict[str, float] = collections.defaultdict(float)
        self._busy_total: collections.defaultdict[str, float] = collections.defaultdict(float)
        self._gpu_idle = Counter(
            "stemyard_gpu_idle_seconds",
            "Seconds that workers held a GPU without a song, times GPUs.",
            ["profile"],
            registry=registry,
        )
        self._worker_idle = Counter(
            "stemyard_worker_idle_seconds",
            "Seconds that workers spent without a song, from their first song to their last call.",
            ["profile"],
            registry=registry,
        )

    def _count_from_zero(self) -> None:
        """Export counters before they count: a rate does not see the step to the first value of a new series."""
        for phase in TERMINAL_PHASES:
            self._ended.labels(phase)
        for row in FAILURES.values():
            for stage in _STAGES_OF.get(row.stage, ()) if row.code is not FailureCode.CANCELLED else ():
                self._failures.labels(stage, row.code)
                if row.retryable:
                    self._retries.labels(stage, camel_case(row.code))
        for stage in WorkStage:
            self._retries.labels(stage, OOM_KILLED)
            self._retries.labels(stage, Reason.RETRYING)
        self._cache_hits.labels(_RECORDING)

    def _register_operator(self, registry: CollectorRegistry) -> None:
        self._reconciles = Histogram(
            "stemyard_reconcile_seconds", "Duration of one reconcile.", buckets=_RECONCILES, registry=registry
        )
        self._requests = Counter(
            "stemyard_kubernetes_requests",
            "Calls to the API server except watches; code 0 means no response.",
            ["verb", "resource", "code"],
            registry=registry,
        )

    def _register_webhooks(self, registry: CollectorRegistry) -> None:
        self._attempts = Counter(
            "stemyard_webhook_attempts",
            "Webhook attempts, by event and result.",
            ["event", "result"],
            registry=registry,
        )
        self._attempt_seconds = Histogram(
            "stemyard_webhook_attempt_seconds", "Duration of one webhook attempt.", buckets=_ATTEMPTS, registry=registry
        )
        self._deliveries = Counter(
            "stemyard_webhook_deliveries", "Finished webhook deliveries, by outcome.", ["outcome"], registry=registry
        )
        for outcome in ("delivered", "given_up"):
            self._deliveries.labels(outcome)

    def _register_sweep(self, registry: CollectorRegistry) -> None:
        self._swept = Counter("stemyard_sweep_removed", "Orphaned prefixes removed by sweeps.", registry=registry)
        self._orphans = Gauge("stemyard_sweep_orphans", "Orphaned prefixes found by the last sweep.", registry=registry)
        self._stopped = Gauge(
            "stemyard_sweep_stopped", "Whether the last sweep stopped as a precaution.", registry=registry
        )
        self._failing = Gauge(
            "stemyard_sweep_failing",
            "Whether the last sweep failed, or could not remove all orphans.",
            registry=registry,
        )
        self._unwatched = Gauge(
            "stemyard_sweep_unwatched",
            "Objects that are not known to belong to a watched namespace, so that sweeps keep them.",
            registry=registry,
        )

    def know(self, profiles: Mapping[str, Profile]) -> None:
        """Export the counters of each profile's GPUs and workers before they count."""
        for name, profile in profiles.items():
            if profile.separate.gpu is not None:
                self._gpu_seconds.labels(name)
                self._busy.labels(name)
            if profile.separate.worker is not None:
                self._worker_idle.labels(name)
                if profile.separate.gpu is not None:
                    self._gpu_idle.labels(name)

    def expose(self, readings: Readings) -> None:
        """Add the gauges that are read at each scrape."""
        self.registry.register(_Gauges(readings))

    def serve(self, application: web.Application) -> web.Application:
        """Add `GET /metrics` to a web application; return it."""
        application.router.add_get(METRICS_PATH, make_aiohttp_handler(self.registry))
        return application

    def status_written(self, change: StatusChange) -> None:
        """Count what a status write made true."""
        if change.queue_wait is not None:
            waited = self._queue_wait.labels(change.profile, change.separation.namespace)
            waited.observe(change.queue_wait.seconds)
        for stage in change.stages:
            self._stages.labels(stage.name, change.model).observe(stage.seconds)
        if change.gpu_seconds:
            self._gpu_seconds.labels(change.profile).inc(change.gpu_seconds)
        self._gpu_used(change.profile, change.gpu_seconds, change.busy_gpu_seconds)
        if change.ended is not None:
            self._ended.labels(change.ended).inc()
        if change.failure is not None:
            self._failures.labels(*change.failure).inc()
        self._deliveries.labels("delivered").inc(change.delivered)
        self._deliveries.labels("given_up").inc(change.given_up)
        if change.reused:
            self._cache_hits.labels(_RECORDING).inc()
        if change.retry is not None:
            self._retries.labels(*change.retry).inc()

    def worker_idle(self, profile: str, seconds: float, gpus: int) -> None:
        """Count what a worker with so many GPUs, of a profile of the deployment, says that it spent without a song."""
        self._worker_idle.labels(profile).inc(seconds)
        if gpus:
            self._gpu_idle.labels(profile).inc(seconds * gpus)
        self._gpu_used(profile, seconds * gpus, 0)

    def _gpu_used(self, profile: str, held: float, busy: float) -> None:
        """Add GPU seconds, and update what a GPU is held for each second that it is busy, once one was."""
        if not held and not busy:
            return
        self._held[profile] += held
        self._busy_total[profile] += busy
        self._busy.labels(profile).inc(busy)
        if self._busy_total[profile]:
            self._held_over_busy.labels(profile).set(self._held[profile] / self._busy_total[profile])

    def swept(self, *, orphans: int, removed: int, stopped: bool, unwatched: int, refused: int) -> None:
        """Set the figures of the last sweep; count the prefixes that it removed."""
        self._swept.inc(removed)
        self._orphans.set(orphans)
        self._stopped.set(stopped)
        self._unwatched.set(unwatched)
        self._failing.set(refused > 0)

    def sweep_failed(self) -> None:
        """Count an attempt at a sweep that failed."""
        self._failing.set(1)

    def attempted(self, attempt: AttemptRecord) -> None:
        """Count one attempt at a webhook."""
        result = f"{attempt.status // 100}xx" if attempt.status else (attempt.error or OTHER)
        self._attempts.labels(attempt.event.value, result).inc()
        self._attempt_seconds.observe(attempt.seconds)

    def called(self, verb: str, resource: str, code: int) -> None:
        """Count one call to the API server, in the words that a Role uses."""
        self._requests.labels(verb, resource, str(code)).inc()

    def timed(self, handle: Callable[[_Item], Awaitable[float | None]]) -> Callable[[_Item], Awaitable[float | None]]:
        """Return the handler with its duration measured, whether it fails or not."""

        async def measured(key: _Item) -> float | None:
            begun = time.perf_counter()
            try:
                return await handle(key)
            finally:
                self._reconciles.observe(time.perf_counter() - begun)

        return measured


class _Gauges(Collector):
    """Everything that is read rather than counted."""

    def __init__(self, readings: Readings) -> None:
        self._readings = readings

    def describe(self) -> list[Metric]:
        """Return nothing: what is read may not be there yet when this is registered."""
        return []

    def collect(self) -> Iterator[Metric]:
        """Read everything now."""
        now = self._readings.now()
        phases = GaugeMetricFamily(
            "stemyard_separations", "SeparationJobs by phase, as the leader counts them.", labels=["phase"]
        )
        for phase, number in now.phases.items():
            phases.add_metric([phase], number)
        yield phases
        queue = GaugeMetricFamily(
            "stemyard_reconcile_queue",
            "Separations that wait to be reconciled, now or later.",
            labels=["state"],
        )
        queue.add_metric(["due"], now.due)
        queue.add_metric(["later"], now.later)
        yield queue
        yield GaugeMetricFamily(
            "stemyard_webhooks_pending", "Deliveries that are neither made nor given up.", now.webhooks_pending
        )
        consumers = GaugeMetricFamily(
            "stemyard_webhook_consumers", "Consumers that something waits for, by their breaker.", labels=["breaker"]
        )
        for state, number in now.webhook_consumers.items():
            consumers.add_metric([state], number)
        yield consumers
        yield CounterMetricFamily("stemyard_reconcile_retries", "Failed reconciles that were requeued.", now.retries)
        yield GaugeMetricFamily("stemyard_leader", "Whether this replica leads.", now.leader)
        yield GaugeMetricFamily("stemyard_watch_age_seconds", "Since the last event of a watch.", now.watch_age)
        if now.resync_age is not None:
            yield GaugeMetricFamily("stemyard_resync_age_seconds", "Since a namespace was listed.", now.resync_age)
        readable = GaugeMetricFamily(
            "stemyard_namespace_readable",
            "Whether a namespace can be listed and watched.",
            labels=["watched_namespace"],
        )
        for name, listed in now.namespaces.items():
            readable.add_metric([name], listed)
        yield readable
        up = GaugeMetricFamily(
            "stemyard_dependency_up", "Whether a dependency answers, as its breaker knows.", labels=["dependency"]
        )
        for name, answers in now.dependencies.items():
            up.add_metric([name], answers)
        yield up
        yield GaugeMetricFamily(
            "stemyard_mirror_lag_seconds", "For how long the oldest change waits to be mirrored.", now.mirror_lag
        )
        yield GaugeMetricFamily("stemyard_mirror_waiting", "Changes that wait to be mirrored.", now.mirror_waiting)
