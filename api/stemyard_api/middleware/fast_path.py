"""The fast path: answers the two most frequent requests outside all other middleware.

They are GET /job/{track_id}, and POST /separate-audio if the mirror has the track. It applies the rules of the
middleware in the same order, and passes every other request on, with its intermediate results in the ASGI scope.
"""

import time
from typing import Final, NamedTuple

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from stemyard_api.asgi import (
    FAILURE,
    HEADERS,
    MISS,
    PRINCIPAL,
    RATE_LIMIT_DECISION,
    REQUEST_ID,
    STREAM,
    HttpMiddleware,
    Stream,
    content_length,
)
from stemyard_api.auth.api_keys import Keyring, Principal, presented_key
from stemyard_api.auth.api_keys import Scope as KeyScope
from stemyard_api.errors import UnavailableError
from stemyard_api.middleware.request_context import record_request, request_id
from stemyard_api.middleware.security_headers import security_headers
from stemyard_api.ratelimit.limiter import Policy, rate_limit_headers
from stemyard_api.services.cache_hits import FAST_BODY_LIMIT, CachedResponse
from stemyard_api.services.tracks import canonical_track_id

_JOB: Final = "/job/"
_STATE_ROUTE: Final = "/job/{track_id}"
_SUBMIT: Final = "/separate-audio"
_JSON: Final = (b"content-type", b"application/json")
_JSON_TYPES: Final = frozenset({b"application/json", b"application/json; charset=utf-8"})
_EXCLUDED_HEADERS: Final = frozenset({b"idempotency-key", b"content-encoding", b"expect", b"transfer-encoding"})
"""Headers of a POST that the fast path does not support."""

_Headers = list[tuple[bytes, bytes]]


class _Response(NamedTuple):
    """A response; cheaper to create than a frozen dataclass, which matters for every request."""

    route: str
    policy: Policy
    status: int
    headers: _Headers
    body: bytes


class _BufferedReceive:
    """Buffers the request body that it reads, so that the app behind can read it again."""

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self._buffer: list[Message] = []

    async def __call__(self) -> Message:
        """Return the next message."""
        return self._buffer.pop(0) if self._buffer else await self._receive()

    async def body(self) -> bytes | None:
        """Return the whole body, or None if the client has disconnected."""
        while True:
            message = await self._receive()
            self._buffer.append(message)
            if message["type"] != "http.request":
                self._buffer = [message]
                return None
            if not message.get("more_body", False):
                return b"".join(part["body"] for part in self._buffer)


class FastPath(HttpMiddleware):
    """Answers GET of a track's state, and POST of separations that the mirror has."""

    def __init__(self, app: ASGIApp, keyring: Keyring) -> None:
        super().__init__(app)
        self._keyring = keyring

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        started, method, path = time.perf_counter(), scope["method"], scope["path"]
        response = None
        if method == "GET" and path.startswith(_JOB) and "/" not in (track_id := path[len(_JOB) :]):
            response = await self._state(scope, canonical_track_id(track_id))
        elif method == "POST" and path == _SUBMIT:
            receive = _BufferedReceive(receive)
            response = await self._submit(scope, receive)
        if response is None:
            await self._app(scope, receive, send)
            if STREAM in scope:
                stream: Stream = scope[STREAM]
                await stream(receive, send)
            return
        try:
            headers = _headers(scope, response)
            await send({"type": "http.response.start", "status": response.status, "headers": headers})
            await send({"type": "http.response.body", "body": response.body})
        finally:
            record_request(scope, scope[REQUEST_ID], response.status, time.perf_counter() - started, response.route)

    async def _state(self, scope: Scope, track_id: str) -> _Response | None:
        """Return a track's state, or None if the request is refused or fails."""
        try:
            principal = self._identify(scope, KeyScope.READ)
            services = scope["app"].state.services
            decision = scope[RATE_LIMIT_DECISION] = services.limiter.read(principal)
            if decision is not None and not decision.allowed:
                return None
            body: bytes = await services.states.body(track_id, principal)
        except UnavailableError as error:
            scope[FAILURE] = error  # it has waited for a backend, which the route should not do again
            return None
        except Exception:  # noqa: BLE001 - the same error occurs in the app behind, which responds
            return None
        return _Response(_STATE_ROUTE, "read", 200, [], body)

    async def _submit(self, scope: Scope, receive: _BufferedReceive) -> _Response | None:
        """Return the response to a request that the mirror answers, or None and leave a Miss for the route."""
        try:
            principal = self._identify(scope, KeyScope.SUBMIT)
            body = await receive.body() if _is_supported(scope[HEADERS]) else None
            result = None if body is None else await scope["app"].state.services.cache_hits.find(principal, body)
        except Exception:  # noqa: BLE001 - the same error occurs in the app behind, which responds
            return None
        if result is None:
            return None
        scope[RATE_LIMIT_DECISION], outcome = result
        if not isinstance(outcome, CachedResponse):
            scope[MISS] = outcome
            return None
        headers = [(b"location", outcome.location.encode()), (b"cache-status", outcome.cache_status.encode())]
        return _Response(_SUBMIT, "submit", outcome.status, headers, outcome.body)

    def _identify(self, scope: Scope, needed: KeyScope) -> Principal:
        headers = scope[HEADERS] = dict(scope["headers"])
        principal = scope[PRINCIPAL] = self._keyring.identify(presented_key(headers))
        principal.require(needed)
        scope[REQUEST_ID] = request_id(headers.get(b"x-request-id"))
        return principal


def _is_supported(headers: dict[bytes, bytes]) -> bool:
    length = content_length(headers)
    return (
        length is not None
        and length <= FAST_BODY_LIMIT
        and headers.get(b"content-type", b"").lower() in _JSON_TYPES
        and _EXCLUDED_HEADERS.isdisjoint(headers)
    )


def _headers(scope: Scope, response: _Response) -> _Headers:
    decision = scope[RATE_LIMIT_DECISION]
    return [
        *response.headers,
        (b"content-length", b"%d" % len(response.body)),
        _JSON,
        *(rate_limit_headers(response.policy, decision) if decision is not None else ()),
        *security_headers(scope),
        (b"x-request-id", scope[REQUEST_ID].encode()),
    ]
