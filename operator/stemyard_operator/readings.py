"""What is known at this moment of the cluster, the queue, the watches, the mirror and the lease, in figures."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from stemyard_contract.separationjob import Phase
from stemyard_operator.clients.leader_election import Elector
from stemyard_operator.health import Health
from stemyard_operator.informer.cache_entry import Key
from stemyard_operator.informer.cluster_cache import Projection
from stemyard_operator.mirror.writer import MirrorFeed
from stemyard_operator.webhooks.dispatcher import Courier
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
    """Turns that failed and were put off, since the process started."""
    watch_age: float
    resync_age: float | None
    mirror_lag: float
    mirror_waiting: int
    webhooks_pending: int = 0
    """Deliveries neither made nor given up; 0 unless this replica leads."""
    webhook_lanes: Mapping[str, int] = field(default_factory=dict)
    """Consumers that something waits for, by the state of their breaker."""


class Readings:
    """Nothing is kept up to date for this: it is counted when asked for."""

    def __init__(
        self,
        projection: Projection,
        queue: WorkQueue[Key],
        health: Health,
        feed: MirrorFeed,
        elector: Elector,
        courier: Courier,
    ) -> None:
        self._projection = projection
        self._queue = queue
        self._health = health
        self._feed = feed
        self._elector = elector
        self._courier = courier

    def now(self) -> Reading:
        """Read everything."""
        leader = self._elector.leading
        due = self._queue.due
        return Reading(
            leader=leader,
            phases=self._phases() if leader else {},
            due=due,
            later=len(self._queue) - due,
            retries=self._queue.retries,
            watch_age=self._health.event_age,
            resync_age=self._health.resync_age,
            mirror_lag=self._feed.lag,
            mirror_waiting=self._feed.behind,
            webhooks_pending=self._projection.webhooks_pending() if leader else 0,
            webhook_lanes=self._courier.lanes(),
        )

    def _phases(self) -> dict[Phase, int]:
        counted = Counter(self._projection.phases())
        return {phase: counted[phase] for phase in Phase}
