"""Requests for separations that the mirror answers, counted and read with one call to Redis."""

import time
from collections import OrderedDict
from dataclasses import dataclass
from typing import Final

from starlette.responses import JSONResponse

from stemyard_api.auth.api_keys import Principal
from stemyard_api.clients.redis import RawEntry, RedisClient, parse_entry
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

BODY_LIMIT: Final = 4096
"""Maximum bytes of a request on the fast path; nearly all are far shorter."""
_CACHE_SIZE: Final = 4096
_CACHE_SECONDS: Final = 3600.0
"""Signed links are valid for days longer than this."""


@dataclass(frozen=True, slots=True)
class _RenderedResponse:
    """A rendered response, and the bytes from Redis that it was made from."""

    raw: RawEntry
    until: float
    placed: PlacedTrack
    status: int
    body: bytes


@dataclass(slots=True)
class _ParsedRequest:
    """The order that a body of one key means, and its last response."""

    order: Order
    response: _RenderedResponse | None = None


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
        self._parsed: OrderedDict[tuple[Principal, bytes], _ParsedRequest] = OrderedDict()

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
        request = self._parse(principal, body)
        decision, raw = await self._limiter.submit_and_read(self._redis, principal, request.order.track_id)
        if decision is not None and not decision.allowed:
            return decision, None
        try:
            return decision, self._place(request, raw)
        except ApiError:
            return decision, None  # the response cannot be rendered; the route raises the same error

    def _parse(self, principal: Principal, body: bytes) -> _ParsedRequest:
        identity = (principal, body)  # validation depends on the key's permissions
        request = self._parsed.get(identity)
        if request is None:
            # parsed as FastAPI parses it, so that both refuse the same bodies
            order = build_order(SeparationRequest.model_validate(load_json(body)), principal, self._settings)
            request = self._parsed[identity] = _ParsedRequest(order)
            if len(self._parsed) > _CACHE_SIZE:
                self._parsed.popitem(last=False)
        return request

    def _place(self, request: _ParsedRequest, raw: RawEntry) -> CachedResponse | Miss:
        now, response = time.time(), request.response
        if response is None or response.raw != raw or now >= response.until:
            outcome = self._render(request.order, raw, now)
            if isinstance(outcome, Miss):
                return outcome
            response = request.response = outcome
        self._metrics.submitted(cache_result(response.placed))
        status = cache_status(response.placed, request.order.refresh, now)
        return CachedResponse(response.status, response.body, f"/job/{request.order.track_id}", status)

    def _render(self, order: Order, raw: RawEntry, now: float) -> _RenderedResponse | Miss:
        outcome = place(order, parse_entry(raw), now)
        if isinstance(outcome, Miss):
            return outcome
        placed = PlacedTrack(outcome.record, started=False)
        status, body = submit_body(placed.record, self._links, order.key_id, now)
        until = min(now + _CACHE_SECONDS, placed.record.expires_at or float("inf"))
        return _RenderedResponse(raw, until, placed, status, JSONResponse(body).body)  # type: ignore[arg-type]
