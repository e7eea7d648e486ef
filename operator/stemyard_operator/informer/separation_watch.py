"""Watches SeparationJobs with kopf, whose handler only passes events on; the only importer of kopf."""

import asyncio
import logging
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Final, cast

import kopf
import uvloop

# the type of a public parameter of `kopf.operator`, which kopf does not export
from kopf._cogs.structs.references import Insights

from stemyard_contract.separationjob import GROUP, KIND, PLURAL, VERSION
from stemyard_operator.backoff import pause_after
from stemyard_operator.clients.kubernetes import PAGE
from stemyard_operator.errors import NotServedError
from stemyard_operator.health import Health
from stemyard_operator.informer.event_handlers import EventHandlers

_IDLE_SECONDS: Final = 1.0
"""How long kopf keeps the task of an object, with its whole last event; after the first list there is one for each."""
_PAUSE_BASE: Final = 0.5
_PAUSE_MAX: Final = 30.0
_STABLE_SECONDS: Final = 60.0
"""A watch that lives this long works; it is restarted with the shortest pause."""
_WHAT: Final = "watch of separations"
_QUIET: Final = {
    # every event and every handler call
    "kopf.objects": logging.WARNING,
    # tracebacks of what is logged here in one line, and that signals do not reach a thread
    "kopf._core.reactor.observation": logging.CRITICAL,
    "kopf._core.reactor.orchestration": logging.CRITICAL,
    "kopf._core.reactor.running": logging.CRITICAL,
}

log = logging.getLogger(__name__)


class _NoDiffBase(kopf.DiffBaseStorage):
    """Stores nothing: kopf copies every object at every event to compute a diff, which is not used here."""

    def build(self, **_: object) -> Any:  # noqa: ANN401 - kopf does not export its type
        """Return an empty essence."""
        return {}

    def fetch(self, **_: object) -> None:
        """Return nothing: no object carries its last handled state."""

    def store(self, **_: object) -> None:
        """Store nothing."""


def operator_settings() -> kopf.OperatorSettings:
    """Return kopf's settings: no finalizers, annotations, peering or Events of its own, and timeouts on watches."""
    settings = kopf.OperatorSettings()
    settings.peering.standalone = True
    settings.scanning.disabled = True
    settings.posting.enabled = False
    settings.watching.server_timeout = 300
    settings.watching.client_timeout = 310
    settings.watching.connect_timeout = 10
    settings.watching.chunk_size = PAGE
    settings.queueing.idle_timeout = _IDLE_SECONDS
    settings.networking.request_timeout = 30
    settings.networking.connect_timeout = 5
    settings.networking.enforce_retry_after = True
    settings.persistence.diffbase_storage = _NoDiffBase()
    settings.persistence.finalizer = f"{GROUP}/operator"
    # kopf would kill the whole process some seconds after one watch has failed
    settings.process.ultimate_exiting_timeout = None
    return settings


def registry(on_event: Callable[[Mapping[str, Any]], None]) -> kopf.OperatorRegistry:
    """Return the registry with the login and the one event handler."""
    handlers = kopf.OperatorRegistry()

    @kopf.on.login(registry=handlers)
    def log_in(settings: kopf.OperatorSettings, **_: object) -> kopf.ConnectionInfo | None:
        in_pod = kopf.login_with_service_account(settings=settings)
        return in_pod or kopf.login_with_kubeconfig(settings=settings)

    @kopf.on.event(GROUP, VERSION, PLURAL, registry=handlers)
    async def separation_event(event: Mapping[str, Any], **_: object) -> None:
        on_event(event)

    return handlers


@dataclass(slots=True)
class SeparationWatch:
    """Watches one namespace, in a thread of its own.

    kopf ends at the first error that it does not retry, such as 403, and then cancels every task of its event loop.
    In a thread, that ends the watch of one namespace and nothing else; it is started again, after a longer pause each
    time, once the resync can read the namespace. kopf looks up the kind only when it starts, and without it waits for
    ever; while the CRD is away it is therefore ended, and started again, too.

    Args:
        event_handlers: take the events, on the loop of `run`.
        health: records every event, and knows whether the namespace can be read.
        namespace: what to watch.
        identity: name of this replica; without one kopf looks up the user's name, which a container's need not have.
    """

    event_handlers: EventHandlers
    health: Health
    namespace: str
    identity: str
    _stop: Callable[[], object] = field(default=lambda: None, init=False)

    async def run(self) -> None:
        """Watch until cancelled."""
        for name, level in _QUIET.items():
            logging.getLogger(name).setLevel(level)
        failures = 0
        while True:
            while not self.health.namespaces.is_known(self.namespace):  # noqa: ASYNC110 - the resync tries again
                await asyncio.sleep(_PAUSE_BASE)
            started = time.monotonic()
            try:
                await self._watch()
            except Exception as error:  # noqa: BLE001 - kopf raises whatever ended it
                log.warning("watch of separations failed, restarting: %s", error, extra={"namespace": self.namespace})
                self.health.namespaces.broken(self.namespace, _WHAT, str(error))
            failures = 1 if time.monotonic() - started > _STABLE_SECONDS else failures + 1
            await asyncio.sleep(pause_after(failures, _PAUSE_BASE, _PAUSE_MAX))

    async def _watch(self) -> None:
        """Run kopf in a thread until it fails; raise its error."""
        loop = asyncio.get_running_loop()
        ended: asyncio.Future[None] = loop.create_future()

        def work() -> None:
            error: Exception | None = None
            try:
                uvloop.run(self._operate(loop))
            except Exception as found:  # noqa: BLE001 - raised by `_watch`
                error = found
            # the process may be ending
            with suppress(RuntimeError):
                loop.call_soon_threadsafe(_settle, ended, error)

        # a daemon: the process ends without waiting for kopf, which takes seconds
        threading.Thread(target=work, name=f"watch of {self.namespace}", daemon=True).start()
        stable = loop.call_later(_STABLE_SECONDS, self.health.namespaces.recovered, self.namespace, _WHAT)
        try:
            await ended
        finally:
            stable.cancel()
            with suppress(RuntimeError):
                self._stop()

    async def _operate(self, loop: asyncio.AbstractEventLoop) -> None:
        stop, own = asyncio.Event(), asyncio.get_running_loop()
        self._stop = lambda: own.call_soon_threadsafe(stop.set)
        insights = Insights()
        # before kopf, which cancels the tasks that are younger than itself
        lookup = asyncio.create_task(_stop_if_unserved(insights, stop), name="lookup of the kind")

        def on_event(event: Mapping[str, Any]) -> None:
            loop.call_soon_threadsafe(self._handle, event)

        await kopf.operator(
            registry=registry(on_event),
            settings=operator_settings(),
            identity=cast("Any", self.identity),
            namespaces=[self.namespace],
            insights=insights,
            stop_flag=stop,
            standalone=True,
        )
        if lookup.done() and not insights.watched_resources:
            raise NotServedError(f"the API server serves no {KIND}: is its CRD installed?")

    def _handle(self, event: Mapping[str, Any]) -> None:
        self.health.event()
        resource = event["object"]
        try:
            if event["type"] == "DELETED":
                self.event_handlers.separation_gone(resource["metadata"]["uid"], resource)
            else:
                self.event_handlers.separation(resource)
        except Exception:  # one broken SeparationJob must not end the watch
            log.exception("separation event not handled, skipping", extra={"name": resource["metadata"].get("name")})


async def _stop_if_unserved(insights: Insights, stop: asyncio.Event) -> None:
    """Stop kopf if it found no kind to watch."""
    await insights.ready_resources.wait()
    if not insights.watched_resources:
        stop.set()


def _settle(ended: asyncio.Future[None], error: Exception | None) -> None:
    if ended.done():
        return
    if error is None:
        ended.set_result(None)
    else:
        ended.set_exception(error)
