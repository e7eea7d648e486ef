"""Streams: server-sent events of one track: a snapshot, its changes, and the final state.

Source: WHATWG HTML, server-sent events.
"""

import asyncio
import random
from dataclasses import dataclass
from typing import Final

from fastapi import APIRouter, Header
from fastapi.responses import Response
from starlette.types import Receive, Scope, Send

from stemyard_api.asgi import STREAM
from stemyard_api.auth.api_keys import Principal
from stemyard_api.clients.redis import Event, RedisClient, RedisUnavailableError
from stemyard_api.dependencies import ReaderDep, ServicesDep
from stemyard_api.errors import ApiError, QuotaExceededError
from stemyard_api.problems import problem_response
from stemyard_api.routes.jobs import TrackId
from stemyard_api.schemas.examples import EVENTS, problems
from stemyard_api.schemas.states import STREAM_EVENTS
from stemyard_api.services.event_hub import EventHub, Subscriber, TrackChannel, encode
from stemyard_api.services.states import TrackState, TrackStates

_RETRY_MS: Final = 3000
_AWAY_MS: Final = (500, 5000)
"""Range of the reconnection delay sent on a drain, so that clients return spread over time."""
_HEARTBEAT: Final = b": beat\n\n"
_HEADERS: Final = [(b"content-type", b"text/event-stream; charset=utf-8"), (b"x-accel-buffering", b"no")]

_STREAM: Final = {"type": "string", "description": "Server-sent events; the `data` of each is JSON on one line."}
_EVENT_DATA: Final = {name: {"$ref": f"#/components/schemas/{model.__name__}"} for name, model in STREAM_EVENTS.items()}

router = APIRouter(tags=["jobs"])


@router.get(
    "/job/{track_id}/events",
    operation_id="streamJobEvents",
    summary="Follow a separation",
    response_class=Response,
    responses={
        200: {
            "description": "Events `snapshot` (the state, first), `phase`, `progress`, and `end` (the final state)",
            "content": {"text/event-stream": {"schema": _STREAM, "example": EVENTS, "x-event-data": _EVENT_DATA}},
        },
        204: {"description": "`Last-Event-ID` is that of `end`: there is nothing more, so do not reconnect"},
        **problems(401, 403, 404, 422, 429, 503),
    },
)
async def events(
    services: ServicesDep,
    principal: ReaderDep,
    track_id: TrackId,
    last_event_id: str | None = Header(None, description="Id of the last event received", max_length=64),
) -> Response:
    """Server-sent events until the track has ended. Close the connection when `end` arrives.

    A comment every 4 seconds, unless the deployment sets another interval, keeps clients with a read timeout connected.
    With `Last-Event-ID`, the events since then follow the snapshot, if they are still stored; with the id of `end` the
    answer is 204, so that an EventSource that was not closed stops to reconnect. The deployment limits the streams that
    a key may have open, to 500 on each process by default; one more is 429.
    """
    state = await services.states.get(track_id, principal)  # refuses before the stream begins
    if state.finished and last_event_id == _end_id(state):
        return Response(status_code=204)
    most = principal.limits.streams or services.settings.quota_streams
    return EventStream(services.event_hub, services.states, services.redis, track_id, principal, last_event_id, most)


@dataclass(slots=True)
class _Sent:
    """The last snapshot and event id that the client has."""

    body: bytes = b""
    id: str = "0-0"


class EventStream(Response):
    """Sends one track's events until it ends, the client disconnects or the process drains."""

    def __init__(
        self,
        event_hub: EventHub,
        states: TrackStates,
        redis: RedisClient | None,
        track_id: str,
        principal: Principal,
        after: str | None,
        most: int,
    ) -> None:
        self.status_code, self.background = 200, None
        self._event_hub, self._states, self._redis = event_hub, states, redis
        self._track_id, self._principal, self._after = track_id, principal, after
        self._most = most
        self._sent = _Sent()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Start the response; the middleware stack returns before the stream is sent."""
        if not self._event_hub.enter(self._principal.key_id, self._most):
            error = QuotaExceededError(
                f"This API key may have {self._most} event streams open at once.", retry_after=15
            )
            await problem_response(error, scope)(scope, receive, send)
            return
        try:
            await send({"type": "http.response.start", "status": 200, "headers": list(_HEADERS)})
        except BaseException:
            self._event_hub.leave(self._principal.key_id)
            raise
        scope[STREAM] = self._serve

    async def _serve(self, receive: Receive, send: Send) -> None:
        try:
            await self._stream(receive, send)
        finally:
            self._event_hub.leave(self._principal.key_id)

    async def _stream(self, receive: Receive, send: Send) -> None:
        subscriber, channel = await self._event_hub.subscribe(self._track_id)
        leaving = asyncio.create_task(_note_disconnect(receive, subscriber))
        try:
            if await self._begin(subscriber, channel, send):
                await self._follow(subscriber, channel, send)
            await send({"type": "http.response.body", "body": b""})
        finally:
            leaving.cancel()
            self._event_hub.unsubscribe(self._track_id, subscriber)

    async def _begin(self, subscriber: Subscriber, channel: TrackChannel, send: Send) -> bool:
        """Send the snapshot and missed events; return whether the track has not ended."""
        last_id = channel.last_id  # read before the state, so that no event is lost between them
        subscriber.chunks.clear()  # the snapshot covers events up to that id
        retry = b"retry: %d\n" % _RETRY_MS
        try:
            state = await self._states.get(self._track_id, self._principal)
        except ApiError:
            await _send(send, retry + b"\n")
            subscriber.resync = True  # the next poll reads its state, or finds it deleted
            return True
        await _send(send, retry + self._snapshot(state, last_id) + await self._missed(last_id))
        if state.finished:
            await _send(send, _end(state))
        return not state.finished

    async def _follow(self, subscriber: Subscriber, channel: TrackChannel, send: Send) -> None:
        while True:
            if not self._event_hub.draining:
                await subscriber.wait()
            if subscriber.gone:
                return
            if not self._principal.validity.holds():
                return  # the client reconnects, and is refused
            chunks, subscriber.chunks = subscriber.chunks, []
            if chunks:
                await _send(send, b"".join(chunks))
            elif not subscriber.poll and not subscriber.resync:
                await _send(send, _HEARTBEAT)
            if (subscriber.poll or subscriber.resync) and await self._poll(subscriber, channel, send):
                return
            if self._event_hub.draining:
                await _send(send, b": draining, reconnect\nretry: %d\n\n" % random.randint(*_AWAY_MS))
                return

    async def _poll(self, subscriber: Subscriber, channel: TrackChannel, send: Send) -> bool:
        """Poll the track and send its state if needed; return whether it has ended."""
        resync = subscriber.resync or not channel.eventful
        subscriber.poll = subscriber.resync = False
        last_id = channel.last_id
        try:
            state = await self._states.get(self._track_id, self._principal)
        except ApiError as error:
            if error.status == 404:
                await _send(send, _event(b"end", b'{"status":"deleted"}'))
                return True
            return False
        if state.finished:
            await _send(send, _end(state))
        elif resync and state.body != self._sent.body:
            await _send(send, self._snapshot(state, last_id))
        return state.finished

    def _snapshot(self, state: TrackState, last_id: str) -> bytes:
        self._sent.body = state.body
        return b"id: %s\n" % last_id.encode() + _event(b"snapshot", state.body)

    async def _missed(self, last_id: str) -> bytes:
        """Return the events after the last one that the client received, if that one is still stored."""
        if self._after is None or self._redis is None or self._after == last_id:
            return b""
        try:
            events = await self._redis.events_between(self._track_id, self._after, last_id)
        except RedisUnavailableError:
            return b""
        known = bool(events) and events[0].id == self._after
        return b"".join(_encoded(event) for event in events[1:]) if known else b""


async def _note_disconnect(receive: Receive, subscriber: Subscriber) -> None:
    """Wake a stream as soon as its client disconnects."""
    while (await receive())["type"] != "http.disconnect":
        pass
    subscriber.gone = True
    subscriber.wake()


def _encoded(event: Event) -> bytes:
    encoded = encode(event)
    return encoded[0] if encoded is not None else b""


def _event(name: bytes, data: bytes) -> bytes:
    return b"event: %s\ndata: %s\n\n" % (name, data)


def _end(state: TrackState) -> bytes:
    return b"id: %s\n" % _end_id(state).encode() + _event(b"end", state.body)


def _end_id(state: TrackState) -> str:
    """Return the id of a run's final event; it tells a client that has received it from one that has missed it."""
    return f"end-{state.run}"


async def _send(send: Send, body: bytes) -> None:
    await send({"type": "http.response.body", "body": body, "more_body": True})
