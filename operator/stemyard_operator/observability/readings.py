"""What the state of the cluster and of this process is at one moment, for the metrics that are read at each scrape."""

import collections
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from stemyard_contract.separationjob import Phase
from stemyard_operator.health import Health
from stemyard_operator.informer.cache_entry import Key
from stemyard_operator.informer.cluster_cache import ClusterCache
from stemyard_operator.mirror.writer import MirrorWriter
from stemyard_operator.webhooks.dispatcher import Dispatcher
from stemyard_operator.workqueue import WorkQueue


@dataclass(frozen=True, slots=True)
class Reading:
    """One moment. Ages are seconds."""

    leader: bool
    phases: Mapping[Phase, int]
    """SeparationJobs by phase; empty unless this replica leads, so that replicas can be added up."""
    due: int
    later: int
    retries: int
    """Reconciles that failed and were requeued, since the process started."""
    watch_age: float
    resync_age: float | None
    namespaces: Mapping[str, bool]
    """Whether each watched namespace could be listed the last time."""
    mirror_lag: float
    mirror_waiting: int
    dependencies: Mapping[str, bool]
    """Whether each dependency answers, by name."""
    webhooks_pending: int = 0
    """Deliveries neither made nor given up; 0 unless this replica leads."""
    webhook_consumers: Mapping[str, int] = field(default_factory=dict)
    """Consumers that something waits for, by the state of their breaker."""


class Readings:
    """Computes a Reading when it is scraped."""

    def __init__(
        self,
        cluster_cache: ClusterCache,
        queue: WorkQueue[Key],
        health: Health,
        mirror_writer: MirrorWriter,
        leading: Callable[[], bool],
        dispatcher: Dispatcher,
        dependencies: Mapping[str, Callable[[], bool]],
    ) -> None:
        self._dependencies = dependencies
        self._cluster_cache = cluster_cache
        self._queue = queue
        self._health = health
        self._mirror_writer = mirror_writer
        self._leading = leading
        self._dispatcher = dispatcher

    def now(self) -> Reading:
        """Read everything."""
        leader = self._leading()
        due = self._queue.due
        return Reading(
            leader=leader,
            phases=self._phases() if leader else {},
            due=due,
            later=len(self._queue) - due,
            retries=self._queue.retries,
            watch_age=self._health.event_age,
            resync_age=self._health.resync_age,
            namespaces=self._namespaces(),
            mirror_lag=self._mirror_writer.lag,
            mirror_waiting=self._mirror_writer.behind,
            dependencies={name: is_up() for name, is_up in self._dependencies.items()},
            webhooks_pending=self._cluster_cache.webhooks_pending() if leader else 0,
            webhook_consumers=self._dispatcher.consumers(),
        )

    def _namespaces(self) -> dict[str, bool]:
        watched = self._health.namespaces
        return {name: age is not None and name not in watched.errors for name, age in watched.ages.items()}

    def _phases(self) -> dict[Phase, int]:
        counted = collections.Counter(self._cluster_cache.phases())
        return {phase: counted[phase] for phase in Phase}
