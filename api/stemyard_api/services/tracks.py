"""State of one track: from the mirror, or from its SeparationJob if the mirror has none."""

import re
from dataclasses import dataclass
from typing import Final

from stemyard_api.auth.api_keys import Principal
from stemyard_api.auth.authorization import namespace_visible
from stemyard_api.clients.kubernetes import KubernetesClient, Resource
from stemyard_api.clients.redis import MirrorEntry, RedisClient, RedisUnavailableError
from stemyard_api.errors import ForbiddenError, TrackNotFoundError, UnavailableError
from stemyard_api.observability.metrics import Metrics
from stemyard_api.services.records import read_record, track_id_of
from stemyard_contract.identity import is_track_id, resource_name
from stemyard_contract.mirror import MirrorRecord, ProgressRecord

_NAMED: Final = re.compile(r"(?P<namespace>[a-z0-9-]{1,63})\.(?P<name>[a-z0-9]([a-z0-9.-]{0,61}[a-z0-9])?)")


@dataclass(frozen=True, slots=True)
class Track:
    """A track's record, and its newest progress if there is any."""

    record: MirrorRecord
    progress: ProgressRecord | None = None


@dataclass(frozen=True, slots=True)
class Tracks:
    """Reads tracks."""

    redis: RedisClient | None
    kubernetes: KubernetesClient
    namespace: str
    metrics: Metrics

    async def find(self, track_id: str) -> Track:
        """Return a track.

        Raises:
            TrackNotFoundError: there is none of this id.
            UnavailableError: neither the mirror nor the API server responds.
        """
        return await self.resolve(track_id, await self.mirrored(track_id))

    async def resolve(self, track_id: str, reading: MirrorEntry | None) -> Track:
        """Return a track by the mirror's entry, None if the mirror is unavailable; raises as `find` does."""
        place = _place(track_id, self.namespace)
        if place is None:
            raise TrackNotFoundError
        if reading is not None and reading.current is not None:
            self.metrics.read("mirror")
            return Track(reading.current, reading.progress)
        if place == "":
            # in another namespace: only the mirror may have it
            raise UnavailableError if reading is None and self.redis is not None else TrackNotFoundError
        self.metrics.read("resource")
        record = await self._recorded(place)
        if record is None or record.track_id != track_id:
            raise TrackNotFoundError
        return Track(record, reading.progress if reading is not None else None)

    async def resource(self, track_id: str, principal: Principal) -> Resource:
        """Return a track's SeparationJob, whatever the mirror says.

        Raises:
            TrackNotFoundError: there is none of this id, or its namespace is none that this key may see.
            ForbiddenError: it lies in another namespace, which this API does not reach.
            UnavailableError: the API server does not answer.
        """
        place = _place(track_id, self.namespace)
        if place is None or not namespace_visible(track_id, principal):
            raise TrackNotFoundError
        if place == "":
            raise ForbiddenError("This track lies in another namespace; use kubectl there.")
        resource = await self.kubernetes.find(place)
        if resource is None or track_id_of(resource) != track_id:
            raise TrackNotFoundError
        return resource

    async def mirrored(self, track_id: str) -> MirrorEntry | None:
        """Return the mirror's entry, or None if the mirror is unavailable."""
        if self.redis is None:
            return None
        try:
            return await self.redis.read(track_id)
        except RedisUnavailableError:
            return None

    async def _recorded(self, name: str) -> MirrorRecord | None:
        resource = await self.kubernetes.find(name)
        return None if resource is None else read_record(resource)


def canonical_track_id(track_id: str) -> str:
    """Return a track id in the form that responses use: UUIDs may be sent in upper case (RFC 9562)."""
    lower = track_id.lower()
    return lower if lower != track_id and is_track_id(lower) else track_id


def _place(track_id: str, namespace: str) -> str | None:
    """Return the name of a track's resource in this namespace, "" for one elsewhere, None when it is no track id."""
    if is_track_id(track_id):
        return resource_name(track_id)
    named = _NAMED.fullmatch(track_id)
    if named is None:
        return None
    return named["name"] if named["namespace"] == namespace else ""
