"""One attempt at one webhook: what the SeparationJob says by now, the request, and what came back."""

import logging
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from datetime import datetime

from pydantic import ValidationError

from stemyard_contract.event_types import EventType
from stemyard_contract.mirror import AttemptRecord
from stemyard_contract.outbox import WebhookStatus
from stemyard_contract.separationjob import phase_of
from stemyard_contract.webhook import SecretError, event_of
from stemyard_operator.clients.webhook_http import WebhookHttpClient
from stemyard_operator.config.webhook_secrets import EndpointRemovedError
from stemyard_operator.errors import NotLeadingError
from stemyard_operator.informer.cluster_cache import ClusterCache
from stemyard_operator.model.attempt_result import AttemptResult
from stemyard_operator.model.conditions import ended
from stemyard_operator.model.separation import Separation
from stemyard_operator.webhooks.dispatcher import QueuedDelivery, QueuedProgress
from stemyard_operator.webhooks.request import RequestBuilder, WebhookRequest

Trace = Callable[[Separation, QueuedDelivery | QueuedProgress], AbstractContextManager[Mapping[str, str]]]
"""Follows an attempt, and gives headers that tell its consumer of the trace."""

log = logging.getLogger(__name__)


def untraced(
    _separation: Separation, _parcel: QueuedDelivery | QueuedProgress
) -> AbstractContextManager[Mapping[str, str]]:
    """Trace nothing, and add no headers."""
    return nullcontext({})


class DeliveryAttempts:
    """Reads what is to be sent only when it is sent: nothing waits in a queue but ids, and notices.

    `on_attempt` are called with the track id and the record of each attempt, and `trace` is entered around it.
    """

    def __init__(
        self,
        cluster_cache: ClusterCache,
        letters: RequestBuilder,
        sender: WebhookHttpClient,
        fence: Callable[[], None],
        now: Callable[[], datetime],
        on_attempt: tuple[Callable[[str, AttemptRecord], None], ...] = (),
        trace: Trace = untraced,
    ) -> None:
        self._cluster_cache = cluster_cache
        self._letters = letters
        self._sender = sender
        self._fence = fence
        self._now = now
        self._on_attempt = on_attempt
        self._trace = trace

    async def attempt(self, parcel: QueuedDelivery | QueuedProgress) -> AttemptResult | None:
        """Attempt a delivery and return what came of it, None where it is not due any more or not ours to make."""
        separation = self._separation(parcel.uid)
        wanted = None if separation is None else self._wanted(separation, parcel)
        if separation is None or wanted is None:
            return None
        began = time.monotonic()
        try:
            self._fence()
            attempted = await self._post(separation, parcel, wanted)
        except NotLeadingError:
            return None
        record = AttemptRecord(
            id=parcel.id,
            url=parcel.url,
            event=wanted.event,
            at=attempted.at.timestamp(),
            seconds=round(time.monotonic() - began, 3),
            status=attempted.status,
            error=attempted.error,
            key=wanted.key,
        )
        told = {"webhook": parcel.id, "event": record.event.value, "status": record.status, "error": record.error}
        log.info("attempted a webhook", extra={**separation.about, **told})
        for notify in self._on_attempt:
            notify(separation.track_id, record)
        return attempted

    def _wanted(self, separation: Separation, parcel: QueuedDelivery | QueuedProgress) -> "_Wanted | None":
        """Return what there is to send by now."""
        if isinstance(parcel, QueuedProgress):
            notice = parcel.notice
            stale = separation.spec.run != notice.run or ended(separation)
            return None if stale else _Wanted(notice.event, notice.key, lambda at: self._letters.notice(notice, at))
        delivery = _pending(separation, parcel.id)
        if delivery is None:
            return None
        event = event_of(phase_of(separation.status.conditions), test=separation.spec.webhook_test)
        return _Wanted(event, delivery.key, lambda at: self._letters.end(separation, delivery, at))

    async def _post(
        self, separation: Separation, parcel: QueuedDelivery | QueuedProgress, wanted: "_Wanted"
    ) -> AttemptResult:
        try:
            made = wanted.write(int(self._now().timestamp()))
        except EndpointRemovedError:
            return AttemptResult(parcel.id, self._now(), error="EndpointRemoved", hopeless=True)
        except (SecretError, OSError) as error:
            log.error("a webhook cannot be signed: %s", error)  # noqa: TRY400 - the message says it all
            return AttemptResult(parcel.id, self._now(), error="NotSigned")
        with self._trace(separation, parcel) as headers:
            answer = await self._sender.post(parcel.url, {**made.headers, **headers}, made.body)
        at = self._now()
        return AttemptResult(parcel.id, at, answer.status, answer.error, answer.retry_after, answer.hopeless)

    def _separation(self, uid: str) -> Separation | None:
        try:
            separation = self._cluster_cache.typed(uid)
        except ValidationError:
            return None
        return None if separation is None or separation.deleting else separation


@dataclass(frozen=True, slots=True)
class _Wanted:
    event: EventType
    key: str | None
    write: Callable[[int], WebhookRequest]
    """Makes the request of an attempt at that many epoch seconds."""


def _pending(separation: Separation, message_id: str) -> WebhookStatus | None:
    if not ended(separation):
        return None
    return next((one for one in separation.status.webhooks if one.pending and one.id == message_id), None)
