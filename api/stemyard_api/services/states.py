"""The responses of GET /job/{track_id} as cached bytes, rendered again only after a change."""

import time
from collections import OrderedDict
from dataclasses import dataclass
from typing import Final, NamedTuple, cast

from starlette.responses import JSONResponse

from stemyard_api.auth.api_keys import Principal
from stemyard_api.auth.authorization import check_visible
from stemyard_api.clients.redis import RawEntry, RedisUnavailableError, parse_entry
from stemyard_api.schemas.responses import Completed, Failed, Processing
from stemyard_api.services import rendering
from stemyard_api.services.estimates import ESTIMATE_SECONDS, ESTIMATED_PHASES, QueueReader, QueueState, estimate
from stemyard_api.services.links import LinkBuilder
from stemyard_api.services.tracks import Track, Tracks
from stemyard_contract.separationjob import Phase

_CACHE_SIZE: Final = 10_000
_CACHE_SECONDS: Final = 3600.0
"""Links are valid for days longer than this."""


_Identity = tuple[str, str, bool, frozenset[str]]
"""A track's id, and all of a key that decides what it may see of the track."""


class TrackState(NamedTuple):
    """The response body of a track's state, whether it has ended, and the requested run."""

    body: bytes
    finished: bool
    run: int


@dataclass(frozen=True, slots=True)
class _CachedState:
    raw: RawEntry
    track: Track | None
    """Kept, several times as large as the state, only while its estimates change without it."""
    until: float
    queue_state: QueueState | None
    state: TrackState


class TrackStates:
    """Renders states, and caches the most recent ones with the bytes from Redis that they were rendered from."""

    def __init__(self, tracks: Tracks, links: LinkBuilder, *, shared: bool, default_model: str) -> None:
        self._tracks = tracks
        self._links = links
        self._shared = shared
        self._default_model = default_model
        self._queue_reader = None if tracks.redis is None else QueueReader(tracks.redis)
        self._kept: OrderedDict[_Identity, _CachedState] = OrderedDict()

    async def body(self, track_id: str, principal: Principal) -> bytes:
        """Return a track's state as JSON.

        Raises:
            TrackNotFoundError: there is no such track for this key.
            UnavailableError: neither the mirror nor the API server responds.
        """
        return (await self.get(track_id, principal)).body

    async def get(self, track_id: str, principal: Principal) -> TrackState:
        """Return a track's state; raises as `body` does."""
        raw = await self._raw(track_id)
        # keys of the same id may have other scopes and namespaces, as while one is rotated or after a reload
        identity = (track_id, principal.key_id, principal.is_admin, principal.namespaces)
        kept = self._kept.get(identity)
        if kept is not None and kept.raw != raw:
            kept = None
        if kept is not None and await self._holds(kept, track_id):
            self._tracks.metrics.read("mirror")
            return kept.state
        if kept is not None and kept.track is not None:
            self._tracks.metrics.read("mirror")
            track, is_mirrored = kept.track, True  # only its estimates have changed
        else:
            entry = None if raw is None else parse_entry(raw)
            track = await self._tracks.resolve(track_id, entry)
            check_visible(track.record, principal, shared=self._shared)
            is_mirrored = entry is not None and entry.current is not None
        queue_state = await self._queue_state(track)
        answer = self.render(track, principal, queue_state)
        body = bytes(JSONResponse(answer).body)
        state = TrackState(body, track.record.finished, track.record.run)
        if raw is not None and is_mirrored:
            # estimates shrink with time, also between two reports of progress
            until = time.monotonic() + (_CACHE_SECONDS if queue_state is None else ESTIMATE_SECONDS)
            self._keep(identity, _CachedState(raw, None if queue_state is None else track, until, queue_state, state))
        return state

    def render(
        self, track: Track, principal: Principal, queue_state: QueueState | None = None
    ) -> Processing | Completed | Failed:
        """Return the state of a track as this key may see it."""
        record, key_id = track.record, principal.key_id
        if not record.finished:
            answer = rendering.processing(record, track.progress, key_id)
            if queue_state is not None:
                progress = rendering.current_progress(record, track.progress)
                estimated = estimate(record, progress, queue_state, self._default_model, time.time())
                answer = cast(Processing, {**answer, **estimated})
            return answer
        if record.phase is Phase.COMPLETED:
            return rendering.completed(record, self._links.links_for(record, time.time()), key_id)
        return rendering.failed(record, track.progress, key_id)

    async def _queue_state(self, track: Track) -> QueueState | None:
        """Return the queue state of a waiting or running track, None for others."""
        record = track.record
        if record.phase not in ESTIMATED_PHASES or record.status_run != record.run:
            return None
        return await self._queue_state_of(record.track_id)

    async def _queue_state_of(self, track_id: str) -> QueueState | None:
        try:
            return None if self._queue_reader is None else await self._queue_reader.state_of(track_id)
        except RedisUnavailableError:
            return None

    async def _holds(self, kept: _CachedState, track_id: str) -> bool:
        """Whether a cached state is still valid: other tracks change the estimates of a track under way."""
        if time.monotonic() >= kept.until:
            return False
        return kept.queue_state is None or kept.queue_state == await self._queue_state_of(track_id)

    async def _raw(self, track_id: str) -> RawEntry | None:
        redis = self._tracks.redis
        if redis is None:
            return None
        try:
            return await redis.read_raw(track_id)
        except RedisUnavailableError:
            return None

    def _keep(self, identity: _Identity, kept: _CachedState) -> None:
        self._kept[identity] = kept
        self._kept.move_to_end(identity)
        if len(self._kept) > _CACHE_SIZE:
            self._kept.popitem(last=False)
