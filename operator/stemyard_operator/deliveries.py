"""One attempt at one webhook: what the SeparationJob says by now, the request, and what came back."""

import logging
import time
from collections.abc import Callable
from datetime import UTC, datetime

from pydantic import ValidationError

from stemyard_contract.outbox import WebhookStatus
from stemyard_contract.webhook import SecretError
from stemyard_operator.attempted import Attempted
from stemyard_operator.courier import Parcel
from stemyard_operator.errors import NotLeadingError
from stemyard_operator.letters import letter
from stemyard_operator.objects import Objects
from stemyard_operator.observed import Separation, separation_of
from stemyard_operator.projection import Projection
from stemyard_operator.sender import Sender
from stemyard_operator.settings import Settings
from stemyard_operator.status import ended

log = logging.getLogger(__name__)


class Deliveries:
    """Reads what is to be sent only when it is sent: nothing waits in a queue but ids."""

    def __init__(
        self,
        settings: Settings,
        projection: Projection,
        objects: Objects,
        sender: Sender,
        fence: Callable[[], None],
    ) -> None:
        self._settings = settings
        self._projection = projection
        self._objects = objects
        self._sender = sender
        self._fence = fence

    async def attempt(self, parcel: Parcel) -> Attempted | None:
        """Attempt a delivery and return what came of it, None where it is not due any more or not ours to make."""
        found = self._due(parcel)
        if found is None:
            return None
        separation, delivery = found
        try:
            self._fence()
            made = letter(separation, delivery, int(time.time()), self._objects, self._settings)
        except NotLeadingError:
            return None
        except (SecretError, OSError) as error:
            log.error("a webhook cannot be signed: %s", error)  # noqa: TRY400 - the message says it all
            return Attempted(parcel.id, datetime.now(UTC), error="NotSigned")
        answer = await self._sender.post(delivery.url, made.headers, made.body)
        log.info(
            "attempted a webhook",
            extra={"uid": parcel.uid, "webhook": parcel.id, "status": answer.status, "error": answer.error},
        )
        at = datetime.now(UTC)
        return Attempted(parcel.id, at, answer.status, answer.error, answer.retry_after, answer.hopeless)

    def _due(self, parcel: Parcel) -> tuple[Separation, WebhookStatus] | None:
        resource = self._projection.separation(parcel.uid)
        if resource is None:
            return None
        try:
            separation = separation_of(resource)
        except ValidationError:
            return None
        if separation.deleting or not ended(separation):
            return None
        known = {one.id: one for one in separation.status.webhooks if one.pending}
        return (separation, known[parcel.id]) if parcel.id in known else None
