"""State of one track: from the mirror, or from its SeparationJob if the mirror has none."""

import re
from dataclasses import dataclass
from typing import Final

from stemyard_api.clients.kubernetes import KubernetesClient, Resource
from stemyard_api.clients.redis import MirrorEntry, RedisClient, RedisUnavailableError
from stemyard_api.errors import ForbiddenError, TrackNotFoundError, UnavailableError
from stemyard_api.observability.metrics import Metrics
from stemyard_contract.identity import resource_name
from stemyard_contract.mirror import MirrorRecord, ProgressRecord, record_of

_UUID: Final = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_NAMED: Final = re.compile(r"(?P<namespace>[a-z0-9-]{1,63})\.(?P<name>[a-z0-9]([a-z0-9.-]{0,61}[a-z0-9])?)")


@dataclass(frozen=True, slots=True)
class Track:
    """A track's record, and its newest progress where there is some."""

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
            UnavailableError: nobody who could know answers.
        """
        return await self.resolve(track_id, await self.mirrored(track_id))

    async def resolve(self, track_id: str, reading: MirrorEntry | None) -> Track:
        """Return a track of which the mirror has said this, or None when it could not be asked; raises as `find`."""
        place = _place(track_id, self.namespace)
        if place is None:
            raise TrackNotFoundError
        if reading is not None and reading.current is not None:
            self.metrics.read("mirror")
            return Track(reading.current, reading.progress)
        if place == "":
            # another namespace's: only the mirror may know
            raise UnavailableError if reading is None and self.redis is not None else TrackNotFoundError
        self.metrics.read("resource")
        record = await self._recorded(place)
        if record is None or record.track_id != track_id:
            raise TrackNotFoundError
        return Track(record, reading.progress if reading is not None else None)

    async def resource(self, track_id: str) -> Resource:
        """Return a track's SeparationJob, whatever the mirror says.

        Raises:
            TrackNotFoundError: there is none of this id.
            ForbiddenError: it lies in another namespace, where this API changes nothing.
            UnavailableError: the API server does not answer.
        """
        place = _place(track_id, self.namespace)
        if place is None:
            raise TrackNotFoundError
        if place == "":
            raise ForbiddenError("This track lies in another namespace; change it there.")
        resource = await self.kubernetes.read(place)
        if resource is None or record_of(resource).track_id != track_id:
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
        resource = await self.kubernetes.read(name)
        return None if resource is None else record_of(resource)


def _place(track_id: str, namespace: str) -> str | None:
    """Return the name of a track's resource in this namespace, "" for one elsewhere, None when it is no track id."""
    if _UUID.fullmatch(track_id):
        return resource_name(track_id)
    named = _NAMED.fullmatch(track_id)
    if named is None:
        return None
    return named["name"] if named["namespace"] == namespace else ""
