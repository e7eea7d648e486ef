"""Cancels, deletes and retries tracks, and keeps readers from seeing the previous state."""

import asyncio
import logging
import random
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from stemyard_api.auth.api_keys import Principal
from stemyard_api.auth.authorization import check_changeable, check_visible, named_namespace
from stemyard_api.clients.kubernetes import KubernetesClient, Resource
from stemyard_api.clients.redis import RedisUnavailableError
from stemyard_api.clients.s3 import ObjectStoreClient
from stemyard_api.errors import (
    BeingDeletedError,
    ForbiddenError,
    TrackNotFoundError,
    UnavailableError,
)
from stemyard_api.services.deliveries import count_pending
from stemyard_api.services.order import check_priority
from stemyard_api.services.placement_rules import (
    Operation,
    annotation_patch,
    priority_operations,
    retry_patch,
    test_operation,
    unchanged_tests,
)
from stemyard_api.services.records import joinable_record, read_record
from stemyard_api.services.stored_sources import check_source
from stemyard_api.services.tracks import Tracks
from stemyard_api.settings import Settings
from stemyard_contract.mirror import DELETED_UID, MirrorRecord, RequestRecord
from stemyard_contract.separationjob import ANNOTATION_SHARES_REVOKED, LABEL_OWNER, SeparationJobSpec

_ATTEMPTS: Final = 8
_PAUSE_SECONDS: Final = 0.1
_GONE: Final = RequestRecord(uid=DELETED_UID, run=0)
"""Matches no resource, so that readers of a stale record read the SeparationJob."""
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ActionResult:
    """Result of an action: whether a claim was removed, and whether the track itself was ended."""

    record: MirrorRecord
    claim_removed: bool
    ended: bool
    webhooks_abandoned: int = 0
    """Pending webhooks of the last run, which are not sent any more."""


@dataclass(frozen=True, slots=True)
class ReleasePlan:
    """How to remove a key's claim from a track.

    Attributes:
        record: the track as it was read.
        claimed: whether the key has a claim.
        ends: whether the track itself is cancelled or deleted: no claim remains, or the key is an admin's.
        patch: operations to apply; empty if nothing changes.
    """

    record: MirrorRecord
    claimed: bool
    ends: bool
    patch: list[Operation]


@dataclass(frozen=True, slots=True)
class JobActions:
    """Actions on existing tracks. Every method raises UnavailableError if no backend responds."""

    settings: Settings
    tracks: Tracks
    kubernetes: KubernetesClient
    object_store: ObjectStoreClient | None

    async def cancel(self, track_id: str, principal: Principal) -> ActionResult:
        """Withdraw a key's claim; cancel the run if it was the last, or for an admin.

        Raises:
            TrackNotFoundError, ForbiddenError: the key may not see, or not end, this track.
        """
        return await self._until_settled(track_id, principal, lambda resource: self._cancel(resource, principal))

    async def delete(self, track_id: str, principal: Principal) -> ActionResult:
        """Withdraw a key's claim; delete the track if it was the last, or for an admin.

        Raises:
            TrackNotFoundError, ForbiddenError: the key may not see, or not end, this track.
        """
        return await self._until_settled(track_id, principal, lambda resource: self._delete(resource, principal))

    async def retry(self, track_id: str, principal: Principal) -> MirrorRecord:
        """Start another run of a failed or cancelled track; one that is under way is left alone.

        Raises:
            TrackNotFoundError, ForbiddenError: the key may not see, or not run, this track.
            NameConflictError: it was stored by another version and cannot be read.
            TrackCompletedError: the track is completed.
            SourceGoneError, ObjectNotFoundError, SourceTooLargeError, SourceDisabledError: its upload or object
                is no longer usable.
        """
        done = await self._until_settled(track_id, principal, lambda resource: self._retry(resource, principal))
        return done.record

    async def set_priority(self, track_id: str, priority: int, principal: Principal) -> MirrorRecord:
        """Change the priority of a track; one that has ended is left alone.

        Raises:
            ForbiddenError: the priority is above the key's maximum, or the track lies in another namespace.
            TrackNotFoundError: there is no such track.
            NameConflictError: it was stored by another version and cannot be read.
        """
        check_priority(priority, principal)
        done = await self._until_settled(track_id, principal, lambda resource: self._prioritise(resource, priority))
        return done.record

    async def revoke_shares(self, track_id: str, principal: Principal) -> MirrorRecord:
        """Revoke all share links of a track. The time is recorded in the SeparationJob, so that it outlives Redis.

        Raises:
            TrackNotFoundError, ForbiddenError: the key may not see, or not end, this track.
        """
        done = await self._until_settled(track_id, principal, lambda resource: self._revoke(resource, principal))
        return done.record

    async def _until_settled(self, track_id: str, principal: Principal, act: Callable[[Resource], Any]) -> ActionResult:
        for _ in range(_ATTEMPTS):
            done: ActionResult | None = await act(await self.tracks.resource(track_id, principal))
            if done is not None:
                return done
            await asyncio.sleep(random.uniform(0.0, _PAUSE_SECONDS))
        raise UnavailableError("Too many requests for this track at once; try again.")

    async def _cancel(self, resource: Resource, principal: Principal) -> ActionResult | None:
        plan = plan_cancel(resource, principal)
        check_visible(plan.record, principal, shared=self.settings.results_shared)
        if not plan.record.cancel:  # cancelling twice is not an error
            self._check(plan.record, principal)
        return await self._write(plan, principal)

    async def _delete(self, resource: Resource, principal: Principal) -> ActionResult | None:
        plan = plan_delete(resource, principal)
        self._check(plan.record, principal)
        if not plan.ends:
            return await self._write(plan, principal)
        if not resource["metadata"].get("deletionTimestamp"):
            version = resource["metadata"]["resourceVersion"]
            if not await self.kubernetes.delete(plan.record.name, plan.record.uid, version):
                return None
        await self._note(plan.record.track_id, _GONE)
        return ActionResult(plan.record, plan.claimed, ended=True, webhooks_abandoned=count_pending(resource))

    async def _revoke(self, resource: Resource, principal: Principal) -> ActionResult | None:
        record = read_record(resource)
        self._check(record, principal)
        patch = annotation_patch(resource, ANNOTATION_SHARES_REVOKED, str(time.time_ns() // 1_000_000))
        patched = await self.kubernetes.patch(record.name, patch)
        if patched is None:
            return None
        record = read_record(patched)
        await self._note(record.track_id, request_record(record))
        return ActionResult(record, claim_removed=False, ended=False)

    async def _prioritise(self, resource: Resource, priority: int) -> ActionResult | None:
        record = read_record(resource)
        if record.finished or record.priority == priority:
            return ActionResult(record, claim_removed=False, ended=False)
        joinable_record(resource)
        patch = [test_operation("/metadata/uid", record.uid), *priority_operations(record, priority)]
        patched = await self.kubernetes.patch(record.name, patch)
        if patched is None:
            return None
        record = read_record(patched)
        await self._note(record.track_id, request_record(record))
        return ActionResult(record, claim_removed=False, ended=False)

    async def _write(self, plan: ReleasePlan, principal: Principal) -> ActionResult | None:
        if not plan.patch:
            return ActionResult(plan.record, claim_removed=False, ended=plan.ends)
        patched = await self.kubernetes.patch(plan.record.name, plan.patch)
        if patched is None:
            return None
        record = read_record(patched)
        await self._note(record.track_id, request_record(record))
        if plan.claimed:
            await self._forget_attempts(record.track_id, principal.key_id)
        return ActionResult(record, plan.claimed, plan.ends)

    async def _retry(self, resource: Resource, principal: Principal) -> ActionResult | None:
        record = read_record(resource)
        check_visible(record, principal, shared=self.settings.results_shared)
        if resource["metadata"].get("deletionTimestamp"):
            raise BeingDeletedError
        await self._check_runnable(resource, record, principal)
        patch = retry_patch(resource, principal.key_id)
        if not patch:
            return ActionResult(record, claim_removed=False, ended=False)
        patched = await self.kubernetes.patch(record.name, patch)
        if patched is None:
            return None
        record = read_record(patched)
        await self._note(record.track_id, request_record(record))
        return ActionResult(record, claim_removed=False, ended=False)

    async def _check_runnable(self, resource: Mapping[str, Any], record: MirrorRecord, principal: Principal) -> None:
        joinable_record(resource)
        source = SeparationJobSpec.model_validate(resource["spec"]).source
        by_hand = named_namespace(record.track_id) is not None
        foreign = by_hand or (source.upload is not None and source.upload.owner != principal.key_id)
        if foreign and not principal.is_admin:
            raise ForbiddenError("This API key cannot request this track itself.")
        await check_source(source, self.settings, self.object_store)

    def _check(self, record: MirrorRecord, principal: Principal) -> None:
        check_changeable(record, principal, shared=self.settings.results_shared)

    async def _forget_attempts(self, track_id: str, key_id: str) -> None:
        """Remove a key's webhook attempts; the operator removes its deliveries from the status."""
        if self.tracks.redis is None:
            return
        try:
            await self.tracks.redis.forget_attempts(track_id, key_id)
        except RedisUnavailableError:
            _log.warning("could not remove the webhook attempts of a key", extra={"track_id": track_id})

    async def _note(self, track_id: str, request: RequestRecord) -> None:
        if self.tracks.redis is None:
            return
        try:
            await self.tracks.redis.put_request(track_id, request)
        except RedisUnavailableError:
            _log.warning("could not note a change in the mirror", extra={"track_id": track_id})


def request_record(record: MirrorRecord) -> RequestRecord:
    """Return the record that makes readers see this state of a track or a later one."""
    return RequestRecord(uid=record.uid, run=record.run, version=record.resource_version)


async def erase(job_actions: JobActions, key_id: str) -> list[ActionResult]:
    """Withdraw all claims of a key; return what came of each.

    Raises:
        UnavailableError: the API server does not respond; claims already withdrawn stay withdrawn.
    """
    # so that tracks with claims of other keys remain
    without_admin = Principal(key_id, frozenset(), namespaces=frozenset({job_actions.tracks.namespace}))
    wanted = [read_record(item) async for item in job_actions.kubernetes.items() if _concerns(item, key_id)]
    slots = asyncio.Semaphore(8)

    async def withdraw(track_id: str) -> ActionResult | None:
        async with slots:
            try:
                return await job_actions.delete(track_id, without_admin)
            except (TrackNotFoundError, ForbiddenError):
                return None

    return [result for result in await asyncio.gather(*(withdraw(record.track_id) for record in wanted)) if result]


def _concerns(resource: Mapping[str, Any], key_id: str) -> bool:
    """Return whether a key has a claim on a SeparationJob or owns it; without reading all of it, as most do not."""
    claims = resource["spec"].get("claims") or ()
    owner = (resource["metadata"].get("labels") or {}).get(LABEL_OWNER)
    return owner == key_id or any(claim["key"] == key_id for claim in claims)


def plan_cancel(resource: Mapping[str, Any], principal: Principal) -> ReleasePlan:
    """Return how a key cancels a track; a finished track keeps its state and claims."""
    record = read_record(resource)
    claimed, ends = _claim_state(record, principal)
    if record.finished:
        return ReleasePlan(record, claimed=False, ends=False, patch=[])
    changes = _removal(record, principal.key_id)
    if ends and not record.cancel:
        changes.append({"op": "add", "path": "/spec/cancel", "value": True})
    return ReleasePlan(record, claimed, ends, _guarded(resource, changes))


def plan_delete(resource: Mapping[str, Any], principal: Principal) -> ReleasePlan:
    """Return how a key deletes a track; if the plan `ends` it, the resource must be deleted."""
    record = read_record(resource)
    claimed, ends = _claim_state(record, principal)
    changes = [] if ends else _removal(record, principal.key_id)
    return ReleasePlan(record, claimed, ends, _guarded(resource, changes))


def _claim_state(record: MirrorRecord, principal: Principal) -> tuple[bool, bool]:
    others = set(record.claims) - {principal.key_id}
    return principal.key_id in record.claims, principal.is_admin or not others


def _removal(record: MirrorRecord, key_id: str) -> list[Operation]:
    if key_id not in record.claims:
        return []
    return [{"op": "remove", "path": f"/spec/claims/{record.claims.index(key_id)}"}]


def _guarded(resource: Mapping[str, Any], changes: list[Operation]) -> list[Operation]:
    if not changes:
        return []
    # a key that claims the track concurrently must not find it cancelled
    return [*unchanged_tests(resource), *changes]
