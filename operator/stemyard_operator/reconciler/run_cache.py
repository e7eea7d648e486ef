"""What this process knows of the runs at work, so that fewer calls are needed; decisions are right without it."""

from dataclasses import dataclass, field
from datetime import datetime, timedelta

from stemyard_contract.handover import WorkStage
from stemyard_contract.separationjob import SeparationJobStatus
from stemyard_operator.model.job import Job
from stemyard_operator.model.observed import FoundManifest, FoundSource, Refusal
from stemyard_operator.model.pod import Pod, Sighting


@dataclass(slots=True)
class RunState:
    """Answers that stay true within one run, and what only this process can know of it."""

    run: int
    source: FoundSource | None = None
    manifest: FoundManifest | None = None
    ended_pods: dict[str, tuple[Pod, ...]] = field(default_factory=dict)
    """Pods of Jobs that have ended, by uid of the Job."""
    foreign_jobs: set[str] = field(default_factory=set)
    """Names that this separation's Jobs would have, taken by Jobs of another owner."""
    refusals: dict[str, Refusal] = field(default_factory=dict)
    """Jobs that the API server refused to create, by name."""
    refused: int = 0
    """Consecutive refusals."""
    unanswered_creations: dict[str, int] = field(default_factory=dict)
    """How often in a row the API server did not answer when a Job was created, by name."""
    unusable_duplicates: set[str] = field(default_factory=set)
    """uids of duplicates whose stems could not be copied, as they are missing."""
    pod_names: dict[str, set[str]] = field(default_factory=dict)
    """Names of all pods seen of each Job, by uid of the Job: a second one means that the first was disrupted."""
    status_pod: tuple[str, str] | None = None
    """Job and pod that the status named when this process first saw the run."""
    earlier_disruptions: int = 0
    """Disruptions that the status counts beyond those that this process saw in pods."""
    written_at: float | None = None
    """When this process last wrote the status, on the monotonic clock."""
    last_seen: dict[str, Sighting] = field(default_factory=dict)
    """Jobs and their pods as last read, by uid of the Job."""
    ready_pods: dict[str, int] = field(default_factory=dict)
    """Ready pods of each Job as last seen, by uid of the Job."""
    started_at: datetime | None = None
    """Start of the first pod that was seen."""
    start_notified: bool = False

    @property
    def disruptions(self) -> int:
        """Disruptions of this run, as far as known."""
        return self.earlier_disruptions + self._replaced_pods

    def take_disruptions(self, counted: int) -> None:
        """Apply the count of the status, which includes disruptions after which no replacement pod was seen."""
        self.earlier_disruptions = max(self.earlier_disruptions, counted - self._replaced_pods)

    @property
    def _replaced_pods(self) -> int:
        return sum(len(names) - 1 for names in self.pod_names.values() if names)

    def seconds_since_write(self, now: float) -> float:
        """Return the seconds since this process last wrote the status, infinite if it has not."""
        return float("inf") if self.written_at is None else now - self.written_at

    def refuse(self, name: str, message: str, now: datetime, pause: float) -> None:
        """Record that the API server refused to create a Job, to be tried again after so many seconds."""
        self.refused += 1
        self.refusals[name] = Refusal(at=now, due=now + timedelta(seconds=pause), message=message)

    def unanswered(self, name: str) -> int:
        """Record that the API server did not answer when a Job was created; return how often in a row."""
        self.unanswered_creations[name] = self.unanswered_creations.get(name, 0) + 1
        return self.unanswered_creations[name]

    def created(self, name: str) -> None:
        """Record that a Job was created."""
        self.refused = 0
        self.unanswered_creations.pop(name, None)
        self.refusals.pop(name, None)

    def record_mark(self, found: FoundSource | FoundManifest | None) -> None:
        """Record a commit mark, if one was found."""
        if isinstance(found, FoundSource):
            self.source = found
        elif found is not None:
            self.manifest = found

    def record_search(self, stage: WorkStage, found: FoundSource | FoundManifest | None) -> None:
        """Record the commit mark that a search of the store found, or that there is none any more."""
        if found is None and stage is WorkStage.FETCH:
            self.source = None
        self.record_mark(found)

    def record_pods(self, job: Job, pods: tuple[Pod, ...]) -> None:
        """Record the pods of a Job as just read."""
        self.last_seen[job.uid] = (job, pods)
        if job.uid not in self.pod_names:
            before = self.status_pod
            self.pod_names[job.uid] = {before[1]} if before is not None and before[0] == job.name else set()
        self.pod_names[job.uid].update(pod.name for pod in pods)
        starts = [start for start in (self.started_at, *(pod.started_at for pod in pods)) if start is not None]
        self.started_at = min(starts, default=None)


class RunCache:
    """The RunState of each separation at work, by uid."""

    def __init__(self) -> None:
        self._states: dict[str, RunState] = {}

    def of(self, uid: str, run: int, status: SeparationJobStatus) -> RunState:
        """Return the state of a run, at first taken from its status; those of earlier runs are dropped."""
        state = self._states.get(uid)
        if state is None or state.run != run:
            state = RunState(run=run, written_at=state.written_at if state else None)
            if status.run == run:
                state.status_pod = (status.job, status.pod) if status.job and status.pod else None
            self._states[uid] = state
        if status.run == run and status.attempts is not None:
            state.take_disruptions(status.attempts.disruptions)
        return state

    def forget(self, uid: str) -> None:
        """Drop the state of a separation that has ended or was deleted."""
        self._states.pop(uid, None)
