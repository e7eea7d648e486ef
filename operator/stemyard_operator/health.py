"""Whether this replica does its work: liveness and readiness follow what was done, not that a process exists."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Final

from aiohttp import web

ALIVE_SECONDS: Final = 360.0
"""Without an event or an ended resync attempt for this long, the process is stuck."""
_READY_ROUNDS: Final = 3
_SHUTDOWN_SECONDS: Final = 5.0


class Health:
    """Told of every event and every resync; asked by the kubelet."""

    def __init__(self, resync_seconds: float) -> None:
        self.clock: Callable[[], float] = time.monotonic
        self._stale_seconds = resync_seconds * _READY_ROUNDS
        self._worked_at = self._event_at = self.clock()
        self._synced_at: float | None = None

    def event(self) -> None:
        """Take note that a watch told of something."""
        self._worked_at = self._event_at = self.clock()

    def worked(self) -> None:
        """Take note that something ended, well or with a clear error, such as a resync."""
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

    @property
    def event_age(self) -> float:
        """Seconds since a watch last told of something, or since the start; an idle cluster has nothing to tell."""
        return self.clock() - self._event_at

    @property
    def resync_age(self) -> float | None:
        """Seconds since the last complete resync, None before the first."""
        return None if self._synced_at is None else self.clock() - self._synced_at

    def application(self) -> web.Application:
        """Return the web application of the probes."""
        application = web.Application()
        application.router.add_get("/healthz", self._healthz)
        application.router.add_get("/readyz", self._readyz)
        return application

    async def _healthz(self, _: web.Request) -> web.Response:
        return _answer(self.alive)

    async def _readyz(self, _: web.Request) -> web.Response:
        return _answer(self.ready)


def _answer(well: bool) -> web.Response:
    return web.Response(status=200 if well else 503, text="ok" if well else "stale")


@asynccontextmanager
async def serving(application: web.Application, port: int) -> AsyncIterator[None]:
    """Serve an application on all addresses while the block runs; calls under way may end."""
    runner = web.AppRunner(application, access_log=None, shutdown_timeout=_SHUTDOWN_SECONDS)
    await runner.setup()
    try:
        await web.TCPSite(runner, port=port).start()
        await asyncio.sleep(0)
        yield
    finally:
        await runner.cleanup()
