"""What the operator sees of one separation: its resource, Jobs, pods and commit marks, read from raw JSON."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from stemyard_contract.handover import (
    Manifest,
    MarkReference,
    SourceMark,
    WorkStage,
)
from stemyard_operator.config.webhook_endpoints import NO_ENDPOINTS, Endpoints
from stemyard_operator.model.attempt_result import AttemptResult
from stemyard_operator.model.job import Job
from stemyard_operator.model.pod import Pod, Sighting, Workload
from stemyard_operator.model.separation import Separation


@dataclass(frozen=True, slots=True)
class FoundSource:
    """The commit mark of fetch, read from the store and verified."""

    reference: MarkReference
    mark: SourceMark


@dataclass(frozen=True, slots=True)
class FoundManifest:
    """The commit mark of separate, read from the store and verified, stems included."""

    reference: MarkReference
    mark: Manifest


@dataclass(frozen=True, slots=True)
class Duplicate:
    """Another separation of the same recording that asks for the same."""

    name: str
    uid: str
    manifest_key: str = ""
    """Of its stems, where it is completed."""
    processing_seconds: float = 0
    """Seconds that the run took which made them."""
    first: bool = False
    """Whether it is under way and nearer to its end: then this one waits for it."""


@dataclass(frozen=True, slots=True)
class Observed:
    """All that a decision is made from. What was not asked for yet is absent from `pods`, `marks` and `absent`."""

    separation: Separation
    jobs: tuple[Job, ...] = ()
    pods: Mapping[str, tuple[Pod, ...]] = field(default_factory=dict)
    """By uid of their Job."""
    seen: Mapping[str, Sighting] = field(default_factory=dict)
    """Jobs that had a pod when last looked at, by uid: enough for figures, too old to decide from."""
    source: FoundSource | None = None
    manifest: FoundManifest | None = None
    looked: frozenset[WorkStage] = frozenset()
    """Stages whose commit mark was looked for."""
    workloads: Mapping[str, Workload | None] = field(default_factory=dict)
    """By uid of their Job; None where there is none."""
    absent: frozenset[str] = frozenset()
    """Names of Jobs that the API server says do not exist."""
    foreign: frozenset[str] = frozenset()
    """Names of Jobs that belong to somebody else."""
    room: frozenset[WorkStage] = frozenset()
    """Stages that may start another Job now, as far as limits and order go."""
    rest_seconds: float = 0
    """Seconds for which nothing may be fetched from its host, so that fetches are spaced."""
    duplicates: tuple[Duplicate, ...] = ()
    disruptions: int = 0
    """Pods of this run's Jobs that were replaced after a disruption."""
    progress: float | None = None
    """Percent of the whole separation, as last reported for this run."""
    started_at: datetime | None = None
    """Start of the first pod that was seen of this run."""
    quiet_seconds: float = float("inf")
    """Seconds since this process last wrote the status."""
    attempted: tuple[AttemptResult, ...] = ()
    """What came of deliveries and is not recorded yet."""
    attempted_seconds: float = 0
    """Age of the oldest of these."""
    in_hand: frozenset[str] = frozenset()
    """Ids of the webhooks that are being delivered, or wait for their consumer's turn."""
    endpoints: Endpoints = NO_ENDPOINTS
    """The deployment's own endpoints."""

    def of_stage(self, stage: WorkStage) -> list[Job]:
        """Return the Jobs of a stage of the run that is asked for, oldest attempt first."""
        run = self.separation.spec.run
        return sorted((job for job in self.jobs if job.stage is stage and job.run == run), key=lambda job: job.attempt)

    def last(self, stage: WorkStage) -> tuple[Job, tuple[Pod, ...]] | tuple[None, tuple[()]]:
        """Return the last Job of a stage, were it gone by now, and its pods as last looked at."""
        jobs = {job.uid: job for job, _ in self.seen.values()} | {job.uid: job for job in self.jobs}
        own = [job for job in jobs.values() if job.stage is stage and job.run == self.separation.spec.run]
        if not own:
            return None, ()
        last = max(own, key=lambda job: job.attempt)
        return last, self.pods.get(last.uid) or (self.seen[last.uid][1] if last.uid in self.seen else ())
