"""Standings: where tracks are among those that wait, read for all of them at once every few seconds."""

import time
from collections.abc import Mapping, Sequence
from typing import Final

from stemyard_api.clients.coalescing import Coalescer
from stemyard_api.clients.redis import Store
from stemyard_api.services.estimates import Standing

KEPT_SECONDS: Final = 2.0
"""A place in a queue of separations, which take minutes, is not out of date sooner."""
_MOST: Final = 10_000
"""Tracks whose place is told; the place of one behind them would help nobody."""


class Standings:
    """What is known now. Reads of any number of tracks cost Redis one call in `KEPT_SECONDS`."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._looks = Coalescer(self._look)
        self._positions: Mapping[str, int] = {}
        self._pace: Mapping[str, float] = {}
        self._until = 0.0

    async def of(self, track_id: str) -> Standing:
        """Return what estimates of a track are made from.

        Raises:
            StoreUnavailableError: Redis does not answer.
        """
        if time.monotonic() >= self._until:
            await self._looks.ask("all")
        return Standing(self._positions.get(track_id), self._pace)

    async def _look(self, _: Sequence[str]) -> list[None]:
        waiting, self._pace = await self._store.waiting(_MOST)
        self._positions = {track: number for number, track in enumerate(waiting, 1)}
        self._until = time.monotonic() + KEPT_SECONDS
        return [None]
