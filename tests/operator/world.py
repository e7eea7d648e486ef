"""A small world for decisions: one SeparationJob, its Jobs, pods and objects as plain data, and a clock."""

import asyncio
import hashlib
import itertools
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from stemyard_contract.failures import FailureCode
from stemyard_contract.handover import (
    Manifest,
    MarkReference,
    Outcome,
    SourceMark,
    StemFile,
    StoredFile,
    WorkStage,
)
from stemyard_contract.identity import job_name, object_prefix, object_token
from stemyard_contract.leasing import SongEnd
from stemyard_contract.separationjob import API_VERSION, KIND, Output, Phase, SeparationJobStatus, Stem
from stemyard_operator.config.settings import Settings
from stemyard_operator.config.webhook_endpoints import NO_ENDPOINTS, Endpoints
from stemyard_operator.decision.actions import (
    ConfirmJobAbsent,
    Decision,
    FindMark,
    Query,
    ReadPods,
    ReadWorkload,
    VerifyFinished,
)
from stemyard_operator.decision.commit_marks import file_sizes, marks_prefix, verify_mark
from stemyard_operator.decision.decide import decide
from stemyard_operator.model.attempt_result import AttemptResult
from stemyard_operator.model.job import Job, job_of
from stemyard_operator.model.lease import LeaseOffer, LeaseView
from stemyard_operator.model.observed import Duplicate, FoundManifest, FoundSource, Observed, Refusal, StageFinished
from stemyard_operator.model.pod import Sighting, Workload, pod_of
from stemyard_operator.model.registrations import NO_REGISTRATIONS, Registrations
from stemyard_operator.model.separation import Separation, separation_of
from stemyard_operator.reconciler.copy_stems import copy_stems, job_request

START = datetime(2026, 11, 22, 12, 0, 0, tzinfo=UTC)
INSTALL = "install-1"
UID = "3f0c8a6e-1111-4222-8333-944455556666"
NAME = "song"
NAMESPACE = "music"
RECORDING = f"{NAMESPACE}/{NAME}"
"""What the one SeparationJob of a world is of."""
SPEC: dict[str, Any] = {"source": {"url": "https://example.com/song.mp3"}}


def settings(**changes: Any) -> Settings:
    """Settings of a test, independent of the environment."""
    return Settings(**{"stemyard_install_id": INSTALL, "pod_namespace": NAMESPACE, **changes})


def stamp(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


@dataclass
class BucketHttpClient:
    """The object store's calls for copying, on a dict."""

    objects: dict[str, bytes]

    async def get(self, key: str, limit: int) -> bytes | None:
        return self.objects.get(key)

    async def put(self, key: str, content: bytes, kind: str) -> None:
        self.objects[key] = content

    async def copy(self, source: str, target: str) -> bool:
        if source in self.objects:
            self.objects[target] = self.objects[source]
        return source in self.objects

    async def remove(self, target: str) -> None:
        for key in [key for key in self.objects if key.startswith(target)]:
            del self.objects[key]


@dataclass
class World:
    """The contents of API server and object store."""

    spec: dict[str, Any] = field(default_factory=lambda: dict(SPEC))
    config: Settings = field(default_factory=settings)
    now: datetime = START
    status: dict[str, Any] = field(default_factory=dict)
    jobs: dict[str, dict[str, Any]] = field(default_factory=dict)
    pods: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    objects: dict[str, bytes] = field(default_factory=dict)
    room: set[WorkStage] = field(default_factory=lambda: set(WorkStage))
    foreign: set[str] = field(default_factory=set)
    refusal: str = ""
    """The API server's message while it refuses to create Jobs."""
    refusals: dict[str, Refusal] = field(default_factory=dict)
    duplicates: list[Duplicate] = field(default_factory=list)
    upload_in_use: bool = False
    workloads: dict[str, Workload] = field(default_factory=dict)
    """Kueue's state, by name of the Job."""
    labels: dict[str, str] = field(default_factory=dict)
    api_namespace: str = NAMESPACE
    progress: float | None = None
    disruptions: int = 0
    deleted: bool = False
    writes: list[SeparationJobStatus] = field(default_factory=list)
    created: list[str] = field(default_factory=list)
    last_write: datetime | None = None
    requeue_after: float | None = None
    generation: int = 1
    annotations: dict[str, str] = field(default_factory=dict)
    endpoints: Endpoints = NO_ENDPOINTS
    registrations: Registrations = NO_REGISTRATIONS
    in_hand: dict[str, str] = field(default_factory=dict)
    """URLs of the webhooks being delivered, by id."""
    attempted: dict[str, AttemptResult] = field(default_factory=dict)
    attempted_seconds: float = 0
    seen: dict[str, Sighting] = field(default_factory=dict)
    """Jobs and pods as the operator last saw them."""
    finished: dict[str, StageFinished] = field(default_factory=dict)
    """What pods reported of their stage's end, by uid of their Job."""
    kept: dict[int, dict[str, Any]] = field(default_factory=dict)
    """Marks that the operator has verified at a pod's word, by run."""
    offer: LeaseOffer | None = None
    """A worker's pod that waits for a song."""
    reported: SongEnd | None = None
    """How the leased song ended, as its worker reported."""
    caller: str = ""
    """uid of the worker's pod that called last."""
    silent_seconds: float = 0
    held_since: datetime | None = None
    paused_until: datetime | None = None
    ahead: int = 0
    """Songs that will be leased before this one."""
    numbers: Any = field(default_factory=lambda: itertools.count(100))

    # what is seen

    @property
    def resource(self) -> dict[str, Any]:
        metadata = {
            "name": NAME,
            "namespace": NAMESPACE,
            "uid": UID,
            "resourceVersion": str(next(self.numbers)),
            "generation": self.generation,
            "labels": self.labels,
            "creationTimestamp": stamp(START),
            "annotations": self.annotations,
        }
        return {
            "apiVersion": API_VERSION,
            "kind": KIND,
            "metadata": metadata,
            "spec": self.spec,
            "status": self.status,
        }

    @property
    def separation(self) -> Separation:
        return separation_of(self.resource, self.api_namespace)

    def phase(self) -> Phase | None:
        return self.separation.status.phase

    def observed(self, **answers: Any) -> Observed:
        typed = [job_of(job) for job in self.jobs.values()]
        self.seen.update(
            {job.uid: (job, tuple(map(pod_of, self.pods.get(job.uid, [])))) for job in typed if job is not None}
        )
        quiet = (self.now - self.last_write).total_seconds() if self.last_write else float("inf")
        return Observed(
            separation=self.separation,
            jobs=tuple(job for job in typed if job is not None and not job.shape),
            leasing=self._leasing(),
            last_seen_pods=self.seen,
            free_stages=frozenset(self.room),
            refusals=self.refusals,
            duplicates=tuple(self.duplicates),
            upload_in_use=self.upload_in_use,
            progress=self.progress,
            disruptions=self.disruptions,
            seconds_since_write=quiet,
            finished=self.finished,
            in_flight=frozenset(self.in_hand),
            attempt_results=tuple(self.attempted.values()),
            attempt_results_age=self.attempted_seconds,
            endpoints=self.endpoints,
            registrations=self.registrations,
            **answers,
        )

    def _leasing(self) -> LeaseView:
        workers = [job for job in map(job_of, self.jobs.values()) if job is not None and job.shape]
        lease, name = self.separation.status.lease, self.separation.status.job
        idle = [job for job in workers if job.live and job.deleted_at is None and (lease is None or job.name != name)]
        return LeaseView(
            offer=self.offer,
            worker=next((job for job in workers if job.name == name), None),
            caller=self.caller,
            silent_seconds=self.silent_seconds,
            reported=self.reported if lease is not None else None,
            held_since=self.held_since,
            peers=tuple(workers),
            paused_until=self.paused_until,
            ahead=self.ahead,
            free=len(idle),
        )

    # what the operator does

    def decide(self) -> Decision:
        """Decide, answering queries as reconcile does."""
        answers: dict[str, Any] = {"pods": {}, "searched_marks": frozenset(), "absent_jobs": frozenset()}
        answers["foreign_jobs"] = frozenset(self.foreign)
        answers |= self.kept.get(self.spec.get("run", 1), {})
        for _ in range(8):
            observed = self.observed(**answers)
            before = observed.separation.status.dump()
            decision = decide(observed, self.now, self.config)
            assert observed.separation.status.dump() == before, "a decision alters nothing that it was made from"
            if not decision.queries:
                return decision
            for question in decision.queries:
                self._answer(question, answers)
        raise AssertionError(f"questions without end: {decision.queries}")

    def _answer(self, question: Query, answers: dict[str, Any]) -> None:
        match question:
            case ReadPods(job):
                answers["pods"] = {
                    **answers["pods"],
                    job.uid: tuple(pod_of(pod) for pod in self.pods.get(job.uid, [])),
                }
            case ReadWorkload(job):
                answers["workloads"] = {**answers.get("workloads", {}), job.uid: self.workloads.get(job.name)}
            case ConfirmJobAbsent(name):
                assert name not in self.jobs, "the projection is the truth here"
                answers["absent_jobs"] |= {name}
            case FindMark(stage):
                answers["searched_marks"] |= {stage}
                found = _mark_found(self.find(question))
                if not found and stage is WorkStage.FETCH:
                    answers.pop("source", None)
                    self.kept.get(self.spec.get("run", 1), {}).pop("source", None)
                answers |= found
            case VerifyFinished(job):
                found = _mark_found(self.find(question.search))
                answers |= found
                self.kept.setdefault(job.run, {}).update(found)
                if not found:
                    del self.finished[job.uid]

    def find(self, question: FindMark) -> FoundSource | FoundManifest | None:
        separation = self.separation
        prefix = marks_prefix(separation, question.stage, INSTALL)
        keys = [question.reference.key] if question.reference else sorted(self.objects)
        for key in keys:
            content = self.objects.get(key)
            if content is None or not key.startswith(prefix) or not key.endswith(question.stage.mark_file):
                continue
            found = verify_mark(content, key, question, separation, INSTALL)
            if found and all(len(self.objects.get(k, b"")) == size for k, size in file_sizes(found).items()):
                return found
        return None

    def step(self, crash_after: int | None = None) -> Decision:
        """Decide once and apply it in reconcile's order; a crash stops after so many effects."""
        decision = self.decide()
        if decision.create is not None and self.refusal:
            due = self.now + timedelta(seconds=self.config.retry_max_seconds)
            self.refusals[decision.create.name] = Refusal(self.now, due, self.refusal)
            self.requeue_after = 0
            return decision
        for effect in (self._remove, self._copy, self._create, self._write, self._stop, self._deliver, self._delete)[
            :crash_after
        ]:
            effect(decision)
        self.requeue_after = decision.requeue_after
        return decision

    def _remove(self, decision: Decision) -> None:
        for target in decision.remove:
            for key in [key for key in self.objects if key == target or (target[-1] == "/" and key.startswith(target))]:
                del self.objects[key]

    def _copy(self, decision: Decision) -> None:
        if decision.copy is not None:
            bucket: Any = BucketHttpClient(self.objects)
            if not asyncio.run(copy_stems(bucket, decision.copy, self.separation, INSTALL)):
                self.duplicates = [other for other in self.duplicates if other.uid != decision.copy.uid]

    def _create(self, decision: Decision) -> None:
        if decision.create is None:
            return
        manifest: Mapping[str, Any] = decision.create.manifest
        assert decision.create.name not in self.jobs, "a Job is never made twice"
        self.created.append(decision.create.name)
        number = next(self.numbers)
        metadata = {
            **manifest["metadata"],
            "uid": f"job-{number}",
            "resourceVersion": str(number),
            "creationTimestamp": stamp(self.now),
        }
        self.jobs[decision.create.name] = {**manifest, "metadata": metadata, "status": {}}

    def _write(self, decision: Decision) -> None:
        if decision.status is not None:
            self.status = decision.status.dump()
            self.writes.append(decision.status)
            self.last_write = self.now
            self.offer = None if decision.status.lease is not None else self.offer
            for one in decision.recorded:
                del self.attempted[one]

    def _stop(self, decision: Decision) -> None:
        for job in decision.stop:
            if job.name in self.jobs:
                self.jobs[job.name]["metadata"]["deletionTimestamp"] = stamp(self.now)

    def _deliver(self, decision: Decision) -> None:
        stored = {one.id: one for one in self.separation.status.webhooks}
        for one in decision.deliver:
            assert stored[one.id].pending, "nothing is sent that is not stored as due"
            assert one.id not in self.in_hand
            assert one.id not in self.attempted
            self.in_hand[one.id] = one.url

    def _delete(self, decision: Decision) -> None:
        self.deleted = self.deleted or decision.delete

    # what happens to webhooks

    def answer(self, url: str, status: int = 200, **more: Any) -> None:
        """Let a consumer respond, to the newest of its webhooks."""
        one = [key for key, value in self.in_hand.items() if value == url][-1]
        del self.in_hand[one]
        self.attempted[one] = AttemptResult(one, self.now, status, **more)

    def restart(self) -> None:
        """Restart the operator: everything not persisted is lost."""
        self.in_hand.clear()
        self.attempted.clear()
        self.finished.clear()
        self.kept.clear()

    def settle(self, rounds: int = 20) -> None:
        """Decide until nothing changes."""
        for _ in range(rounds):
            before = (self.status, len(self.created))
            decision = self.step()
            acted = (
                decision.copy
                or decision.create
                or decision.stop
                or decision.delete
                or decision.remove
                or decision.deliver
            )
            if not acted and before == (self.status, len(self.created)) and decision.requeue_after != 0:
                return

    def wait(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)

    # what happens to Jobs

    def job(self, stage: WorkStage, attempt: int = 1, run: int | None = None) -> dict[str, Any]:
        return self.jobs[job_name(NAME, UID, stage, run or self.spec.get("run", 1), attempt)]

    def live(self, stage: WorkStage) -> list[str]:
        typed = [job_of(job) for job in self.jobs.values()]
        return [job.name for job in typed if job and job.live and job.stage is stage]

    # what happens to workers

    def worker(self) -> dict[str, Any]:
        """The worker that was created last."""
        names = [name for name in self.created if name.startswith("stemyard-worker-")]
        return self.jobs[names[-1]]

    def offer_worker(self) -> None:
        """Let the pod of a worker run and ask for a song."""
        worker = self.worker()
        self.run(worker)
        pod, typed = self.pod(worker)["metadata"], self._typed(worker)
        self.caller, self.offer = pod["uid"], LeaseOffer(typed, pod["uid"], pod["name"])

    def publish_leased(self) -> MarkReference:
        """Store mark and files of the leased song, as its worker does."""
        lease = self.separation.status.lease
        assert lease is not None
        key, content, beside = mark_of(self.separation, WorkStage.SEPARATE, self.spec.get("run", 1), lease.pod_uid)
        self.objects.update(beside)
        self.objects[key] = content
        return MarkReference(key=key, sha256=hashlib.sha256(content).hexdigest())

    def say_end(self, code: FailureCode | None = None, mark: MarkReference | None = None) -> None:
        """Let the worker say how its song ended."""
        outcome = Outcome(stage=WorkStage.SEPARATE, code=code, mark=mark)
        self.reported = SongEnd(uid=UID, run=self.spec.get("run", 1), outcome=outcome)

    def replace_pod(self, worker: dict[str, Any]) -> None:
        """Let the Job controller replace the pod of a worker after a disruption."""
        uid = worker["metadata"]["uid"]
        name = f"{worker['metadata']['name']}-{next(self.numbers)}"
        metadata = {"name": name, "uid": f"pod-{next(self.numbers)}", "creationTimestamp": stamp(self.now)}
        self.pods[uid] = [{"metadata": metadata, "status": {}}]
        worker["status"] = {"active": 1, "ready": 0}

    def pod(self, job: dict[str, Any], **status: Any) -> dict[str, Any]:
        """Create or change the pod of a Job."""
        pods = self.pods.setdefault(job["metadata"]["uid"], [])
        if not pods:
            uid = f"pod-{next(self.numbers)}"
            metadata = {"name": f"{job['metadata']['name']}-x", "uid": uid, "creationTimestamp": stamp(self.now)}
            pods.append({"metadata": metadata, "status": {}})
        pods[0]["status"].update(status)
        return pods[0]

    def run(self, job: dict[str, Any]) -> None:
        """Start the pod of a Job, which Kueue has admitted if it is in a queue."""
        job["spec"].pop("suspend", None)
        self.pod(
            job,
            phase="Running",
            conditions=[{"type": "PodScheduled", "status": "True", "lastTransitionTime": stamp(self.now)}],
            containerStatuses=[{"state": {"running": {"startedAt": stamp(self.now)}}}],
        )
        job["status"] = {"active": 1, "ready": 1}

    def succeed(self, job: dict[str, Any], *, outcome: bool = True, recording: str = "") -> str:
        """Complete a Job: its mark and files are stored. Returns the key of the mark."""
        reference = self.publish(job, recording=recording)
        message = Outcome(stage=self._typed(job).stage, mark=reference).dump() if outcome else ""
        self.end(job, "Complete", exit_code=0, reason="Completed", message=message)
        return reference.key

    def publish(self, job: dict[str, Any], *, recording: str = "") -> MarkReference:
        """Store the mark and files of a Job's pod."""
        typed, pod_uid = self._typed(job), self.pod(job)["metadata"]["uid"]
        key, content, beside = mark_of(self.separation, typed.stage, typed.run, pod_uid, recording=recording)
        self.objects.update(beside)
        self.objects[key] = content
        return MarkReference(key=key, sha256=hashlib.sha256(content).hexdigest())

    def say_finished(self, job: dict[str, Any], reference: MarkReference | None = None) -> None:
        """Let the pod of a live Job say that its stage is finished, by default truly."""
        self.finished[self._typed(job).uid] = StageFinished(reference or self.publish(job), self.now)

    def _typed(self, job: dict[str, Any]) -> Job:
        typed = job_of(job)
        assert typed is not None
        return typed

    def end(self, job: dict[str, Any], how: str, *, pod_reason: str = "", message: str = "", **terminated: Any) -> None:
        """End a Job and its pod."""
        before = (self.pod(job)["status"].get("containerStatuses") or [{}])[0].get("state", {})
        state = {
            "startedAt": before.get("running", {}).get("startedAt", stamp(self.now)),
            "exitCode": terminated.get("exit_code", 1),
            "reason": terminated.get("reason", "Error"),
            "message": message,
        }
        phase = "Succeeded" if how == "Complete" else "Failed"
        self.pod(job, phase=phase, reason=pod_reason, containerStatuses=[{"state": {"terminated": state}}])
        condition = {"type": how, "status": "True", "lastTransitionTime": stamp(self.now), "reason": "x"}
        job["status"] = {"conditions": [condition]}

    def vanish(self, job: dict[str, Any]) -> None:
        """Delete a Job and its pods."""
        del self.jobs[job["metadata"]["name"]]
        self.pods.pop(job["metadata"]["uid"], None)


def _mark_found(found: FoundSource | FoundManifest | None) -> dict[str, Any]:
    """Return the answer that a mark is to a query."""
    if found is None:
        return {}
    return {"source" if isinstance(found, FoundSource) else "manifest": found}


def mark_of(
    separation: Separation, stage: WorkStage, run: int, pod_uid: str, install: str = INSTALL, recording: str = ""
) -> tuple[str, bytes, dict[str, bytes]]:
    """Return key and bytes of the mark that a pod would write, and the files beside it.

    Each separation has a recording of its own, unless one is named.
    """
    sound = hashlib.sha256((recording or f"{separation.namespace}/{separation.name}").encode()).hexdigest()
    token = object_token(separation.uid, run, pod_uid, stage.room)
    prefix = object_prefix(install, stage.room, separation.track_id, token)
    if stage is WorkStage.FETCH:
        audio = b"fLaC" * 100
        mark: SourceMark | Manifest = SourceMark(
            uid=separation.uid,
            run=run,
            pod_uid=pod_uid,
            audio=StoredFile(file="audio.flac", bytes=len(audio), sha256=hashlib.sha256(audio).hexdigest()),
            samples=441_000,
            exponent=1,
            peak=0.4,
            mean=0.0,
            standard_deviation=0.1,
            audio_sha256=sound,
            media={"title": "The Song", "artist": "The Band"},
            received_bytes=1000,
        )
        return prefix + stage.mark_file, mark.dump().encode(), {prefix + "audio.flac": audio}
    beside = {prefix + f"{stem}.mp3": stem.encode() * 50 for stem in separation.spec.stems}
    mark = Manifest(
        uid=separation.uid,
        run=run,
        pod_uid=pod_uid,
        stems={
            Stem(stem): StemFile(
                file=f"{stem}.mp3",
                bytes=len(stem.encode() * 50),
                sha256=hashlib.sha256(stem.encode() * 50).hexdigest(),
                samples=441_000,
                duration_seconds=10.0,
                integrated_loudness=-14.2,
                true_peak=-1.1,
            )
            for stem in separation.spec.stems
        },
        source_audio_sha256=sound,
        engine="spleeter",
        model="spleeter-2stems",
        model_digest="sha256:" + "b" * 64,
        device="cpu",
        output=Output(),
        gain_db=-1.0,
        real_time_factor=0.1,
        timings={"separate": 30.0},
        network_seconds=4.0,
        media={"title": "The Song", "artist": "The Band"},
        request=job_request(separation),
        published_at=separation.created + timedelta(seconds=40),
    )
    return prefix + stage.mark_file, mark.dump().encode(), beside
