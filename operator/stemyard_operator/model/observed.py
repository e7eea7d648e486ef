"""The observed state of one separation: resource, Jobs, pods, commit marks. The input of `decide`."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from stemyard_contract.handover import (
    Manifest,
    MarkReference,
    SourceMark,
    WorkStage,
)
from stemyard_contract.source import UploadSource
from stemyard_operator.config.webhook_endpoints import NO_ENDPOINTS, Endpoints
from stemyard_operator.model.attempt_result import AttemptResult
from stemyard_operator.model.job import Job
from stemyard_operator.model.lease import NO_LEASES, LeaseView
from stemyard_operator.model.pod import Pod, Sighting, Workload
from stemyard_operator.model.registrations import NO_REGISTRATIONS, Registrations
from stemyard_operator.model.separation import Separation


@dataclass(frozen=True, slots=True)
class FoundSource:
    """The commit mark of fetch, verified."""

    reference: MarkReference
    mark: SourceMark


@dataclass(frozen=True, slots=True)
class FoundManifest:
    """The commit mark of separate, verified with its stems."""

    reference: MarkReference
    mark: Manifest


@dataclass(frozen=True, slots=True)
class StageFinished:
    """The report of a live Job's pod that its commit mark is written. Not verified."""

    reference: MarkReference
    at: datetime


@dataclass(frozen=True, slots=True)
class Duplicate:
    """Another separation of the same recording with the same request."""

    name: str
    uid: str
    manifest_key: str = ""
    """Object key of its manifest, if it is completed."""
    processing_seconds: float = 0
    """Seconds that its run took."""
    first: bool = False
    """Whether it is running and closer to completion, so that this one waits for it."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """A Job that the API server last refused to create."""

    at: datetime
    due: datetime
    """When to try again."""
    message: str
    """The API server's message."""


@dataclass(frozen=True, slots=True)
class Observed:
    """The input of a decision. What was not queried yet is missing from `pods`, `workloads` and `absent_jobs`."""

    separation: Separation
    jobs: tuple[Job, ...] = ()
    pods: Mapping[str, tuple[Pod, ...]] = field(default_factory=dict)
    """Pods by uid of their Job."""
    last_seen_pods: Mapping[str, Sighting] = field(default_factory=dict)
    """Jobs and pods as last read, by uid of the Job: good for usage and metrics, too old to decide from."""
    source: FoundSource | None = None
    manifest: FoundManifest | None = None
    searched_marks: frozenset[WorkStage] = frozenset()
    """Stages whose commit mark was searched for."""
    finished: Mapping[str, StageFinished] = field(default_factory=dict)
    """Reports of pods that their stage is done, by uid of their Job, except rejected ones."""
    workloads: Mapping[str, Workload | None] = field(default_factory=dict)
    """Kueue Workloads by uid of their Job; None if a Job has none."""
    absent_jobs: frozenset[str] = frozenset()
    """Names of Jobs that do not exist according to the API server."""
    foreign_jobs: frozenset[str] = frozenset()
    """Names of Jobs that have another owner."""
    refusals: Mapping[str, Refusal] = field(default_factory=dict)
    """Jobs that the API server refused to create, by name."""
    free_stages: frozenset[WorkStage] = frozenset()
    """Stages for which a concurrency slot is free for this separation."""
    host_pause_seconds: float = 0
    """Seconds until its host may be fetched from again, if fetches are spaced."""
    leasing: LeaseView = NO_LEASES
    """Workers and leases, where the profile has workers."""
    duplicates: tuple[Duplicate, ...] = ()
    upload_in_use: bool = False
    """Whether another SeparationJob needs the same upload."""
    disruptions: int = 0
    """Number of pods of this run that were replaced after a disruption."""
    progress: float | None = None
    """Progress of the separation in percent, as last reported for this run."""
    started_at: datetime | None = None
    """Start of the first observed pod of this run."""
    seconds_since_write: float = float("inf")
    """Seconds since this process last wrote the status."""
    attempt_results: tuple[AttemptResult, ...] = ()
    """Results of webhook attempts that are not recorded yet."""
    attempt_results_age: float = 0
    """Age of the oldest of these, in seconds."""
    in_flight: frozenset[str] = frozenset()
    """Ids of webhooks that are in flight or queued behind others of the same consumer."""
    endpoints: Endpoints = NO_ENDPOINTS
    """Webhook endpoints of the deployment."""
    registrations: Registrations = NO_REGISTRATIONS
    """Webhooks that API keys have registered."""

    @property
    def unneeded_upload(self) -> UploadSource | None:
        """The upload that can be removed when the run no longer needs it."""
        return None if self.upload_in_use else self.separation.upload

    def of_stage(self, stage: WorkStage) -> list[Job]:
        """Return the Jobs of a stage of the requested run, oldest attempt first."""
        run = self.separation.spec.run
        return sorted((job for job in self.jobs if job.stage is stage and job.run == run), key=lambda job: job.attempt)

    def last(self, stage: WorkStage) -> tuple[Job, tuple[Pod, ...]] | tuple[None, tuple[()]]:
        """Return the last Job of a stage, even if it is deleted by now, and its pods as last read."""
        jobs = {job.uid: job for job, _ in self.last_seen_pods.values()} | {job.uid: job for job in self.jobs}
        own = [job for job in jobs.values() if job.stage is stage and job.run == self.separation.spec.run]
        if not own:
            return None, ()
        last = max(own, key=lambda job: job.attempt)
        return last, self.pods.get(last.uid) or (
            self.last_seen_pods[last.uid][1] if last.uid in self.last_seen_pods else ()
        )
