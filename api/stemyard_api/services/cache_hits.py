"""Requests for separations that the mirror answers, counted and read with one call to Redis."""

import time
from collections import OrderedDict
from dataclasses import dataclass
from typing import Any, Final

from starlette.responses import JSONResponse

from stemyard_api.auth.api_keys import Principal
from stemyard_api.clients.redis import MirrorEntry, RawEntry, RedisClient, parse_entry
from stemyard_api.errors import ApiError
from stemyard_api.observability.metrics import Metrics
from stemyard_api.ratelimit.gcra import RateLimitDecision
from stemyard_api.ratelimit.limiter import RateLimiter
from stemyard_api.schemas.json_bodies import load_json
from stemyard_api.schemas.requests import SeparationRequest
from stemyard_api.services.links import LinkBuilder
from stemyard_api.services.order import Order, build_order
from stemyard_api.services.placement_rules import Miss, PlacedTrack, cache_result, cache_status, place
from stemyard_api.services.submission import submit_body
from stemyard_api.settings import Settings
from stemyard_contract.mirror import MirrorRecord

FAST_BODY_LIMIT: Final = 4096
"""Maximum bytes of a request on the fast path; nearly all are far shorter."""
_CACHE_SIZE: Final = 4096
_CACHE_SECONDS: Final = 3600.0
"""Signed links are valid for days longer than this."""


@dataclass(frozen=True, slots=True)
class _RenderedResponse:
    """The response to one key's requests for one track, and the mirror's entry that it was rendered from."""

    raw: RawEntry
    entry: MirrorEntry
    until: float
    placed: PlacedTrack
    status: int
    body: bytes


@dataclass(frozen=True, slots=True)
class CachedResponse:
    """The part of a response that does not come from middleware."""

    status: int
    body: bytes
    location: str
    cache_status: str


class CacheHits:
    """Answers requests from the mirror; caches the most recent requests and their responses."""

    def __init__(
        self, settings: Settings, limiter: RateLimiter, redis: RedisClient | None, links: LinkBuilder, metrics: Metrics
    ) -> None:
        self._settings = settings
        self._limiter = limiter
        self._redis = redis
        self._links = links
        self._metrics = metrics
        self._orders: OrderedDict[tuple[Principal, bytes], Order] = OrderedDict()
        self._responses: OrderedDict[tuple[str, str], _RenderedResponse] = OrderedDict()
        """By track and key: requests for one track may differ, as in their metadata, and have the same response."""

    async def find(
        self, principal: Principal, body: bytes
    ) -> tuple[RateLimitDecision | None, CachedResponse | Miss | None] | None:
        """Count a request against the rate limit, and place it if it is allowed.

        Returns the rate limit's decision, and the response or, if the mirror does not answer the request, what the
        route needs to continue: None if the route must refuse it. None without a mirror; then nothing is counted.

        Raises:
            ValueError, ApiError: the request is invalid or Redis is unavailable; nothing is counted.
        """
        if self._redis is None:
            return None
        order = self._parse(principal, body)
        decision, raw = await self._limiter.submit_and_read(self._redis, principal, order.track_id)
        if decision is not None and not decision.allowed:
            return decision, None
        try:
            return decision, self._place(order, raw)
        except ApiError:
            return decision, None  # the response cannot be rendered; the route raises the same error

    def _parse(self, principal: Principal, body: bytes) -> Order:
        identity = (principal, body)  # validation depends on the key's permissions
        order = self._orders.get(identity)
        if order is None:
            # parsed as FastAPI parses it, so that both refuse the same bodies
            order = build_order(SeparationRequest.model_validate(load_json(body)), principal, self._settings)
            self._orders[identity] = order
            _limit(self._orders)
        return order

    def _place(self, order: Order, raw: RawEntry) -> CachedResponse | Miss:
        now, identity = time.time(), (order.track_id, order.key_id)
        response = self._responses.get(identity)
        if response is not None and (response.raw != raw or now >= response.until):
            response = None
        entry = parse_entry(raw) if response is None else response.entry
        outcome = place(order, entry, now)
        if isinstance(outcome, Miss):
            return outcome
        if response is None:
            response = self._responses[identity] = self._render(order, raw, entry, outcome.record, now)
            _limit(self._responses)
        self._metrics.submitted(cache_result(response.placed))
        status = cache_status(response.placed, order.refresh, now)
        return CachedResponse(response.status, response.body, f"/job/{order.track_id}", status)

    def _render(
        self, order: Order, raw: RawEntry, entry: MirrorEntry, record: MirrorRecord, now: float
    ) -> _RenderedResponse:
        status, body = submit_body(record, self._links, order.key_id, now)
        until = min(now + _CACHE_SECONDS, record.expires_at or float("inf"))
        content = bytes(JSONResponse(body).body)
        return _RenderedResponse(raw, entry, until, PlacedTrack(record, started=False), status, content)


def _limit(cache: OrderedDict[Any, Any]) -> None:
    if len(cache) > _CACHE_SIZE:
        cache.popitem(last=False)
