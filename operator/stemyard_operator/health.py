"""Whether this replica does its work: liveness and readiness follow what was done, not that a process exists."""

import time
from collections.abc import Callable
from typing import Final

from aiohttp import web

ALIVE_SECONDS: Final = 360.0
"""Without an event or an ended resync attempt for this long, the process is stuck."""
_READY_ROUNDS: Final = 3


class Health:
    """Told of every event and every resync; asked by the kubelet."""

    def __init__(self, resync_seconds: float) -> None:
        self.clock: Callable[[], float] = time.monotonic
        self._stale_seconds = resync_seconds * _READY_ROUNDS
        self._worked_at = self.clock()
        self._synced_at: float | None = None

    def worked(self) -> None:
        """Take note that an event arrived, or that a resync ended, well or with a clear error."""
        self._worked_at = self.clock()

    def synced(self) -> None:
        """Take note of a complete resync."""
        self._worked_at = self._synced_at = self.clock()

    @property
    def alive(self) -> bool:
        """Whether anything happened of late."""
        return self.clock() - self._worked_at < ALIVE_SECONDS

    @property
    def ready(self) -> bool:
        """Whether the cluster was seen completely not long ago."""
        return self._synced_at is not None and self.clock() - self._synced_at < self._stale_seconds

    def application(self) -> web.Application:
        """Return the web application of the probes."""
        application = web.Application()
        application.router.add_get("/healthz", lambda _: _answer(self.alive))
        application.router.add_get("/readyz", lambda _: _answer(self.ready))
        return application


async def _answer(well: bool) -> web.Response:
    return web.Response(status=200 if well else 503, text="ok" if well else "stale")
