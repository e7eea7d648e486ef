"""Answers the questions of a decision: asks the API server and the object store, and nobody else."""

from collections.abc import Mapping

from stemyard_operator.clients.kubernetes import KubernetesClient, jobs_path, pods_path, workloads_path
from stemyard_operator.clients.s3 import ObjectStoreClient
from stemyard_operator.decision.actions import ConfirmJobAbsent, FindMark, Query, ReadPods, ReadWorkload
from stemyard_operator.decision.commit_marks import MARK_LIMIT, Found, files, home, verified
from stemyard_operator.errors import NotFoundError
from stemyard_operator.informer.event_handlers import EventHandlers
from stemyard_operator.jobs.kueue import LABEL_JOB_UID, workload_of
from stemyard_operator.model.job import Job
from stemyard_operator.model.observed import FoundSource
from stemyard_operator.model.pod import Pod, Workload, pod_of
from stemyard_operator.model.separation import Separation, controller_of
from stemyard_operator.reconciler.run_cache import RunState

_OWNER_LABEL = "batch.kubernetes.io/controller-uid"


class Observations:
    """What was answered while one decision was made."""

    def __init__(self) -> None:
        self.pods: dict[str, tuple[Pod, ...]] = {}
        self.looked: set[str] = set()
        self.absent: set[str] = set()
        self.workloads: dict[str, Workload | None] = {}


class Observer:
    """Answers come into `answers`; those that stay true, into `recall` as well."""

    def __init__(
        self,
        cluster: KubernetesClient,
        objects: ObjectStoreClient,
        event_handlers: EventHandlers,
        install_id: str,
        kueue_version: str,
    ) -> None:
        self._cluster = cluster
        self._objects = objects
        self._event_handlers = event_handlers
        self._install_id = install_id
        self._kueue_version = kueue_version

    async def answer(self, question: Query, separation: Separation, answers: Observations, run_state: RunState) -> None:
        """Answer one question.

        Raises:
            ClusterError: the API server does not answer.
            StoreError: the object store does not answer.
        """
        match question:
            case ReadPods(job):
                pods = await self.pods(job)
                answers.pods[job.uid] = pods
                run_state.see(job, pods)
                if not job.live:
                    run_state.pods[job.uid] = pods
            case ReadWorkload(job):
                answers.workloads[job.uid] = await self._workload(job)
            case ConfirmJobAbsent(name):
                await self._confirm_absent(separation, name, answers)
            case FindMark(stage):
                found = await self.find(question, separation)
                answers.looked.add(stage)
                if isinstance(found, FoundSource):
                    run_state.source = found
                elif found is not None:
                    run_state.manifest = found

    async def pods(self, job: Job) -> tuple[Pod, ...]:
        """Return the pods that a Job controls."""
        query = {"labelSelector": f"{_OWNER_LABEL}={job.uid}"}
        listed = (await self._cluster.read(pods_path(job.namespace), query)).get("items") or []
        owners = [(resource, controller_of(resource["metadata"], "Job")) for resource in listed]
        return tuple(pod_of(resource) for resource, owner in owners if owner and owner["uid"] == job.uid)

    async def _workload(self, job: Job) -> Workload | None:
        """Return what Kueue says of a Job, None where it says nothing, or is not there at all."""
        path = workloads_path(self._kueue_version, job.namespace)
        try:
            listed = await self._cluster.read(path, {"labelSelector": f"{LABEL_JOB_UID}={job.uid}"})
        except NotFoundError:
            return None
        for resource in listed.get("items") or []:
            owner = controller_of(resource["metadata"], "Job")
            if owner is not None and owner["uid"] == job.uid:
                return workload_of(resource)
        return None

    async def _confirm_absent(self, separation: Separation, name: str, answers: Observations) -> None:
        try:
            resource = await self._cluster.read(jobs_path(separation.namespace, name))
        except NotFoundError:
            answers.absent.add(name)
            return
        owner = controller_of(resource["metadata"], "SeparationJob")
        if owner is None or owner["uid"] != separation.uid:
            answers.absent.add(name)
        self._event_handlers.job(resource)

    async def find(self, question: FindMark, separation: Separation) -> Found | None:
        """Return the commit mark of a stage, read, verified, and with the files it names in their stated size."""
        if question.reference is not None:
            found = await self._read(question.reference.key, question, separation)
            if found is not None or question.any_run:
                return found
        prefix = home(separation, question.stage, self._install_id)
        for key in await self._objects.keys(prefix):
            if key.endswith(f"/{question.stage.mark_file}"):
                found = await self._read(key, question, separation)
                if found is not None:
                    return found
        return None

    async def _read(self, key: str, question: FindMark, separation: Separation) -> Found | None:
        if not key.startswith(home(separation, question.stage, self._install_id)):
            return None
        content = await self._objects.get(key, MARK_LIMIT)
        found = verified(content, key, question, separation, self._install_id) if content is not None else None
        if found is None:
            return None
        return found if await self._is_stored(files(found), key.removesuffix(question.stage.mark_file)) else None

    async def _is_stored(self, told: Mapping[str, int], prefix: str) -> bool:
        """Return whether these objects have these sizes: asked for by name, or listed where that takes fewer calls."""
        if len(told) == 1:
            [(key, size)] = told.items()
            return await self._objects.size(key) == size
        return told.items() <= (await self._objects.sizes(prefix)).items()
