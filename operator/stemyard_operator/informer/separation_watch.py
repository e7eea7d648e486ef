"""Watches SeparationJobs with kopf, whose handler only passes events on; the only importer of kopf."""

import asyncio
import logging
from collections.abc import Mapping
from typing import Any, Final, cast

import kopf

from stemyard_contract.separationjob import GROUP, PLURAL, VERSION
from stemyard_operator.clients.kubernetes import PAGE
from stemyard_operator.config.settings import Settings
from stemyard_operator.health import Health
from stemyard_operator.informer.event_handlers import EventHandlers

_IDLE_SECONDS: Final = 1.0
"""How long kopf keeps the task of an object, with its whole last event; after the first list there is one for each."""


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
    settings.process.ultimate_exiting_timeout = 10
    return settings


def registry(event_handlers: EventHandlers, health: Health) -> kopf.OperatorRegistry:
    """Return the registry with the login and the one event handler."""
    handlers = kopf.OperatorRegistry()

    @kopf.on.login(registry=handlers)
    def log_in(settings: kopf.OperatorSettings, **_: object) -> kopf.ConnectionInfo | None:
        in_pod = kopf.login_with_service_account(settings=settings)
        return in_pod or kopf.login_with_kubeconfig(settings=settings)

    @kopf.on.event(GROUP, VERSION, PLURAL, registry=handlers)
    async def separation_event(event: Mapping[str, Any], **_: object) -> None:
        health.event()
        if event["type"] == "DELETED":
            event_handlers.separation_gone(event["object"]["metadata"]["uid"], event["object"])
        else:
            event_handlers.separation(event["object"])

    return handlers


async def watch(event_handlers: EventHandlers, health: Health, settings: Settings, started: asyncio.Event) -> None:
    """Watch until cancelled; `started` is set when kopf has put its own signal handlers in place."""
    # kopf logs every event and every handler call
    logging.getLogger("kopf.objects").setLevel(logging.WARNING)
    await kopf.operator(
        registry=registry(event_handlers, health),
        settings=operator_settings(),
        # without it kopf looks up the user's name, which a container's user need not have
        identity=cast("Any", settings.pod_name),
        namespaces=list(settings.namespaces),
        ready_flag=started,
        standalone=True,
    )
