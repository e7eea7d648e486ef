"""Streams: server-sent events of one track: a snapshot, what changes, and the end.

Source: WHATWG HTML, server-sent events.
"""

import random
from dataclasses import dataclass
from typing import Final

from fastapi import APIRouter, Header
from fastapi.responses import Response
from starlette.requests import Request
from starlette.types import Receive, Scope, Send

from stemyard_api.asgi import STREAM
from stemyard_api.auth.api_keys import Principal
from stemyard_api.clients.redis import Event, RedisClient, RedisUnavailableError
from stemyard_api.dependencies import ReaderDep, ServicesDep
from stemyard_api.errors import ApiError
from stemyard_api.routes.jobs import TrackId
from stemyard_api.schemas.examples import EVENT_SCHEMA, EVENTS, problems
from stemyard_api.services.event_hub import EventHub, Subscriber, TrackChannel, encode
from stemyard_api.services.states import TrackState, TrackStates

_RETRY_MS: Final = 3000
_AWAY_MS: Final = (500, 5000)
"""After a drain, clients come back spread over this time."""
_HEARTBEAT: Final = b": beat\n\n"
_HEADERS: Final = [(b"content-type", b"text/event-stream; charset=utf-8"), (b"x-accel-buffering", b"no")]

router = APIRouter(tags=["jobs"])


@router.get(
    "/job/{track_id}/events",
    summary="Follow a separation",
    response_class=Response,
    responses={
        200: {
            "description": "Events `snapshot` (the state, first), `phase`, `progress`, and `end` (the final state)",
            "content": {"text/event-stream": {"schema": EVENT_SCHEMA, "example": EVENTS}},
        },
        **problems(401, 403, 404, 422, 429, 503),
    },
)
async def events(
    services: ServicesDep,
    principal: ReaderDep,
    track_id: TrackId,
    last_event_id: str | None = Header(None, description="Where an earlier stream broke off", max_length=64),
) -> Response:
    """Server-sent events until the track has ended; a comment every 15 seconds keeps the connection open.

    After `Last-Event-ID`, events since then follow the snapshot, where they are still known.
    """
    await services.states.get(track_id, principal)  # refuses before the stream begins
    return EventStream(services.event_hub, services.states, services.redis, track_id, principal, last_event_id)


@dataclass(slots=True)
class _Sent:
    """What the client knows."""

    body: bytes = b""
    id: str = "0-0"


class EventStream(Response):
    """Sends one track's events until it ends, the client goes or the process drains."""

    def __init__(
        self,
        event_hub: EventHub,
        states: TrackStates,
        redis: RedisClient | None,
        track_id: str,
        principal: Principal,
        after: str | None,
    ) -> None:
        self.status_code, self.background = 200, None
        self._event_hub, self._states, self._redis = event_hub, states, redis
        self._track_id, self._principal, self._after = track_id, principal, after
        self._sent = _Sent()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Begin the answer; the rest is sent once the layers around the route are done."""
        await send({"type": "http.response.start", "status": 200, "headers": list(_HEADERS)})
        scope[STREAM] = self._serve

    async def _serve(self, receive: Receive, send: Send) -> None:
        subscriber, channel = await self._event_hub.subscribe(self._track_id)
        try:
            if await self._begin(subscriber, channel, send):
                await self._follow(subscriber, channel, receive, send)
            await send({"type": "http.response.body", "body": b""})
        finally:
            self._event_hub.unsubscribe(self._track_id, subscriber)

    async def _begin(self, subscriber: Subscriber, channel: TrackChannel, send: Send) -> bool:
        """Send the snapshot and what was missed; return whether there is more to come."""
        last_id = channel.last_id  # read before the state, so that nothing falls between them
        subscriber.chunks.clear()  # up to that id the snapshot tells
        retry = b"retry: %d\n" % _RETRY_MS
        try:
            state = await self._states.get(self._track_id, self._principal)
        except ApiError:
            await _send(send, retry + b"\n")
            subscriber.resync = True  # a look will tell how it stands, or that it is gone
            return True
        await _send(send, retry + self._snapshot(state, last_id) + await self._missed(last_id))
        if state.finished:
            await _send(send, _event(b"end", state.body))
        return not state.finished

    async def _follow(self, subscriber: Subscriber, channel: TrackChannel, receive: Receive, send: Send) -> None:
        while True:
            await subscriber.wait()
            chunks, subscriber.chunks = subscriber.chunks, []
            if chunks:
                await _send(send, b"".join(chunks))
            elif not subscriber.look and not subscriber.resync:
                if await Request({"type": "http"}, receive).is_disconnected():
                    return
                await _send(send, _HEARTBEAT)
            if (subscriber.look or subscriber.resync) and await self._looked(subscriber, channel, send):
                return
            if self._event_hub.draining:
                await _send(send, b": draining, come again\nretry: %d\n\n" % random.randint(*_AWAY_MS))
                return

    async def _looked(self, subscriber: Subscriber, channel: TrackChannel, send: Send) -> bool:
        """Send what a look at the track shows; return whether it has ended."""
        resync = subscriber.resync or not channel.eventful
        subscriber.look = subscriber.resync = False
        last_id = channel.last_id
        try:
            state = await self._states.get(self._track_id, self._principal)
        except ApiError as error:
            if error.status == 404:
                await _send(send, _event(b"end", b'{"status":"deleted"}'))
                return True
            return False
        if state.finished:
            await _send(send, _event(b"end", state.body))
        elif resync and state.body != self._sent.body:
            await _send(send, self._snapshot(state, last_id))
        return state.finished

    def _snapshot(self, state: TrackState, last_id: str) -> bytes:
        self._sent.body = state.body
        return b"id: %s\n" % last_id.encode() + _event(b"snapshot", state.body)

    async def _missed(self, last_id: str) -> bytes:
        """Return the events after the one the client saw last, if that is still known."""
        if self._after is None or self._redis is None or self._after == last_id:
            return b""
        try:
            events = await self._redis.events_between(self._track_id, self._after, last_id)
        except RedisUnavailableError:
            return b""
        known = bool(events) and events[0].id == self._after
        return b"".join(_encoded(event) for event in events[1:]) if known else b""


def _encoded(event: Event) -> bytes:
    found = encode(event)
    return found[0] if found is not None else b""


def _event(name: bytes, data: bytes) -> bytes:
    return b"event: %s\ndata: %s\n\n" % (name, data)


async def _send(send: Send, body: bytes) -> None:
    await send({"type": "http.response.body", "body": body, "more_body": True})
