"""Submission: places a checked request for a separation and renders the response, idempotently if requested."""

import time
from dataclasses import dataclass

from stemyard_api.auth.api_keys import Principal
from stemyard_api.errors import ApiError, TrackNotFoundError, UnavailableError
from stemyard_api.observability.metrics import Metrics
from stemyard_api.ratelimit.quotas import Quotas
from stemyard_api.schemas.requests import SeparationRequest
from stemyard_api.schemas.responses import Accepted, Cached, Failed
from stemyard_api.services import rendering
from stemyard_api.services.idempotency import REPLAYED, IdempotencyKeys, IdempotencyRecord
from stemyard_api.services.links import LinkBuilder
from stemyard_api.services.order import Order, build_order
from stemyard_api.services.placement import Placement
from stemyard_api.services.placement_rules import Hit, Miss, PlacedTrack, cache_result, cache_status, is_hit, place
from stemyard_api.services.tracks import Tracks
from stemyard_contract.mirror import MirrorRecord


@dataclass(frozen=True, slots=True)
class SubmitResponse:
    """Response to a request for a separation."""

    status: int
    body: Accepted | Cached | Failed
    headers: dict[str, str]


@dataclass(frozen=True, slots=True)
class Submissions:
    """Places requests for separations."""

    tracks: Tracks
    placement: Placement
    quotas: Quotas
    bindings: IdempotencyKeys
    links: LinkBuilder
    metrics: Metrics

    async def submit(
        self,
        request: SeparationRequest,
        principal: Principal,
        idempotency_key: str | None = None,
        miss: Miss | None = None,
    ) -> SubmitResponse:
        """Place a request and return its response.

        Args:
            request: the checked body.
            principal: the caller.
            idempotency_key: value of the header Idempotency-Key.
            miss: the fast path's result for this request, so that the mirror is not read again.

        Raises:
            ApiError: the request is refused, or a dependency is unavailable.
        """
        order = build_order(request, principal, self.placement.settings) if miss is None else miss.order
        if idempotency_key is None:
            return (await self._place(order, principal, miss))[1]
        bound = await self.bindings.reserve(idempotency_key, request, principal)
        if bound is not None and (replayed := await self._replay(bound, principal)) is not None:
            return replayed
        try:
            record, response = await self._place(order, principal, miss)
        except UnavailableError:
            raise  # it may have been placed
        except ApiError:
            await self.bindings.release(idempotency_key, request, principal)
            raise
        await self.bindings.bind(idempotency_key, request, principal, record.track_id, record.run)
        return response

    async def _place(
        self, order: Order, principal: Principal, miss: Miss | None
    ) -> tuple[MirrorRecord, SubmitResponse]:
        now = time.time()
        outcome = place(order, await self.placement.mirrored(order), now) if miss is None else miss
        if isinstance(outcome, Hit):
            placed = PlacedTrack(outcome.record, started=False)
        else:
            placed = await self._within_quotas(outcome, principal, now)
        self.metrics.submitted(cache_result(placed))
        headers = {
            "Location": f"/job/{placed.record.track_id}",
            "Cache-Status": cache_status(placed, order.refresh, now),
        }
        return placed.record, self._response(placed.record, principal, headers, now)

    async def _within_quotas(self, miss: Miss, principal: Principal, now: float) -> PlacedTrack:
        track_id = miss.order.track_id
        async with self.quotas.reserve(principal, track_id) as entered:
            placed = await self.placement.write(miss, now)
        if entered and is_hit(placed.record):
            await self.quotas.leave(principal.key_id, track_id)
        return placed

    async def _replay(self, bound: IdempotencyRecord, principal: Principal) -> SubmitResponse | None:
        """Return the current state of the bound track; None if it is gone, so that the request starts it again."""
        try:
            record = (await self.tracks.find(bound.track_id or "")).record
        except TrackNotFoundError:
            return None
        headers = {"Location": f"/job/{record.track_id}", REPLAYED: "true"}
        if record.finished and not is_hit(record):
            return SubmitResponse(202, rendering.failed(record, None, principal.key_id), headers)
        return self._response(record, principal, headers, time.time())

    def _response(
        self, record: MirrorRecord, principal: Principal, headers: dict[str, str], now: float
    ) -> SubmitResponse:
        status, body = submit_body(record, self.links, principal.key_id, now)
        return SubmitResponse(status, body, headers)


def submit_body(record: MirrorRecord, links: LinkBuilder, key_id: str, now: float) -> tuple[int, Accepted | Cached]:
    """Return status and body of the response to a request for this track."""
    if is_hit(record):
        return 200, rendering.cached(record, links.links_for(record, now), key_id)
    return 202, rendering.accepted(record, key_id)
