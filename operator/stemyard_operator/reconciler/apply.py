"""Applies a decision: every write that the operator makes for one SeparationJob is made here."""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from stemyard_contract.separationjob import KIND, SeparationJobStatus
from stemyard_operator.backoff import pause_after
from stemyard_operator.clients.kubernetes import Json, KubernetesClient, is_refusal, is_unanswered
from stemyard_operator.clients.kubernetes_paths import jobs_path, separations_path
from stemyard_operator.clients.s3 import ObjectStoreClient
from stemyard_operator.config.settings import Settings
from stemyard_operator.config.webhook_secrets import WebhookSecrets
from stemyard_operator.decision.actions import CopyStems, Decision
from stemyard_operator.decision.events import deletion_refused, events_of, status_refused
from stemyard_operator.decision.status_change import StatusChange, status_change_of
from stemyard_operator.decision.webhook_progress import ProgressWebhook, progress_webhooks, started_webhooks
from stemyard_operator.decision.webhook_targets import Target, targets
from stemyard_operator.errors import (
    ConflictError,
    JobRefusedError,
    KubernetesError,
    NotFoundError,
    ObjectStoreError,
    OperatorError,
    OutdatedCrdError,
)
from stemyard_operator.informer.cluster_cache import ClusterCache
from stemyard_operator.informer.event_handlers import EventHandlers
from stemyard_operator.informer.lease_book import LeaseBook
from stemyard_operator.informer.registration_watch import RegistrationWatch
from stemyard_operator.jobs.manifest import Creation
from stemyard_operator.model.job import Job, job_of
from stemyard_operator.model.observed import Observed
from stemyard_operator.model.separation import Resource, Separation, controller_of
from stemyard_operator.reconciler.concurrency import ConcurrencyLimiter
from stemyard_operator.reconciler.copy_stems import copy_stems
from stemyard_operator.reconciler.lane import Lane, LaneFullError
from stemyard_operator.reconciler.run_cache import RunState
from stemyard_operator.webhooks.dispatcher import Dispatcher, WebhookTask

_OWN_WRITE_SECONDS: Final = 2.0
"""Delay of the pass after an own write of a run at work: most likely another event comes first."""
_FRESH_SECONDS: Final = 1.0
"""A new SeparationJob received so recently is not read again: that would take as long as its next event does."""
_DELETION_SECONDS: Final = 2.0
"""Delay of the pass after a Job of the same name was found being deleted."""

_UNANSWERED: Final = 2
"""Creations of one Job in a row without an answer, from which on that is said; one may be a slow API server."""
_HANGING: Final = "the API server did not answer in time; an admission webhook for Jobs may hang"

log = logging.getLogger(__name__)


class DecideAgain(Exception):  # noqa: N818 - not an error
    """What the decision was made from has changed; decide again after `seconds`."""

    def __init__(self, seconds: float = 0.0) -> None:
        super().__init__()
        self.seconds = seconds


@dataclass(frozen=True, slots=True)
class Applier:
    """Carries out decisions.

    `on_write` are called with each change of a status that was written; `remove_later` takes the uid of a separation
    and objects that the store could not remove now.
    """

    settings: Settings
    cluster: KubernetesClient
    objects: ObjectStoreClient
    cluster_cache: ClusterCache
    event_handlers: EventHandlers
    leases: LeaseBook
    limiter: ConcurrencyLimiter
    dispatcher: Dispatcher
    webhook_secrets: WebhookSecrets
    registrations: RegistrationWatch
    on_write: tuple[Callable[[StatusChange], None], ...]
    store_lane: Lane
    remove_later: Callable[[str, tuple[str, ...]], None]

    async def apply(self, decision: Decision, observed: Observed, run_state: RunState) -> None:
        """Carry out a decision, in the order of its fields.

        Raises:
            DecideAgain: something has changed since it was made.
            LaneFullError: the object store is needed, and too many use it already.
            OperatorError: the API server or the object store failed.
        """
        separation = observed.separation
        self._notify_start(separation, run_state)
        if decision.waiting_for is not None:
            self.limiter.wait(separation, decision.waiting_for)
        else:
            self.limiter.leave(separation.uid)
        if decision.waiting_shape:
            self.leases.wait(separation, decision.waiting_shape)
        else:
            self.leases.leave(separation.uid)
        if decision.remove:
            await self._remove(decision, separation)
        if decision.copy is not None:
            self._enter_store_lane(separation)
            await self._copy(decision.copy, separation, run_state)
        if decision.create is not None:
            await self._create(decision.create, separation, run_state)
        if decision.status is not None:
            await self._write(decision.status, decision, observed, run_state)
        self.leases.settle(separation.uid, decision.status.lease if decision.status is not None else None)
        refused = [error for job in decision.stop if (error := await self._stop(job, separation)) is not None]
        for delivery in decision.deliver:
            task = WebhookTask(separation.uid, delivery.id, delivery.url, separation.namespace, key=delivery.key)
            self.dispatcher.enqueue(task)
        if decision.delete:
            await self._delete(separation)
        if refused:
            # last, so that a policy against deletions does not keep the webhooks of a run that has ended
            raise refused[0]

    async def _remove(self, decision: Decision, separation: Separation) -> None:
        """Remove objects; while the store fails, later, where a status is to be written that must not wait for it."""
        try:
            self._enter_store_lane(separation)
            for target in decision.remove:
                await self.objects.remove(target)
        except (ObjectStoreError, LaneFullError) as error:
            if decision.status is None:
                raise
            log.warning("objects are removed later: %s", error or "the store is busy", extra=separation.log_fields)
            self.remove_later(separation.uid, decision.remove)

    def _enter_store_lane(self, separation: Separation) -> None:
        self.store_lane.enter((separation.namespace, separation.name))

    def _notify_start(self, separation: Separation, run_state: RunState) -> None:
        """Send the webhooks of a run's start, once per process: it is not recorded, so a new leader sends it again."""
        if run_state.started_at is not None and not run_state.start_notified:
            run_state.start_notified = True
            self._notify(separation, started_webhooks(separation, self._targets(separation)))

    def _notify(self, separation: Separation, notices: list[ProgressWebhook]) -> None:
        for notice in notices:
            task = WebhookTask(separation.uid, notice.id, notice.url, separation.namespace, notice, notice.key)
            self.dispatcher.enqueue_progress(task)

    def _targets(self, separation: Separation) -> tuple[Target, ...]:
        return targets(separation.spec, self.settings, self.webhook_secrets.endpoints, self.registrations.known)

    async def _copy(self, copy: CopyStems, separation: Separation, run_state: RunState) -> None:
        extra = {**separation.log_fields, "from": copy.name}
        if await copy_stems(self.objects, copy, separation, self.settings.stemyard_install_id):
            log.info("copied stems", extra=extra)
        else:
            run_state.unusable_duplicates.add(copy.uid)
            log.warning("stems to copy are missing", extra=extra)

    async def _create(self, creation: Creation, separation: Separation, run_state: RunState) -> None:
        if not creation.queue and not self.limiter.claim(separation, creation.stage):
            raise DecideAgain
        try:
            await self._confirm_unchanged(separation)
            try:
                job = await self.cluster.create_job(separation.namespace, creation.manifest)
            except ConflictError:
                job = await self._adopt(creation, separation, run_state)
            except JobRefusedError as error:
                self._record_refusal(str(error), error.retry_after, creation, separation, run_state)
                raise DecideAgain from None
            except KubernetesError as error:
                if not is_unanswered(error) or run_state.unanswered(creation.name) < _UNANSWERED:
                    raise
                self._record_refusal(_HANGING, error.retry_after, creation, separation, run_state)
                raise DecideAgain from None
            run_state.created(creation.name)
            self.event_handlers.job(job, _OWN_WRITE_SECONDS)
            log.info("created job", extra={**separation.log_fields, "stage": creation.stage, "job": creation.name})
        finally:
            self.limiter.release(separation.uid)

    def _record_refusal(
        self, why: str, least: float, creation: Creation, separation: Separation, run_state: RunState
    ) -> None:
        base, most = self.settings.retry_base_seconds, self.settings.retry_max_seconds
        pause = max(pause_after(run_state.refused, base, most), least)
        run_state.refuse(creation.name, why, self._now(), pause)
        extra = {**separation.log_fields, "stage": creation.stage, "job": creation.name}
        log.warning("job refused, trying again in %.0f s: %s", pause, why, extra=extra)

    async def _confirm_unchanged(self, separation: Separation) -> None:
        """Read the SeparationJob before a Job is created for it: it may be cancelled or gone without an event yet."""
        age = self.cluster_cache.seconds_since_received(separation.uid, separation.resource_version)
        if separation.status.run is None and age < _FRESH_SECONDS:
            return
        resource = await self._read_again(separation)
        if resource is None or int(resource["metadata"]["resourceVersion"]) != separation.resource_version:
            raise DecideAgain

    async def _adopt(self, creation: Creation, separation: Separation, run_state: RunState) -> Json:
        """Return the existing Job of that name if this separation owns it, or if it is a worker of that shape."""
        name = creation.name
        try:
            job = await self.cluster.read(jobs_path(separation.namespace, name))
        except NotFoundError:
            raise DecideAgain from None
        owner, found = controller_of(job["metadata"], KIND), job_of(job)
        same_shape = found is not None and found.shape != "" and found.shape == creation.shape
        if not same_shape and (owner is None or owner["uid"] != separation.uid):
            run_state.foreign_jobs.add(name)
            raise DecideAgain
        if "deletionTimestamp" in job["metadata"]:
            raise DecideAgain(_DELETION_SECONDS)
        self.event_handlers.job_read(job)
        return job

    async def _write(
        self, status: SeparationJobStatus, decision: Decision, observed: Observed, run_state: RunState
    ) -> None:
        separation = observed.separation
        name, namespace = separation.name, separation.namespace
        try:
            resource = await self.cluster.apply_status(namespace, name, separation.resource_version, status.dump())
        except NotFoundError:
            self.event_handlers.separation_missing(separation.uid)
            raise DecideAgain from None
        except ConflictError:
            await self._read_again(separation)
            raise DecideAgain from None
        except OutdatedCrdError as error:
            await self._post_event(namespace, status_refused(separation, status, str(error), self._now()))
            raise
        run_state.written_at = time.monotonic()
        self.dispatcher.discard_results(separation.uid, decision.recorded)
        self._received(resource, separation, 0.0 if status.finished_at else _OWN_WRITE_SECONDS)
        now = self._now()
        _log_transition(separation, status)
        change = status_change_of(observed, status, now, self.settings)
        for notify in self.on_write:
            notify(change)
        self._notify(separation, progress_webhooks(separation, status, self._targets(separation)))
        for event in events_of(separation, status, now):
            await self._post_event(namespace, event)

    async def _read_again(self, separation: Separation) -> Resource | None:
        """Read the SeparationJob into the cache; return it, None if it is gone."""
        try:
            resource = await self.cluster.read(separations_path(separation.namespace, separation.name))
        except NotFoundError:
            self.event_handlers.separation_missing(separation.uid)
            return None
        self._received(resource, separation)
        return resource

    def _received(self, resource: Resource, separation: Separation, delay: float = 0.0) -> None:
        if resource["metadata"]["uid"] != separation.uid:
            self.event_handlers.separation_missing(separation.uid)
        self.event_handlers.separation(resource, delay)

    async def _post_event(self, namespace: str, event: Resource) -> None:
        """Post an Event; failures are logged, not raised."""
        try:
            await self.cluster.post_event(namespace, event)
        except OperatorError as error:
            log.warning("Event not posted: %s", error)

    async def _stop(self, job: Job, separation: Separation) -> KubernetesError | None:
        """Delete a Job; return the error if the API server refuses that, which an Event reports."""
        try:
            await self.cluster.delete_job(job.namespace, job.name, job.uid)
        except (NotFoundError, ConflictError):
            self.event_handlers.job_gone(job.uid)
            return None
        except KubernetesError as error:
            if not is_refusal(error) and not is_unanswered(error):
                raise
            why = f"The Job {job.name} cannot be deleted: {_HANGING if is_unanswered(error) else error}"
            await self._post_event(job.namespace, deletion_refused(separation, why, self._now()))
            return error
        log.info("stopping job", extra={"uid": job.owner, "stage": job.stage, "job": job.name, "run": job.run})
        return None

    async def _delete(self, separation: Separation) -> None:
        try:
            await self.cluster.delete_separation(
                separation.namespace, separation.name, separation.uid, separation.resource_version
            )
        except NotFoundError:
            self.event_handlers.separation_missing(separation.uid)
        except ConflictError:
            await self._read_again(separation)
            raise DecideAgain from None
        except KubernetesError as error:
            if is_refusal(error):
                why = f"It has expired and cannot be deleted: {error}"
                await self._post_event(separation.namespace, deletion_refused(separation, why, self._now()))
            raise
        log.info("deleted expired SeparationJob", extra=separation.log_fields)

    def _now(self) -> datetime:
        return self.cluster.clock.now()


def _log_transition(separation: Separation, after: SeparationJobStatus) -> None:
    """Log one line for each status write: at INFO if the phase or the run changed, else at DEBUG."""
    before = separation.status
    extra = {
        **separation.log_fields,
        "stage": after.stage,
        "reason": after.reason,
        "phase": after.phase,
        "job": after.job,
    }
    if after.failure is not None:
        extra["code"] = after.failure.code
    changed = (before.phase, before.run) != (after.phase, after.run)
    log.log(logging.INFO if changed else logging.DEBUG, "%s to %s", before.phase or "new", after.phase, extra=extra)
