"""States: the answer of GET /job/{track_id} as ready bytes, made again only when what it was made from has changed."""

import time
from collections import OrderedDict
from dataclasses import dataclass
from typing import Final, NamedTuple, cast

from starlette.responses import JSONResponse

from stemyard_api.auth.api_keys import Principal
from stemyard_api.auth.authorization import check_visible
from stemyard_api.clients.redis import Raw, StoreUnavailableError, reading_of
from stemyard_api.schemas.responses import Completed, Failed, Processing
from stemyard_api.services import rendering
from stemyard_api.services.estimates import ESTIMATED_PHASES, Standing, Standings, estimate
from stemyard_api.services.links import Links
from stemyard_api.services.tracks import Track, Tracks
from stemyard_contract.separationjob import Phase

_KEPT: Final = 10_000
_KEPT_SECONDS: Final = 3600.0
"""Links are good for days longer than this."""


@dataclass(frozen=True, slots=True)
class _Kept:
    raw: Raw
    until: float
    standing: Standing | None
    body: bytes
    finished: bool


class State(NamedTuple):
    """A track's state as a client gets it, and whether it has ended."""

    body: bytes
    finished: bool


class States:
    """Renders states, and keeps the most recent ones with the very bytes from Redis they were made from."""

    def __init__(self, tracks: Tracks, links: Links, *, shared: bool, default_model: str) -> None:
        self._tracks = tracks
        self._links = links
        self._shared = shared
        self._default_model = default_model
        self._standings = None if tracks.store is None else Standings(tracks.store)
        self._kept: OrderedDict[tuple[str, str, bool], _Kept] = OrderedDict()

    async def body(self, track_id: str, principal: Principal) -> bytes:
        """Return a track's state as JSON.

        Raises:
            TrackNotFoundError: there is no such track for this key.
            UnavailableError: nobody who could know answers.
        """
        return (await self.of(track_id, principal)).body

    async def of(self, track_id: str, principal: Principal) -> State:
        """Return a track's state; raises as `body` does."""
        raw = await self._raw(track_id)
        # what an admin may see is not what another holder of the same id may
        identity = (track_id, principal.key_id, principal.is_admin)
        kept = self._kept.get(identity)
        if kept is not None and kept.raw == raw and await self._holds(kept, track_id):
            self._tracks.metrics.read("mirror")
            return State(kept.body, kept.finished)
        reading = None if raw is None else reading_of(raw)
        track = await self._tracks.found(track_id, reading)
        check_visible(track.record, principal, shared=self._shared)
        standing = await self._standing(track)
        answer = self.render(track, principal, standing)
        state = State(JSONResponse(answer).body, track.record.finished)  # type: ignore[arg-type]
        if raw is not None and reading is not None and reading.current is not None:
            until = time.monotonic() + _KEPT_SECONDS
            self._keep(identity, _Kept(raw, until, standing, state.body, state.finished))
        return state

    def render(
        self, track: Track, principal: Principal, standing: Standing | None = None
    ) -> Processing | Completed | Failed:
        """Return the state of a track as this key may see it."""
        record, key_id = track.record, principal.key_id
        if not record.finished:
            answer = rendering.processing(record, track.progress, key_id)
            if standing is not None:
                estimated = estimate(record, answer["progress"], standing, self._default_model)
                answer = cast(Processing, {**answer, **estimated})
            return answer
        if record.phase is Phase.COMPLETED:
            return rendering.completed(record, self._links.of(record, time.time()), key_id)
        return rendering.failed(record, track.progress, key_id)

    async def _standing(self, track: Track) -> Standing | None:
        """Return what estimates are made from, for a track that waits or is worked on."""
        record = track.record
        if record.phase not in ESTIMATED_PHASES or record.status_run != record.run:
            return None
        return await self._standing_of(record.track_id)

    async def _standing_of(self, track_id: str) -> Standing | None:
        try:
            return None if self._standings is None else await self._standings.of(track_id)
        except StoreUnavailableError:
            return None

    async def _holds(self, kept: _Kept, track_id: str) -> bool:
        """Whether an answer is still right: for a track under way, what happens to others changes its estimates."""
        if time.monotonic() >= kept.until:
            return False
        return kept.standing is None or kept.standing == await self._standing_of(track_id)

    async def _raw(self, track_id: str) -> Raw | None:
        store = self._tracks.store
        if store is None:
            return None
        try:
            return await store.read_raw(track_id)
        except StoreUnavailableError:
            return None

    def _keep(self, identity: tuple[str, str, bool], kept: _Kept) -> None:
        self._kept[identity] = kept
        self._kept.move_to_end(identity)
        if len(self._kept) > _KEPT:
            self._kept.popitem(last=False)
