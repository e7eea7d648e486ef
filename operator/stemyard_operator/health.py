"""Liveness and readiness of this replica, from the events it received and the resyncs it completed."""

import time
from collections.abc import Callable, Mapping
from typing import Final

from aiohttp import web

from stemyard_operator.namespaces import Namespaces

ALIVE_SECONDS: Final = 360.0
"""Without an event or a finished resync attempt for this long, the process counts as stuck."""
_READY_ROUNDS: Final = 3


class Health:
    """Records what the watches and the resync do; serves the kubelet's probes.

    One readable namespace is enough to be ready: the desk serves the separators of all that are known.
    """

    def __init__(
        self, resync_seconds: float, namespaces: Namespaces, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._clock = clock
        self.namespaces = namespaces
        self._stale_seconds = resync_seconds * _READY_ROUNDS
        self._worked_at = self._event_at = self._clock()

    def event(self) -> None:
        """Record an event of a watch."""
        self._worked_at = self._event_at = self._clock()

    def worked(self) -> None:
        """Record that an attempt, such as a resync, ended, successfully or not."""
        self._worked_at = self._clock()

    @property
    def alive(self) -> bool:
        """Whether anything was recorded within ALIVE_SECONDS."""
        return self._clock() - self._worked_at < ALIVE_SECONDS

    @property
    def ready(self) -> bool:
        """Whether a namespace was listed completely within the last three intervals."""
        age = self.resync_age
        return age is not None and age < self._stale_seconds

    @property
    def event_age(self) -> float:
        """Seconds since the last event of a watch, or since the start; an idle cluster sends none."""
        return self._clock() - self._event_at

    @property
    def resync_age(self) -> float | None:
        """Seconds since the last complete list of any namespace, None before the first."""
        return min((age for age in self.namespaces.ages.values() if age is not None), default=None)

    def application(self) -> web.Application:
        """Return the web application of the probes."""
        application = web.Application()
        application.router.add_get("/healthz", self._healthz)
        application.router.add_get("/readyz", self._readyz)
        return application

    async def _healthz(self, _: web.Request) -> web.Response:
        return _response(self.alive, {})

    async def _readyz(self, _: web.Request) -> web.Response:
        return _response(self.ready, self.namespaces.errors)


def _response(healthy: bool, errors: Mapping[str, str]) -> web.Response:
    lines = ["ok" if healthy else "stale", *(f"namespace {name}: {why}" for name, why in sorted(errors.items()))]
    return web.Response(status=200 if healthy else 503, text="\n".join(lines))
