"""Cancels, deletes and retries tracks, and prevents readers from seeing the previous state."""

import asyncio
import logging
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from stemyard_api.auth.api_keys import Principal
from stemyard_api.auth.authorization import check_changeable, check_visible
from stemyard_api.clients.kubernetes import KubernetesClient, Resource
from stemyard_api.clients.redis import RedisUnavailableError
from stemyard_api.clients.s3 import ObjectStoreClient
from stemyard_api.errors import BeingDeletedError, ForbiddenError, TrackNotFoundError, UnavailableError
from stemyard_api.services.deliveries import count_pending
from stemyard_api.services.placement_rules import Operation, retry_patch, test_operation
from stemyard_api.services.stored_sources import check_source
from stemyard_api.services.tracks import Tracks
from stemyard_api.settings import Settings
from stemyard_contract.mirror import DELETED_UID, AskedRecord, MirrorRecord, record_of
from stemyard_contract.separationjob import SeparationJobSpec

_ATTEMPTS: Final = 8
_PAUSE_SECONDS: Final = 0.1
_GONE: Final = AskedRecord(uid=DELETED_UID, run=0)
"""Matches no resource, so that readers of a stale record look at the cluster."""
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ActionResult:
    """What became of a wish: whether a claim was given up, and whether the track itself was ended."""

    record: MirrorRecord
    claim_removed: bool
    ended: bool
    webhooks_abandoned: int = 0
    """Webhooks of the last end that had not arrived."""


@dataclass(frozen=True, slots=True)
class ReleasePlan:
    """What to do with a track from which a key withdraws.

    Attributes:
        record: the track as it was found.
        claimed: whether the key has a claim to give up.
        ends: whether nobody is left, or an admin says so, so that the track itself is cancelled or deleted.
        patch: what to write; empty when nothing is to be written.
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
        """Withdraw a key's claim; cancel the run when it was the last, or for an admin.

        Raises:
            TrackNotFoundError, ForbiddenError: the key may not see, or not end, this track.
        """
        return await self._until_settled(track_id, lambda resource: self._cancel(resource, principal))

    async def delete(self, track_id: str, principal: Principal) -> ActionResult:
        """Withdraw a key's claim; delete the track when it was the last, or for an admin.

        Raises:
            TrackNotFoundError, ForbiddenError: the key may not see, or not end, this track.
        """
        return await self._until_settled(track_id, lambda resource: self._delete(resource, principal))

    async def retry(self, track_id: str, principal: Principal) -> MirrorRecord:
        """Start another run of a failed or cancelled track; one that is under way is left to it.

        Raises:
            TrackNotFoundError, ForbiddenError: the key may not see, or not run, this track.
            TrackCompletedError: there is nothing to try again.
            SourceGoneError, ObjectNotFoundError, SourceTooLargeError, SourceDisabledError: its upload or object
                cannot be separated any more.
        """
        return (await self._until_settled(track_id, lambda resource: self._retry(resource, principal))).record

    async def _until_settled(self, track_id: str, act: Callable[[Resource], Any]) -> ActionResult:
        for _ in range(_ATTEMPTS):
            done: ActionResult | None = await act(await self.tracks.resource(track_id))
            if done is not None:
                return done
            await asyncio.sleep(random.uniform(0.0, _PAUSE_SECONDS))
        raise UnavailableError("Too many requests for this track at once; try again.")

    async def _cancel(self, resource: Resource, principal: Principal) -> ActionResult | None:
        wish = plan_cancel(resource, principal)
        check_visible(wish.record, principal, shared=self.settings.results_shared)
        if not wish.record.cancel:  # to cancel twice is no offence
            self._check(wish.record, principal)
        return await self._write(wish)

    async def _delete(self, resource: Resource, principal: Principal) -> ActionResult | None:
        wish = plan_delete(resource, principal)
        self._check(wish.record, principal)
        if not wish.ends:
            return await self._write(wish)
        if not resource["metadata"].get("deletionTimestamp"):
            version = resource["metadata"]["resourceVersion"]
            if not await self.kubernetes.delete(wish.record.name, wish.record.uid, version):
                return None
        await self._note(wish.record.track_id, _GONE)
        return ActionResult(wish.record, wish.claimed, ended=True, webhooks_abandoned=count_pending(resource))

    async def _write(self, wish: ReleasePlan) -> ActionResult | None:
        if not wish.patch:
            return ActionResult(wish.record, claim_removed=False, ended=wish.ends)
        patched = await self.kubernetes.patch(wish.record.name, wish.patch)
        if patched is None:
            return None
        record = record_of(patched)
        await self._note(record.track_id, asked_record(record))
        return ActionResult(record, wish.claimed, wish.ends)

    async def _retry(self, resource: Resource, principal: Principal) -> ActionResult | None:
        record = record_of(resource)
        check_visible(record, principal, shared=self.settings.results_shared)
        if resource["metadata"].get("deletionTimestamp"):
            raise BeingDeletedError
        await self._check_runnable(resource, record, principal)
        patch = retry_patch(record, principal.key_id)
        if not patch:
            return ActionResult(record, claim_removed=False, ended=False)
        patched = await self.kubernetes.patch(record.name, patch)
        if patched is None:
            return None
        record = record_of(patched)
        await self._note(record.track_id, asked_record(record))
        return ActionResult(record, claim_removed=False, ended=False)

    async def _check_runnable(self, resource: Mapping[str, Any], record: MirrorRecord, principal: Principal) -> None:
        source = SeparationJobSpec.model_validate(resource["spec"]).source
        by_hand = "." in record.track_id
        foreign = by_hand or (source.upload is not None and source.upload.owner != principal.key_id)
        if foreign and not principal.is_admin:
            raise ForbiddenError("This API key could not have asked for this track itself.")
        await check_source(source, self.settings, self.object_store)

    def _check(self, record: MirrorRecord, principal: Principal) -> None:
        check_changeable(record, principal, shared=self.settings.results_shared)

    async def _note(self, track_id: str, asked: AskedRecord) -> None:
        if self.tracks.redis is None:
            return
        try:
            await self.tracks.redis.put_asked(track_id, asked)
        except RedisUnavailableError:
            _log.warning("could not note a change in the mirror", extra={"track_id": track_id})


def asked_record(record: MirrorRecord) -> AskedRecord:
    """Return the note that makes readers see this state of a track or a later one."""
    return AskedRecord(uid=record.uid, run=record.run, version=record.resource_version)


async def erase(job_actions: JobActions, key_id: str) -> tuple[int, int]:
    """Withdraw everything a key asked for; return how many claims went and how many tracks with them.

    Raises:
        UnavailableError: the API server does not answer; what was withdrawn stays so.
    """
    # without the admin's power: other keys' claims keep what they claim
    nobody_else = Principal(key_id, frozenset())
    records = [record_of(item) async for item in job_actions.kubernetes.items()]
    wanted = [record for record in records if key_id in record.claims or record.owner == key_id]
    room = asyncio.Semaphore(8)

    async def withdraw(track_id: str) -> ActionResult | None:
        async with room:
            try:
                return await job_actions.delete(track_id, nobody_else)
            except (TrackNotFoundError, ForbiddenError):
                return None

    done = [found for found in await asyncio.gather(*(withdraw(record.track_id) for record in wanted)) if found]
    return sum(found.claim_removed for found in done), sum(found.ended for found in done)


def plan_cancel(resource: Mapping[str, Any], principal: Principal) -> ReleasePlan:
    """Return what a key's wish to cancel leads to; a finished track is left as it is, claim and all."""
    record = record_of(resource)
    claimed, ends = _queue_state(record, principal)
    if record.finished:
        return ReleasePlan(record, claimed=False, ends=False, patch=[])
    changes = _removal(record, principal.key_id)
    if ends and not record.cancel:
        changes.append({"op": "add", "path": "/spec/cancel", "value": True})
    return ReleasePlan(record, claimed, ends, _guarded(resource, changes))


def plan_delete(resource: Mapping[str, Any], principal: Principal) -> ReleasePlan:
    """Return what a key's wish to be rid of a track leads to; where it ends, the resource is to be deleted."""
    record = record_of(resource)
    claimed, ends = _queue_state(record, principal)
    changes = [] if ends else _removal(record, principal.key_id)
    return ReleasePlan(record, claimed, ends, _guarded(resource, changes))


def _queue_state(record: MirrorRecord, principal: Principal) -> tuple[bool, bool]:
    others = set(record.claims) - {principal.key_id}
    return principal.key_id in record.claims, principal.is_admin or not others


def _removal(record: MirrorRecord, key_id: str) -> list[Operation]:
    if key_id not in record.claims:
        return []
    return [{"op": "remove", "path": f"/spec/claims/{record.claims.index(key_id)}"}]


def _guarded(resource: Mapping[str, Any], changes: list[Operation]) -> list[Operation]:
    if not changes:
        return []
    # A key that claims the track at this moment must not find it cancelled. The claims themselves cannot be tested: the
    # API server compares strings by their JSON bytes, so metadata beyond ASCII never equals itself.
    metadata = resource["metadata"]
    tests = (test_operation(f"/metadata/{name}", metadata[name]) for name in ("uid", "resourceVersion"))
    return [*tests, *changes]
