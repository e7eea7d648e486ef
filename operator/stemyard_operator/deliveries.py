"""One attempt at one webhook: what the SeparationJob says by now, the request, and what came back."""

import logging
import time
from collections.abc import Callable
from datetime import UTC, datetime

from pydantic import ValidationError

from stemyard_contract.event_types import EventType
from stemyard_contract.outbox import WebhookStatus
from stemyard_contract.separationjob import phase_of
from stemyard_contract.webhook import EVENT_OF_PHASE, SecretError
from stemyard_operator.attempted import Attempted
from stemyard_operator.courier import News, Parcel
from stemyard_operator.errors import NotLeadingError
from stemyard_operator.letters import Letter, Letters
from stemyard_operator.observed import Separation, separation_of
from stemyard_operator.projection import Projection
from stemyard_operator.sender import Sender
from stemyard_operator.signing import EndpointRemovedError
from stemyard_operator.status import ended

log = logging.getLogger(__name__)


class Deliveries:
    """Reads what is to be sent only when it is sent: nothing waits in a queue but ids, and notices."""

    def __init__(self, projection: Projection, letters: Letters, sender: Sender, fence: Callable[[], None]) -> None:
        self._projection = projection
        self._letters = letters
        self._sender = sender
        self._fence = fence

    async def attempt(self, parcel: Parcel | News) -> Attempted | None:
        """Attempt a delivery and return what came of it, None where it is not due any more or not ours to make."""
        separation = self._separation(parcel.uid)
        if separation is None:
            return None
        if isinstance(parcel, News):
            return await self._notify(separation, parcel)
        delivery = _pending(separation, parcel.id)
        if delivery is None:
            return None
        event = EVENT_OF_PHASE[phase_of(separation.status.conditions)]
        return await self._send(parcel, event, lambda at: self._letters.end(separation, delivery, at))

    async def _notify(self, separation: Separation, news: News) -> Attempted | None:
        notice = news.notice
        if separation.spec.run != notice.run or ended(separation):
            return None
        return await self._send(news, notice.event, lambda at: self._letters.notice(notice, at))

    async def _send(self, parcel: Parcel | News, event: EventType, write: Callable[[int], Letter]) -> Attempted | None:
        try:
            self._fence()
            made = write(int(time.time()))
        except NotLeadingError:
            return None
        except EndpointRemovedError:
            return Attempted(parcel.id, datetime.now(UTC), error="EndpointRemoved", hopeless=True)
        except (SecretError, OSError) as error:
            log.error("a webhook cannot be signed: %s", error)  # noqa: TRY400 - the message says it all
            return Attempted(parcel.id, datetime.now(UTC), error="NotSigned")
        answer = await self._sender.post(parcel.url, made.headers, made.body)
        log.info(
            "attempted a webhook",
            extra={
                "uid": parcel.uid,
                "webhook": parcel.id,
                "event": event.value,
                "status": answer.status,
                "error": answer.error,
            },
        )
        at = datetime.now(UTC)
        return Attempted(parcel.id, at, answer.status, answer.error, answer.retry_after, answer.hopeless)

    def _separation(self, uid: str) -> Separation | None:
        resource = self._projection.separation(uid)
        if resource is None:
            return None
        try:
            separation = separation_of(resource)
        except ValidationError:
            return None
        return None if separation.deleting else separation


def _pending(separation: Separation, message_id: str) -> WebhookStatus | None:
    if not ended(separation):
        return None
    return next((one for one in separation.status.webhooks if one.pending and one.id == message_id), None)
