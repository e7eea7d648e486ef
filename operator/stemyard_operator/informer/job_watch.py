"""Watches the Jobs of a namespace. Most events are about Jobs, so this does without kopf's cost per event."""

import asyncio
import logging
from contextlib import aclosing
from typing import Final

from stemyard_contract.separationjob import LABEL_MANAGED_BY, MANAGED_BY
from stemyard_operator.backoff import pause_after
from stemyard_operator.clients.kubernetes import Json, KubernetesClient
from stemyard_operator.clients.kubernetes_paths import jobs_path
from stemyard_operator.errors import KubernetesError
from stemyard_operator.health import Health
from stemyard_operator.informer.event_handlers import EventHandlers

JOB_SELECTOR: Final = f"{LABEL_MANAGED_BY}={MANAGED_BY}"
"""Label selector of the Jobs that are watched."""
_EXPIRED: Final = 410
_WHAT: Final = "watch of jobs"
_PAUSE_BASE: Final = 0.1
_PAUSE_MAX: Final = 30.0

log = logging.getLogger(__name__)


class JobWatch:
    """Continues from the last resource version it received; if that has expired, from a list of all Jobs.

    A Job that was deleted in between is noticed by the resync.
    """

    def __init__(
        self, cluster: KubernetesClient, event_handlers: EventHandlers, health: Health, namespace: str
    ) -> None:
        self._cluster = cluster
        self._event_handlers = event_handlers
        self._health = health
        self._namespace = namespace
        self._version = ""

    async def run(self) -> None:
        """Watch forever; while the API server fails, pause longer each time, with jitter."""
        failures = 0
        while True:
            before, least = self._version, 0.0
            try:
                await self._watch()
                failures = 0
            except KubernetesError as error:
                failures = failures + 1 if self._version == before else 1
                if error.status == _EXPIRED:
                    self._version = ""
                else:
                    self._health.namespaces.broken(self._namespace, _WHAT, str(error))
                least = error.retry_after
                log.warning("watch of jobs failed, restarting: %s", error)
            await asyncio.sleep(least + pause_after(failures, _PAUSE_BASE, _PAUSE_MAX))

    async def _watch(self) -> None:
        events = self._cluster.watch(jobs_path(self._namespace), JOB_SELECTOR, self._version)
        async with aclosing(events):
            async for kind, version, job in events:
                self._version = version
                self._health.namespaces.recovered(self._namespace, _WHAT)
                if kind != "BOOKMARK":
                    self._health.event()
                    self._handle(kind, job)

    def _handle(self, kind: str, job: Json) -> None:
        try:
            if kind == "DELETED":
                self._event_handlers.job_gone(job["metadata"]["uid"])
            else:
                self._event_handlers.job(job)
        except Exception:  # one broken Job must not end the watch
            log.exception("job event not handled, skipping", extra={"job": job["metadata"].get("name")})
