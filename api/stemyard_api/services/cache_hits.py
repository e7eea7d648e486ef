"""Hits: requests for separations that the mirror knows, counted and answered with one call to Redis."""

import json
import time
from collections import OrderedDict
from dataclasses import dataclass
from typing import Final

from starlette.responses import JSONResponse

from stemyard_api.auth.api_keys import Principal
from stemyard_api.clients.redis import Raw, Store, reading_of
from stemyard_api.observability.metrics import Metrics
from stemyard_api.ratelimit.gcra import Decision
from stemyard_api.ratelimit.limiter import Limiter
from stemyard_api.schemas.requests import SeparationRequest
from stemyard_api.schemas.responses import Accepted, Cached
from stemyard_api.services import rendering
from stemyard_api.services.links import Links
from stemyard_api.services.order import Order, order_of
from stemyard_api.services.placement_rules import Placed, cache_result, cache_status, found_in, is_hit
from stemyard_api.settings import Settings
from stemyard_contract.mirror import MirrorRecord

BODY_LIMIT: Final = 4096
"""Bytes of a request that is looked at here; nearly all are far shorter."""
_KEPT: Final = 4096
_KEPT_SECONDS: Final = 3600.0
"""Links are good for days longer than this."""


def answer_of(record: MirrorRecord, links: Links, key_id: str, now: float) -> tuple[int, Accepted | Cached]:
    """Return status and body of the answer to a request that this track answers."""
    if is_hit(record):
        return 200, rendering.cached(record, links.of(record, now), key_id)
    return 202, rendering.accepted(record, key_id)


@dataclass(frozen=True, slots=True)
class Answer:
    """What a request is answered, and the very bytes from Redis it was made from."""

    raw: Raw
    until: float
    placed: Placed
    status: int
    body: bytes


@dataclass(slots=True)
class _Request:
    """What the bytes of a request mean when they come from one key, and how it was answered last."""

    order: Order
    answer: Answer | None = None


@dataclass(frozen=True, slots=True)
class Hit:
    """Everything of an answer that its middleware does not add."""

    status: int
    body: bytes
    location: str
    cache_status: str


class Hits:
    """Answers from the mirror, and keeps what the most recent requests meant."""

    def __init__(
        self, settings: Settings, limiter: Limiter, store: Store | None, links: Links, metrics: Metrics
    ) -> None:
        self._settings = settings
        self._limiter = limiter
        self._store = store
        self._links = links
        self._metrics = metrics
        self._kept: OrderedDict[tuple[Principal, bytes], _Request] = OrderedDict()

    async def find(self, principal: Principal, body: bytes) -> tuple[Decision | None, Hit | None] | None:
        """Count a request and return the decision, and the answer where it may pass and the mirror has one.

        Returns None, and has counted nothing, where there is no mirror.

        Raises:
            ValueError, ApiError: the request is refused, or Redis does not answer; nothing is counted.
        """
        if self._store is None:
            return None
        request = self._request(principal, body)
        decision, raw = await self._limiter.submit_and_read(self._store, principal, request.order.track_id)
        allowed = decision is None or decision.allowed
        return decision, self._hit(request, raw) if allowed else None

    def _request(self, principal: Principal, body: bytes) -> _Request:
        identity = (principal, body)  # what a key may ask for is part of what is checked
        request = self._kept.get(identity)
        if request is None:
            # as FastAPI reads it; whatever it refuses is refused here too
            order = order_of(SeparationRequest.model_validate(json.loads(body)), principal, self._settings)
            request = self._kept[identity] = _Request(order)
            if len(self._kept) > _KEPT:
                self._kept.popitem(last=False)
        return request

    def _hit(self, request: _Request, raw: Raw) -> Hit | None:
        now, answer = time.time(), request.answer
        if answer is None or answer.raw != raw or now >= answer.until:
            answer = request.answer = self._answer(request.order, raw, now)
        if answer is None:
            return None
        self._metrics.submitted(cache_result(answer.placed))
        told = cache_status(answer.placed, request.order.refresh, now)
        return Hit(answer.status, answer.body, f"/job/{request.order.track_id}", told)

    def _answer(self, order: Order, raw: Raw, now: float) -> Answer | None:
        record, _, asked = raw
        placed = found_in(reading_of((record, None, asked)).current, order, now)
        if placed is None:
            return None
        status, body = answer_of(placed.record, self._links, order.key_id, now)
        until = min(now + _KEPT_SECONDS, placed.record.expires_at or float("inf"))
        return Answer(raw, until, placed, status, JSONResponse(body).body)  # type: ignore[arg-type]
