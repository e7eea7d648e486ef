"""Gathers what a decision is made from: the caches first, then what a query asks of the API server or the store."""

import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, assert_never

from stemyard_contract.handover import WorkStage
from stemyard_contract.separationjob import KIND, ConditionType
from stemyard_operator.clients.kubernetes import KubernetesClient
from stemyard_operator.clients.kubernetes_paths import jobs_path, pods_path, workloads_path
from stemyard_operator.clients.s3 import ObjectStoreClient
from stemyard_operator.config.settings import Settings
from stemyard_operator.config.webhook_secrets import WebhookSecrets
from stemyard_operator.decision.actions import (
    ConfirmJobAbsent,
    FindMark,
    Query,
    ReadPods,
    ReadWorkload,
    VerifyFinished,
)
from stemyard_operator.decision.commit_marks import (
    MARK_LIMIT,
    Found,
    file_sizes,
    marks_prefix,
    may_be_mark,
    verify_mark,
)
from stemyard_operator.decision.status_draft import TICK_SECONDS
from stemyard_operator.errors import KubernetesError, NotFoundError, ObjectStoreError
from stemyard_operator.informer.cluster_cache import ClusterCache
from stemyard_operator.informer.duplicate_index import DuplicateIndex, duplicates_of
from stemyard_operator.informer.event_handlers import EventHandlers
from stemyard_operator.informer.finished_stages import FinishedStages
from stemyard_operator.informer.lease_book import LeaseBook
from stemyard_operator.informer.registration_watch import RegistrationWatch
from stemyard_operator.informer.upload_index import UploadIndex
from stemyard_operator.jobs.kueue import LABEL_JOB_UID, workload_of
from stemyard_operator.jobs.workers import worker_plan
from stemyard_operator.mirror.progress import ProgressStore
from stemyard_operator.model.conditions import ended, holds
from stemyard_operator.model.job import Job
from stemyard_operator.model.lease import NO_LEASES, LeaseView
from stemyard_operator.model.observed import Duplicate, Observed
from stemyard_operator.model.pod import Pod, Workload, pod_of
from stemyard_operator.model.separation import Separation, controller_of
from stemyard_operator.reconciler.concurrency import ConcurrencyLimiter
from stemyard_operator.reconciler.lane import Lane
from stemyard_operator.reconciler.run_cache import RunState
from stemyard_operator.webhooks.dispatcher import Dispatcher

_NOT_SERVED: Final = 404
"""Status of a list of Workloads where Kueue is not installed."""
_OWNER_LABEL: Final = "batch.kubernetes.io/controller-uid"

log = logging.getLogger(__name__)


class Answers:
    """Answers to the queries of one decision; those that stay true within the run are kept in its RunState."""

    def __init__(self) -> None:
        self.pods: dict[str, tuple[Pod, ...]] = {}
        self.looked: set[WorkStage] = set()
        self.absent: set[str] = set()
        self.workloads: dict[str, Workload | None] = {}
        self.jobs_read = False
        """Whether the Jobs that the watch does not see were read."""


@dataclass(frozen=True, slots=True)
class Observer:
    """Observes a separation.

    Queries raise KubernetesError or ObjectStoreError if a backend does not respond, and LaneFullError if one of the
    object store has to wait.
    """

    settings: Settings
    cluster: KubernetesClient
    objects: ObjectStoreClient
    cluster_cache: ClusterCache
    event_handlers: EventHandlers
    duplicates: DuplicateIndex
    uploads: UploadIndex
    leases: LeaseBook
    limiter: ConcurrencyLimiter
    progress: ProgressStore
    finished: FinishedStages
    dispatcher: Dispatcher
    webhook_secrets: WebhookSecrets
    registrations: RegistrationWatch
    store_lane: Lane

    async def observe(self, separation: Separation, answers: Answers, run_state: RunState) -> Observed:
        """Return all that is known of a separation, the answers so far included."""
        await self._read_unwatched_jobs(separation, answers)
        await self._read_registrations(separation)
        jobs, over = self.cluster_cache.jobs_of(separation.uid), ended(separation)
        await self._read_new_pods(jobs, answers, run_state)
        quiet = run_state.seconds_since_write(time.monotonic())
        progress_due = quiet >= TICK_SECONDS and bool(jobs) and not over
        return Observed(
            separation=separation,
            jobs=jobs,
            pods={**run_state.ended_pods, **answers.pods},
            last_seen_pods=run_state.last_seen,
            source=run_state.source,
            manifest=run_state.manifest,
            searched_marks=frozenset(answers.looked),
            finished={} if over else self.finished.of(separation.uid),
            workloads=answers.workloads,
            absent_jobs=frozenset(answers.absent),
            foreign_jobs=frozenset(run_state.foreign_jobs),
            refusals=run_state.refusals,
            free_stages=self._room(separation, jobs, run_state),
            host_pause_seconds=self.limiter.spacing_delay(separation),
            leasing=NO_LEASES if over else self._leasing(separation),
            duplicates=() if over else self._duplicates_of(separation, run_state),
            upload_in_use=separation.upload is not None and self.uploads.in_use(separation.upload, separation.uid),
            disruptions=run_state.disruptions,
            progress=await self.progress.percent(separation) if progress_due else None,
            started_at=run_state.started_at,
            seconds_since_write=quiet,
            attempt_results=self.dispatcher.results(separation.uid),
            attempt_results_age=self.dispatcher.results_age(separation.uid),
            in_flight=self.dispatcher.in_flight(separation.uid),
            endpoints=self.webhook_secrets.endpoints,
            registrations=self.registrations.known,
        )

    async def answer(self, query: Query, separation: Separation, answers: Answers, run_state: RunState) -> None:
        """Answer one query of a decision."""
        match query:
            case ReadPods(job):
                pods = answers.pods[job.uid] = await self._read_pods(job)
                run_state.record_pods(job, pods)
                if not job.live:
                    run_state.ended_pods[job.uid] = pods
            case ReadWorkload(job):
                answers.workloads[job.uid] = await self._read_workload(job)
            case ConfirmJobAbsent(name):
                await self._confirm_absent(separation, name, answers)
            case FindMark(stage):
                self.store_lane.enter((separation.namespace, separation.name))
                found = await self._find_mark(query, separation)
                answers.looked.add(stage)
                run_state.record_search(stage, found)
            case VerifyFinished(job):
                self.store_lane.enter((separation.namespace, separation.name))
                found = await self._verify_finished(query, separation)
                run_state.record_mark(found)
                if found is None:
                    self.finished.reject(separation.uid, job.uid)
            case _:
                assert_never(query)

    async def _read_unwatched_jobs(self, separation: Separation, answers: Answers) -> None:
        """Read the Jobs that the watch does not see, once for each decision."""
        if answers.jobs_read:
            return
        answers.jobs_read = True
        for job in self.cluster_cache.jobs_of(separation.uid):
            if job.watched:
                continue
            try:
                resource = await self.cluster.read(jobs_path(job.namespace, job.name))
            except NotFoundError:
                self.event_handlers.job_gone(job.uid)
                continue
            if resource["metadata"]["uid"] != job.uid:
                self.event_handlers.job_gone(job.uid)
            self.event_handlers.job_read(resource)

    async def _read_registrations(self, separation: Separation) -> None:
        """Before a webhook test, read what its keys have registered, which may be newer than the last event."""
        if separation.spec.webhook_test and not ended(separation):
            for claim in separation.spec.claims:
                await self.registrations.refresh(claim.key)

    async def _read_new_pods(self, jobs: tuple[Job, ...], answers: Answers, run_state: RunState) -> None:
        """Read each pod once, when it becomes ready: a second pod of a Job means that the first was disrupted."""
        for job in jobs:
            if job.ready > run_state.ready_pods.get(job.uid, 0) and job.uid not in answers.pods:
                answers.pods[job.uid] = await self._read_pods(job)
                run_state.record_pods(job, answers.pods[job.uid])
            run_state.ready_pods[job.uid] = job.ready

    def _room(self, separation: Separation, jobs: tuple[Job, ...], run_state: RunState) -> frozenset[WorkStage]:
        """Return whether the next stage may start a Job now; not computed if no Job can be started anyway."""
        fetched = run_state.source is not None or holds(separation.run_status, ConditionType.FETCHED)
        stage = WorkStage.SEPARATE if fetched else WorkStage.FETCH
        # the pod of a fetch that is done may still be ending
        if ended(separation) or any(job.live and job.deleted_at is None and job.stage is stage for job in jobs):
            return frozenset()
        return self.limiter.room(separation, (stage,))

    def _leasing(self, separation: Separation) -> LeaseView:
        """Return what is known of workers, where the profile has any or one holds the song."""
        plan = worker_plan(separation, self.settings)
        if plan is None and separation.run_status.lease is None:
            return NO_LEASES
        workers = self.cluster_cache.workers(separation.namespace)
        return self.leases.view(separation, plan.shape if plan is not None else "", workers)

    def _duplicates_of(self, separation: Separation, run_state: RunState) -> tuple[Duplicate, ...]:
        if run_state.source is not None:
            self.duplicates.note(separation, run_state.source.mark.audio_sha256)
        uids = self.duplicates.others(separation.uid) - run_state.unusable_duplicates
        found = [self.cluster_cache.readable(uid) for uid in uids]
        return duplicates_of(separation, [other for other in found if other is not None])

    async def _read_pods(self, job: Job) -> tuple[Pod, ...]:
        """Return the pods that a Job controls."""
        query = {"labelSelector": f"{_OWNER_LABEL}={job.uid}"}
        listed = (await self.cluster.read(pods_path(job.namespace), query)).get("items") or []
        owners = [(resource, controller_of(resource["metadata"], "Job")) for resource in listed]
        return tuple(pod_of(resource) for resource, owner in owners if owner and owner["uid"] == job.uid)

    async def _read_workload(self, job: Job) -> Workload | None:
        """Return Kueue's Workload of a Job, None if there is none or Kueue is not installed."""
        path = workloads_path(self.settings.kueue_api_version, job.namespace)
        try:
            listed = await self.cluster.read(path, {"labelSelector": f"{LABEL_JOB_UID}={job.uid}"})
        except KubernetesError as error:
            if error.status == _NOT_SERVED:
                return None
            raise
        for resource in listed.get("items") or []:
            owner = controller_of(resource["metadata"], "Job")
            if owner is not None and owner["uid"] == job.uid:
                return workload_of(resource)
        return None

    async def _confirm_absent(self, separation: Separation, name: str, answers: Answers) -> None:
        try:
            resource = await self.cluster.read(jobs_path(separation.namespace, name))
        except NotFoundError:
            answers.absent.add(name)
            return
        owner = controller_of(resource["metadata"], KIND)
        if owner is None or owner["uid"] != separation.uid:
            answers.absent.add(name)
        self.event_handlers.job_read(resource)

    async def _find_mark(self, query: FindMark, separation: Separation) -> Found | None:
        """Return the commit mark of a stage, read and verified, and the files it names stored in their stated size."""
        if query.reference is not None:
            found = await self._read_mark(query.reference.key, query, separation)
            if found is not None or query.any_run:
                return found
        prefix = marks_prefix(separation, query.stage, self.settings.stemyard_install_id)
        for key in await self.objects.keys(prefix):
            if key.endswith(f"/{query.stage.mark_file}"):
                found = await self._read_mark(key, query, separation)
                if found is not None:
                    return found
        return None

    async def _verify_finished(self, query: VerifyFinished, separation: Separation) -> Found | None:
        """Return the mark that a pod says it has written, None also if the store does not answer."""
        try:
            return await self._read_mark(query.reference.key, query.search, separation)
        except ObjectStoreError as error:
            log.warning("finished stage not verified, waiting for its Job: %s", error, extra=separation.log_fields)
            return None

    async def _read_mark(self, key: str, query: FindMark, separation: Separation) -> Found | None:
        if not may_be_mark(key, separation, query.stage, self.settings.stemyard_install_id):
            return None
        content = await self.objects.get(key, MARK_LIMIT)
        found = (
            verify_mark(content, key, query, separation, self.settings.stemyard_install_id)
            if content is not None
            else None
        )
        if found is None:
            return None
        return found if await self._are_stored(file_sizes(found), key.removesuffix(query.stage.mark_file)) else None

    async def _are_stored(self, sizes: Mapping[str, int], prefix: str) -> bool:
        """Return whether these objects have these sizes: one HEAD request for one object, else one list."""
        if len(sizes) == 1:
            [(key, size)] = sizes.items()
            return await self.objects.size(key) == size
        return sizes.items() <= (await self.objects.sizes(prefix)).items()
