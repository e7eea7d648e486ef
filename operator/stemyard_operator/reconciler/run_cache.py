"""What is remembered of a separation between decisions; nothing here is needed to decide rightly, only to ask less."""

from dataclasses import dataclass, field
from datetime import datetime

from stemyard_contract.separationjob import SeparationJobStatus
from stemyard_operator.model.job import Job
from stemyard_operator.model.observed import FoundManifest, FoundSource
from stemyard_operator.model.pod import Pod, Sighting


@dataclass(slots=True)
class RunState:
    """Answers that stay true within one run, and what only this process can know."""

    run: int
    source: FoundSource | None = None
    manifest: FoundManifest | None = None
    pods: dict[str, tuple[Pod, ...]] = field(default_factory=dict)
    """Of Jobs that have ended, by uid of the Job."""
    foreign: set[str] = field(default_factory=set)
    hollow: set[str] = field(default_factory=set)
    """uids of duplicates whose stems could not be copied: they are not there."""
    seen: dict[str, set[str]] = field(default_factory=dict)
    """Names of the pods seen of each Job, by uid of the Job: a second one means that the first was disrupted."""
    told: tuple[str, str] | None = None
    """Job and pod that the status named when this process first saw the run."""
    disruptions_before: int = 0
    """Disruptions that the status told of when this process first saw the run."""
    written_at: float | None = None
    """When this process last wrote the status, on its own clock."""
    sightings: dict[str, Sighting] = field(default_factory=dict)
    """Jobs and pods as they were when last looked at, by uid of the Job."""
    ready: dict[str, int] = field(default_factory=dict)
    """Ready pods when last seen, by uid of the Job."""
    started_at: datetime | None = None
    """Start of the first pod that was seen."""
    start_told: bool = False

    @property
    def disruptions(self) -> int:
        """Disruptions of this run, as far as known."""
        return self.disruptions_before + sum(len(names) - 1 for names in self.seen.values() if names)

    def quiet(self, now: float) -> float:
        """Return the seconds since this process last wrote the status."""
        return float("inf") if self.written_at is None else now - self.written_at

    def see(self, job: Job, pods: tuple[Pod, ...]) -> None:
        """Take note of the pods of a Job."""
        self.sightings[job.uid] = (job, pods)
        if job.uid not in self.seen:
            self.seen[job.uid] = {self.told[1]} if self.told and self.told[0] == job.name else set()
        self.seen[job.uid].update(pod.name for pod in pods)
        starts = [start for start in (self.started_at, *(pod.started_at for pod in pods)) if start is not None]
        self.started_at = min(starts, default=None)


class RunCache:
    """One Recall for each separation at work, by uid."""

    def __init__(self) -> None:
        self._run_cache: dict[str, RunState] = {}

    def of(self, uid: str, run: int, status: SeparationJobStatus) -> RunState:
        """Return what is remembered of a run, at first what its status tells; earlier runs are forgotten."""
        run_state = self._run_cache.get(uid)
        if run_state is None or run_state.run != run:
            written_at = run_state.written_at if run_state else None
            run_state = RunState(run=run, written_at=written_at)
            if status.run == run:
                run_state.disruptions_before = status.attempts.disruptions if status.attempts else 0
                run_state.told = (status.job, status.pod) if status.job and status.pod else None
            self._run_cache[uid] = run_state
        return run_state

    def forget(self, uid: str) -> None:
        """Forget a separation that has ended or is gone."""
        self._run_cache.pop(uid, None)
