"""Liveness and readiness of this replica, from the events it received and the resyncs it completed."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Final

from aiohttp import web

ALIVE_SECONDS: Final = 360.0
"""Without an event or a finished resync attempt for this long, the process counts as stuck."""
_READY_ROUNDS: Final = 3
_SHUTDOWN_SECONDS: Final = 5.0


class Health:
    """Records events and resyncs; serves the kubelet's probes."""

    def __init__(self, resync_seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._stale_seconds = resync_seconds * _READY_ROUNDS
        self._worked_at = self._event_at = self._clock()
        self._synced_at: float | None = None

    def event(self) -> None:
        """Record an event of a watch."""
        self._worked_at = self._event_at = self._clock()

    def worked(self) -> None:
        """Record that an attempt, such as a resync, ended, successfully or not."""
        self._worked_at = self._clock()

    def synced(self) -> None:
        """Record a complete resync."""
        self._worked_at = self._synced_at = self._clock()

    @property
    def alive(self) -> bool:
        """Whether anything was recorded within ALIVE_SECONDS."""
        return self._clock() - self._worked_at < ALIVE_SECONDS

    @property
    def ready(self) -> bool:
        """Whether a resync was complete within the last three intervals."""
        return self._synced_at is not None and self._clock() - self._synced_at < self._stale_seconds

    @property
    def event_age(self) -> float:
        """Seconds since the last event of a watch, or since the start; an idle cluster sends none."""
        return self._clock() - self._event_at

    @property
    def resync_age(self) -> float | None:
        """Seconds since the last complete resync, None before the first."""
        return None if self._synced_at is None else self._clock() - self._synced_at

    def application(self) -> web.Application:
        """Return the web application of the probes."""
        application = web.Application()
        application.router.add_get("/healthz", self._healthz)
        application.router.add_get("/readyz", self._readyz)
        return application

    async def _healthz(self, _: web.Request) -> web.Response:
        return _response(self.alive)

    async def _readyz(self, _: web.Request) -> web.Response:
        return _response(self.ready)


def _response(healthy: bool) -> web.Response:
    return web.Response(status=200 if healthy else 503, text="ok" if healthy else "stale")


@asynccontextmanager
async def serving(application: web.Application, port: int) -> AsyncIterator[None]:
    """Serve an application on all addresses while the block runs; requests in flight may finish."""
    runner = web.AppRunner(application, access_log=None, shutdown_timeout=_SHUTDOWN_SECONDS)
    await runner.setup()
    try:
        await web.TCPSite(runner, port=port).start()
        await asyncio.sleep(0)
        yield
    finally:
        await runner.cleanup()
