"""Gathers what a decision is made from: the caches first, then what a query asks of the API server or the store."""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from stemyard_contract.handover import WorkStage
from stemyard_contract.separationjob import KIND, ConditionType
from stemyard_operator.clients.kubernetes import KubernetesClient, jobs_path, pods_path, workloads_path
from stemyard_operator.clients.s3 import ObjectStoreClient
from stemyard_operator.config.settings import Settings
from stemyard_operator.config.webhook_secrets import WebhookSecrets
from stemyard_operator.decision.actions import ConfirmJobAbsent, FindMark, Query, ReadPods, ReadWorkload
from stemyard_operator.decision.commit_marks import MARK_LIMIT, Found, file_sizes, marks_prefix, verify_mark
from stemyard_operator.decision.status_draft import TICK_SECONDS
from stemyard_operator.errors import NotFoundError
from stemyard_operator.informer.cluster_cache import ClusterCache
from stemyard_operator.informer.duplicate_index import DuplicateIndex, duplicates_of
from stemyard_operator.informer.event_handlers import EventHandlers
from stemyard_operator.jobs.kueue import LABEL_JOB_UID, workload_of
from stemyard_operator.mirror.progress import ProgressStore
from stemyard_operator.model.conditions import ended, holds
from stemyard_operator.model.job import Job
from stemyard_operator.model.observed import Duplicate, FoundSource, Observed
from stemyard_operator.model.pod import Pod, Workload, pod_of
from stemyard_operator.model.separation import Separation, controller_of
from stemyard_operator.reconciler.concurrency import ConcurrencyLimiter
from stemyard_operator.reconciler.run_cache import RunState
from stemyard_operator.webhooks.dispatcher import Dispatcher

_OWNER_LABEL: Final = "batch.kubernetes.io/controller-uid"


class Answers:
    """Answers to the queries of one decision; those that stay true within the run are kept in its RunState."""

    def __init__(self) -> None:
        self.pods: dict[str, tuple[Pod, ...]] = {}
        self.looked: set[WorkStage] = set()
        self.absent: set[str] = set()
        self.workloads: dict[str, Workload | None] = {}


@dataclass(frozen=True, slots=True)
class Observer:
    """Observes a separation. Queries raise KubernetesError or ObjectStoreError if a backend does not respond."""

    settings: Settings
    cluster: KubernetesClient
    objects: ObjectStoreClient
    cluster_cache: ClusterCache
    event_handlers: EventHandlers
    duplicates: DuplicateIndex
    limiter: ConcurrencyLimiter
    progress: ProgressStore
    dispatcher: Dispatcher
    webhook_secrets: WebhookSecrets

    async def observe(self, separation: Separation, answers: Answers, run_state: RunState) -> Observed:
        """Return all that is known of a separation, the answers so far included."""
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
            workloads=answers.workloads,
            absent_jobs=frozenset(answers.absent),
            foreign_jobs=frozenset(run_state.foreign_jobs),
            free_stages=self._room(separation, jobs, run_state),
            host_pause_seconds=self.limiter.spacing_delay(separation),
            duplicates=() if over else self._duplicates_of(separation, run_state),
            disruptions=run_state.disruptions,
            progress=await self.progress.percent(separation) if progress_due else None,
            started_at=run_state.started_at,
            seconds_since_write=quiet,
            attempt_results=self.dispatcher.results(separation.uid),
            attempt_results_age=self.dispatcher.results_age(separation.uid),
            in_flight=self.dispatcher.in_flight(separation.uid),
            endpoints=self.webhook_secrets.endpoints,
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
                found = await self._find_mark(query, separation)
                answers.looked.add(stage)
                if isinstance(found, FoundSource):
                    run_state.source = found
                elif found is not None:
                    run_state.manifest = found

    async def _read_new_pods(self, jobs: tuple[Job, ...], answers: Answers, run_state: RunState) -> None:
        """Read each pod once, when it becomes ready: a second pod of a Job means that the first was disrupted."""
        for job in jobs:
            if job.ready > run_state.ready_pods.get(job.uid, 0) and job.uid not in answers.pods:
                answers.pods[job.uid] = await self._read_pods(job)
                run_state.record_pods(job, answers.pods[job.uid])
            run_state.ready_pods[job.uid] = job.ready

    def _room(self, separation: Separation, jobs: tuple[Job, ...], run_state: RunState) -> frozenset[WorkStage]:
        """Return whether the next stage may start a Job now; not computed if no Job can be started anyway."""
        if ended(separation) or any(job.live and job.deleted_at is None for job in jobs):
            return frozenset()
        fetched = run_state.source is not None or holds(separation.run_status, ConditionType.FETCHED)
        return self.limiter.room(separation, (WorkStage.SEPARATE if fetched else WorkStage.FETCH,))

    def _duplicates_of(self, separation: Separation, run_state: RunState) -> tuple[Duplicate, ...]:
        if run_state.source is not None:
            mark = run_state.source.mark
            self.duplicates.note(separation, mark.media.media_id, mark.audio_sha256)
        uids = self.duplicates.others(separation.uid) - run_state.unusable_duplicates
        found = [self.cluster_cache.typed(uid) for uid in uids]
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
        except NotFoundError:
            return None
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
        self.event_handlers.job(resource)

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

    async def _read_mark(self, key: str, query: FindMark, separation: Separation) -> Found | None:
        if not key.startswith(marks_prefix(separation, query.stage, self.settings.stemyard_install_id)):
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
