"""One turn of one separation: observe, decide, carry out. Every write the operator makes for it is made here."""

import logging
import time
from collections.abc import Callable
from datetime import datetime
from typing import Final

from pydantic import ValidationError

from stemyard_contract.handover import WorkStage
from stemyard_contract.separationjob import KIND, ConditionType, SeparationJobStatus
from stemyard_operator.clients.kubernetes import Json, KubernetesClient, jobs_path, separations_path
from stemyard_operator.clients.s3 import ObjectStoreClient
from stemyard_operator.config.settings import Settings
from stemyard_operator.config.webhook_secrets import WebhookSecrets
from stemyard_operator.decision.actions import Copy, Decision
from stemyard_operator.decision.decide import decide
from stemyard_operator.decision.events import events_of, status_refused
from stemyard_operator.decision.status_change import StatusChange, account
from stemyard_operator.decision.status_draft import TICK_SECONDS
from stemyard_operator.decision.webhook_progress import progress_of, start_of
from stemyard_operator.decision.webhook_targets import Target, targets
from stemyard_operator.errors import ConflictError, NotFoundError, OperatorError, OutdatedCrdError
from stemyard_operator.informer.cache_entry import Key
from stemyard_operator.informer.cluster_cache import ClusterCache
from stemyard_operator.informer.duplicate_index import duplicates_of
from stemyard_operator.informer.event_handlers import EventHandlers
from stemyard_operator.jobs.manifest import Creation
from stemyard_operator.mirror.progress import ProgressStore
from stemyard_operator.model.conditions import ended, holds
from stemyard_operator.model.job import Job
from stemyard_operator.model.observed import Duplicate, Observed
from stemyard_operator.model.separation import Resource, Separation, controller_of
from stemyard_operator.reconciler.concurrency import ConcurrencyLimiter
from stemyard_operator.reconciler.copy_stems import copy_stems
from stemyard_operator.reconciler.observer import Observations, Observer
from stemyard_operator.reconciler.run_cache import RunCache, RunState
from stemyard_operator.webhooks.dispatcher import Dispatcher, QueuedDelivery, QueuedProgress

_ROUNDS: Final = 8
"""Rounds of questions that one decision may take; the deepest asks four times."""
_ECHO_SECONDS: Final = 2.0
"""What we made ourselves of a run under way was decided upon a moment ago: most likely news comes first."""
_FRESH_SECONDS: Final = 1.0
"""A new one that was heard of so short a time ago is as it was: to ask again takes as long as the next news does."""
_AT_ONCE: Final = 0.0
_SOON: Final = 2.0

log = logging.getLogger(__name__)


class DecideAgain(Exception):  # noqa: N818 - not an error: the world moved on
    """What the decision was made from has changed; look again after `seconds`."""

    def __init__(self, seconds: float) -> None:
        super().__init__()
        self.seconds = seconds


class Reconciler:
    """Idempotent and restartable: a crash between any two lines is repaired by the next turn."""

    def __init__(
        self,
        settings: Settings,
        cluster: KubernetesClient,
        objects: ObjectStoreClient,
        cluster_cache: ClusterCache,
        event_handlers: EventHandlers,
        slots: ConcurrencyLimiter,
        board: ProgressStore,
        dispatcher: Dispatcher,
        wrote: Callable[[StatusChange], None],
        webhook_secrets: WebhookSecrets,
    ) -> None:
        self._settings = settings
        self._cluster = cluster
        self._objects = objects
        self._cluster_cache = cluster_cache
        self._event_handlers = event_handlers
        self._concurrency = slots
        self._board = board
        self._dispatcher = dispatcher
        self._wrote = wrote
        self._webhook_secrets = webhook_secrets
        self._run_cache = RunCache()
        self._observer = Observer(
            cluster, objects, event_handlers, settings.stemyard_install_id, settings.kueue_api_version
        )
        self.now: Callable[[], datetime] = cluster.clock.now
        event_handlers.on_gone = self.forget
        dispatcher.on_result = self._attempted

    def forget(self, uid: str) -> None:
        """Forget a separation that is gone."""
        self._forget_run(uid)
        self._dispatcher.forget(uid)

    def _attempted(self, uid: str) -> None:
        resource = self._cluster_cache.separation(uid)
        if resource is not None:
            self._event_handlers.wake(resource)

    def _forget_run(self, uid: str) -> None:
        self._run_cache.forget(uid)
        self._board.forget(uid)

    async def reconcile(self, key: Key) -> float | None:
        """Take one turn; return the seconds until the next, None when only news can change anything.

        Raises:
            OperatorError: something outside failed; the next turn tries again.
        """
        try:
            separation = self._cluster_cache.at(key)
        except ValidationError as error:
            log.error("left alone, its form is unknown: %s", error, extra={"key": key})  # noqa: TRY400 - the message says it all
            return None
        if separation is None:
            return None
        run_state = self._run_state(separation)
        try:
            decision, observed = await self._decide(separation, run_state)
            await self._carry_out(decision, observed, run_state)
        except DecideAgain as again:
            return again.seconds
        return decision.again_in

    def _run_state(self, separation: Separation) -> RunState:
        if ended(separation):
            self._forget_run(separation.uid)
            return RunState(run=separation.spec.run)
        return self._run_cache.of(separation.uid, separation.spec.run, separation.status)

    async def _decide(self, separation: Separation, run_state: RunState) -> tuple[Decision, Observed]:
        answers = Observations()
        for _ in range(_ROUNDS):
            observed = await self._observe(separation, answers, run_state)
            decision = decide(observed, self.now(), self._settings)
            if not decision.questions:
                return decision, observed
            for question in decision.questions:
                await self._observer.answer(question, separation, answers, run_state)
            if run_state.source is not None:
                mark = run_state.source.mark
                self._event_handlers.duplicates.note(separation, mark.media.media_id, mark.audio_sha256)
        raise OperatorError(f"questions without end about {separation.name}: {decision.questions}")

    async def _observe(self, separation: Separation, answers: Observations, run_state: RunState) -> Observed:
        jobs = self._cluster_cache.jobs_of(separation.uid)
        await self._count_pods(jobs, answers, run_state)
        self._tell_start(separation, run_state)
        # nothing is started beside a Job that is at work, and of the stages only the next: who has room is counted then
        settled = ended(separation) or any(job.live and job.deleted_at is None for job in jobs)
        fetched = run_state.source is not None or holds(separation.run_status, ConditionType.FETCHED)
        following = WorkStage.SEPARATE if fetched else WorkStage.FETCH
        quiet = run_state.quiet(time.monotonic())
        due = quiet >= TICK_SECONDS and bool(jobs) and not ended(separation)
        return Observed(
            separation=separation,
            jobs=jobs,
            pods={**run_state.pods, **answers.pods},
            seen=run_state.sightings,
            source=run_state.source,
            manifest=run_state.manifest,
            looked=frozenset(WorkStage(stage) for stage in answers.looked),
            workloads=answers.workloads,
            absent=frozenset(answers.absent),
            foreign=frozenset(run_state.foreign),
            room=frozenset() if settled else self._concurrency.room(separation, (following,)),
            rest_seconds=self._concurrency.rest(separation),
            duplicates=self._duplicates(separation, run_state),
            disruptions=run_state.disruptions,
            progress=await self._board.percent(separation) if due else None,
            started_at=run_state.started_at,
            quiet_seconds=quiet,
            attempted=self._dispatcher.results(separation.uid),
            attempted_seconds=self._dispatcher.results_age(separation.uid),
            in_hand=self._dispatcher.in_hand(separation.uid),
            endpoints=self._webhook_secrets.endpoints,
        )

    def _duplicates(self, separation: Separation, run_state: RunState) -> tuple[Duplicate, ...]:
        if ended(separation):
            return ()
        uids = self._event_handlers.duplicates.others(separation.uid) - run_state.hollow
        found = [self._cluster_cache.typed(uid) for uid in uids]
        return duplicates_of(separation, [other for other in found if other is not None])

    async def _count_pods(self, jobs: tuple[Job, ...], answers: Observations, run_state: RunState) -> None:
        """Look at each pod once, when it gets ready: only a second one of its Job tells of a disruption."""
        for job in jobs:
            if job.ready > run_state.ready.get(job.uid, 0) and job.uid not in answers.pods:
                answers.pods[job.uid] = await self._observer.pods(job)
                run_state.see(job, answers.pods[job.uid])
            run_state.ready[job.uid] = job.ready

    async def _carry_out(self, decision: Decision, observed: Observed, run_state: RunState) -> None:
        """Carry a decision out, in the order of its fields."""
        separation = observed.separation
        if decision.waits_for is not None:
            self._concurrency.wait(separation, decision.waits_for)
        else:
            self._concurrency.leave(separation.uid)
        for target in decision.remove:
            await self._objects.remove(target)
        if decision.copy is not None:
            await self._copy(decision.copy, separation, run_state)
        if decision.create is not None:
            await self._create(decision.create, separation, run_state)
        if decision.status is not None:
            await self._write(decision, observed, run_state)
        for job in decision.stop:
            await self._stop(job)
        for delivery in decision.deliver:
            self._dispatcher.take(QueuedDelivery(separation.uid, delivery.id, delivery.url))
        if decision.delete:
            await self._delete(separation)

    async def _copy(self, copy: Copy, separation: Separation, run_state: RunState) -> None:
        about = {**separation.about, "from": copy.name}
        if await copy_stems(self._objects, copy, separation, self._settings.stemyard_install_id):
            log.info("copied stems", extra=about)
        else:
            run_state.hollow.add(copy.uid)
            log.warning("stems to copy are not there", extra=about)

    async def _create(self, creation: Creation, separation: Separation, run_state: RunState) -> None:
        if not creation.queue and not self._concurrency.claim(separation, creation.stage):
            raise DecideAgain(_AT_ONCE)
        try:
            await self._confirm_unchanged(separation)
            try:
                job = await self._cluster.create_job(separation.namespace, creation.manifest)
            except ConflictError:
                job = await self._adopt(creation.name, separation, run_state)
            self._event_handlers.job(job, _ECHO_SECONDS)
            log.info("created job", extra={**separation.about, "stage": creation.stage, "job": creation.name})
        finally:
            self._concurrency.release(separation.uid)

    async def _confirm_unchanged(self, separation: Separation) -> None:
        """Read the SeparationJob itself before a Job is made for it: it may be cancelled or gone, unheard of."""
        heard = self._cluster_cache.since_heard(separation.uid, separation.resource_version)
        if separation.status.run is None and heard < _FRESH_SECONDS:
            return
        path = separations_path(separation.namespace, separation.name)
        try:
            resource = await self._cluster.read(path)
        except NotFoundError:
            self._event_handlers.separation_gone(separation.uid)
            raise DecideAgain(_AT_ONCE) from None
        if int(resource["metadata"]["resourceVersion"]) != separation.resource_version:
            self._refresh(resource, separation)
            raise DecideAgain(_AT_ONCE)

    def _refresh(self, resource: Resource, separation: Separation, delay: float = _AT_ONCE) -> None:
        if resource["metadata"]["uid"] != separation.uid:
            self._event_handlers.separation_gone(separation.uid)
        self._event_handlers.separation(resource, delay)

    async def _adopt(self, name: str, separation: Separation, run_state: RunState) -> Json:
        """Return the Job that already has the name, where it is this separation's own."""
        try:
            job = await self._cluster.read(jobs_path(separation.namespace, name))
        except NotFoundError:
            raise DecideAgain(_AT_ONCE) from None
        owner = controller_of(job["metadata"], KIND)
        if owner is None or owner["uid"] != separation.uid:
            run_state.foreign.add(name)
            raise DecideAgain(_AT_ONCE)
        if "deletionTimestamp" in job["metadata"]:
            raise DecideAgain(_SOON)
        return job

    async def _write(self, decision: Decision, observed: Observed, run_state: RunState) -> None:
        separation, status = observed.separation, decision.status
        if status is None:
            return
        name, namespace = separation.name, separation.namespace
        try:
            resource = await self._cluster.apply_status(namespace, name, separation.resource_version, status.dump())
        except NotFoundError:
            self._event_handlers.separation_gone(separation.uid)
            raise DecideAgain(_AT_ONCE) from None
        except ConflictError:
            await self._read_again(separation)
            raise DecideAgain(_AT_ONCE) from None
        except OutdatedCrdError as error:
            await self._tell(namespace, status_refused(separation, status, str(error), self.now()))
            raise
        run_state.written_at = time.monotonic()
        self._dispatcher.recorded(separation.uid, decision.recorded)
        self._refresh(resource, separation, _AT_ONCE if status.finished_at else _ECHO_SECONDS)
        now = self.now()
        _log_transition(separation, status)
        self._wrote(account(observed, status, now, self._settings))
        for notice in progress_of(separation, status, self._told(separation)):
            self._dispatcher.tell(QueuedProgress(separation.uid, notice))
        for event in events_of(separation, status, now):
            await self._tell(namespace, event)

    def _tell_start(self, separation: Separation, run_state: RunState) -> None:
        """Tell consumers who want to hear of it that the first pod has started; without a record, so maybe twice."""
        if run_state.started_at is None or run_state.start_told:
            return
        run_state.start_told = True
        for notice in start_of(separation, self._told(separation)):
            self._dispatcher.tell(QueuedProgress(separation.uid, notice))

    def _told(self, separation: Separation) -> tuple[Target, ...]:
        return targets(separation.spec, self._settings, self._webhook_secrets.endpoints)

    async def _read_again(self, separation: Separation) -> None:
        try:
            resource = await self._cluster.read(separations_path(separation.namespace, separation.name))
        except NotFoundError:
            self._event_handlers.separation_gone(separation.uid)
            return
        self._refresh(resource, separation)

    async def _tell(self, namespace: str, event: Resource) -> None:
        """Post an Event; one that does not arrive is no reason to do anything again."""
        try:
            await self._cluster.post_event(namespace, event)
        except OperatorError as error:
            log.warning("an Event was not posted: %s", error)

    async def _stop(self, job: Job) -> None:
        try:
            await self._cluster.delete_job(job.namespace, job.name, job.uid)
        except (NotFoundError, ConflictError):
            self._event_handlers.job_gone(job.uid)
            return
        log.info("stopping job", extra={"uid": job.owner, "stage": job.stage, "job": job.name, "run": job.run})

    async def _delete(self, separation: Separation) -> None:
        try:
            await self._cluster.delete_separation(
                separation.namespace, separation.name, separation.uid, separation.resource_version
            )
        except NotFoundError:
            self._event_handlers.separation_gone(separation.uid)
        except ConflictError:
            await self._read_again(separation)
            raise DecideAgain(_AT_ONCE) from None
        log.info("deleted after its time", extra=separation.about)


def _log_transition(separation: Separation, after: SeparationJobStatus) -> None:
    """Log one line for each change of phase, or run; other writes are for those who look closely."""
    before = separation.status
    told = {**separation.about, "stage": after.stage, "reason": after.reason, "phase": after.phase, "job": after.job}
    if after.failure is not None:
        told["code"] = after.failure.code
    moved = (before.phase, before.run) != (after.phase, after.run)
    log.log(logging.INFO if moved else logging.DEBUG, "%s to %s", before.phase or "new", after.phase, extra=told)
