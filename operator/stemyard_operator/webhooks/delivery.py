"""One attempt at one webhook: what the SeparationJob says now, the request, and its result."""

import logging
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from datetime import datetime
from functools import partial

from pydantic import ValidationError

from stemyard_contract.event_types import EventType
from stemyard_contract.mirror import AttemptRecord
from stemyard_contract.outbox import ADDRESS_REFUSED, WebhookStatus
from stemyard_contract.separationjob import phase_of
from stemyard_contract.webhook import event_of
from stemyard_contract.webhook_signature import SecretError
from stemyard_operator.clients.webhook_http import WebhookHttpClient
from stemyard_operator.config.webhook_secrets import EndpointRemovedError
from stemyard_operator.errors import NotLeadingError, ObjectStoreError
from stemyard_operator.informer.cluster_cache import ClusterCache
from stemyard_operator.model.attempt_result import AttemptResult
from stemyard_operator.model.conditions import ended
from stemyard_operator.model.separation import Separation
from stemyard_operator.webhooks.dispatcher import WebhookTask
from stemyard_operator.webhooks.request import RequestBuilder, WebhookRequest

OnAttempt = tuple[Callable[[str, AttemptRecord], None], ...]
Trace = Callable[[Separation, WebhookTask], AbstractContextManager[Mapping[str, str]]]
"""Makes a span of an attempt, and yields the headers that propagate it."""

log = logging.getLogger(__name__)


def untraced(_separation: Separation, _task: WebhookTask) -> AbstractContextManager[Mapping[str, str]]:
    """Make no span and add no headers."""
    return nullcontext({})


class DeliveryAttempts:
    """Builds each request when it is sent, so that deliveries are queued by their ids only.

    `on_attempt` are called with the track id and the record of each attempt, and `trace` is entered around it.
    """

    def __init__(
        self,
        cluster_cache: ClusterCache,
        builder: RequestBuilder,
        client: WebhookHttpClient,
        fence: Callable[[], None],
        now: Callable[[], datetime],
        on_attempt: OnAttempt = (),
        trace: Trace = untraced,
    ) -> None:
        self._cluster_cache = cluster_cache
        self._builder = builder
        self._client = client
        self._fence = fence
        self._now = now
        self._on_attempt = on_attempt
        self._trace = trace

    async def attempt(self, task: WebhookTask) -> AttemptResult | None:
        """Attempt a task and return its result; None if it is no longer due, or this replica does not lead."""
        separation = self._separation(task.uid)
        due = None if separation is None else self._due(separation, task)
        if separation is None or due is None:
            return None
        started = time.monotonic()
        try:
            self._fence()
            result = await self._post(separation, task, due)
        except NotLeadingError:
            return None
        record = AttemptRecord(
            id=task.id,
            url=task.url,
            event=due.event,
            at=result.at.timestamp(),
            seconds=round(time.monotonic() - started, 3),
            status=result.status,
            error=result.error,
            key=due.key,
            registration=due.registration,
        )
        fields = {"webhook": task.id, "event": record.event.value, "status": record.status, "error": record.error}
        refused = record.error == ADDRESS_REFUSED
        text = "the address guard refused a webhook's URL; nothing was sent" if refused else "attempted a webhook"
        log.log(logging.WARNING if refused else logging.INFO, text, extra={**separation.log_fields, **fields})
        for notify in self._on_attempt:
            notify(separation.track_id, record)
        return result

    def _due(self, separation: Separation, task: WebhookTask) -> "_DueWebhook | None":
        """Return what to send, None if it is no longer due."""
        progress = task.progress
        if progress is not None:
            stale = separation.spec.run != progress.run or ended(separation)
            build = partial(self._builder.progress, progress)
            return None if stale else _DueWebhook(progress.event, progress.key, progress.registration, build)
        delivery = _pending(separation, task.id)
        if delivery is None:
            return None
        event = event_of(phase_of(separation.status.conditions), test=separation.spec.webhook_test)
        build = partial(self._builder.terminal, separation, delivery)
        return _DueWebhook(event, delivery.key, delivery.registration, build)

    async def _post(self, separation: Separation, task: WebhookTask, due: "_DueWebhook") -> AttemptResult:
        try:
            request = due.build(int(self._now().timestamp()))
        except EndpointRemovedError:
            return AttemptResult(task.id, self._now(), error="EndpointRemoved", hopeless=True)
        except (SecretError, ObjectStoreError, OSError) as error:
            log.error("a webhook cannot be signed: %s", error)  # noqa: TRY400 - the message is enough
            return AttemptResult(task.id, self._now(), error="NotSigned")
        with self._trace(separation, task) as headers:
            response = await self._client.post(task.url, {**request.headers, **headers}, request.body)
        return AttemptResult(
            task.id, self._now(), response.status, response.error, response.retry_after, response.hopeless
        )

    def _separation(self, uid: str) -> Separation | None:
        try:
            separation = self._cluster_cache.typed(uid)
        except ValidationError:
            return None
        return None if separation is None or separation.deleting else separation


@dataclass(frozen=True, slots=True)
class _DueWebhook:
    event: EventType
    key: str | None
    registration: str | None
    build: Callable[[int], WebhookRequest]
    """Builds the request of an attempt at these epoch seconds."""


def _pending(separation: Separation, message_id: str) -> WebhookStatus | None:
    if not ended(separation):
        return None
    return next((item for item in separation.status.webhooks if item.pending and item.id == message_id), None)
