"""The hot routes: the requests that are made most, answered in front of all other middleware.

They are GET /job/{track_id}, and POST /separate-audio for what the mirror knows. Both do what the middleware does, in
its order, and leave to it every request that is not simply answered.
"""

import time
from typing import Final, NamedTuple

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from stemyard_api.asgi import COUNTED, HEADERS, PRINCIPAL, STREAM, Layer, Stream
from stemyard_api.auth.api_keys import Keyring, Principal, presented_key
from stemyard_api.auth.api_keys import Scope as KeyScope
from stemyard_api.middleware.layers import SECURE_HEADERS, SECURITY_HEADERS, limiter_of, note_end, request_id_of
from stemyard_api.problems import REQUEST_ID
from stemyard_api.ratelimit.limiter import Policy, headers_of
from stemyard_api.services.cache_hits import BODY_LIMIT

_JOB: Final = "/job/"
_STATE_ROUTE: Final = "/job/{track_id}"
_SUBMIT: Final = "/separate-audio"
_JSON: Final = (b"content-type", b"application/json")
_JSON_TYPES: Final = frozenset({b"application/json", b"application/json; charset=utf-8"})
_NOT_HERE: Final = frozenset({b"idempotency-key", b"expect", b"transfer-encoding"})
"""Headers of a POST that ask for more than an answer."""

_Headers = list[tuple[bytes, bytes]]


class _Answer(NamedTuple):
    """Cheaper to make than a frozen dataclass, which counts where each request makes one."""

    route: str
    policy: Policy
    status: int
    headers: _Headers
    body: bytes


class _Rewound:
    """What a request sends: read here, and again by whoever answers it."""

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self._read: list[Message] = []

    async def __call__(self) -> Message:
        """Return the next message."""
        return self._read.pop(0) if self._read else await self._receive()

    async def body(self) -> bytes | None:
        """Return the whole body, or None where the client has gone."""
        while True:
            message = await self._receive()
            self._read.append(message)
            if message["type"] != "http.request":
                return None
            if not message.get("more_body", False):
                return b"".join(part["body"] for part in self._read)


class HotRoutes(Layer):
    """Answers a track's state, and requests for separations that exist."""

    def __init__(self, app: ASGIApp, keyring: Keyring) -> None:
        super().__init__(app)
        self._keyring = keyring

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        started, method, path = time.perf_counter(), scope["method"], scope["path"]
        answer = None
        if method == "GET" and path.startswith(_JOB) and "/" not in (track_id := path[len(_JOB) :]):
            answer = await self._state(scope, track_id)
        elif method == "POST" and path == _SUBMIT:
            receive = _Rewound(receive)
            answer = await self._hit(scope, receive)
        if answer is None:
            await self._app(scope, receive, send)
            if STREAM in scope:
                stream: Stream = scope[STREAM]
                await stream(receive, send)
            return
        try:
            headers = _headers(scope, answer)
            await send({"type": "http.response.start", "status": answer.status, "headers": headers})
            await send({"type": "http.response.body", "body": answer.body})
        finally:
            note_end(scope, scope[REQUEST_ID], answer.status, time.perf_counter() - started, answer.route)

    async def _state(self, scope: Scope, track_id: str) -> _Answer | None:
        """Return a track's state, or None where the others are to say why there is none."""
        try:
            principal = self._identify(scope, KeyScope.READ)
            decision = scope[COUNTED] = limiter_of(scope).read(principal)
            if decision is not None and not decision.allowed:
                return None
            body: bytes = await scope["app"].state.services.states.body(track_id, principal)
        except Exception:  # noqa: BLE001 - the layers behind meet it again, and answer for it
            return None
        return _Answer(_STATE_ROUTE, "read", 200, [], body)

    async def _hit(self, scope: Scope, receive: _Rewound) -> _Answer | None:
        """Return what a request for a separation is answered from the mirror, or None for the others to answer."""
        try:
            principal = self._identify(scope, KeyScope.SUBMIT)
            body = await receive.body() if _is_plain(scope[HEADERS]) else None
            found = None if body is None else await scope["app"].state.services.hits.find(principal, body)
        except Exception:  # noqa: BLE001 - the layers behind meet it again, and answer for it
            return None
        if found is None:
            return None
        scope[COUNTED], hit = found
        if hit is None:
            return None
        told = [(b"location", hit.location.encode()), (b"cache-status", hit.cache_status.encode())]
        return _Answer(_SUBMIT, "submit", hit.status, told, hit.body)

    def _identify(self, scope: Scope, needed: KeyScope) -> Principal:
        headers = scope[HEADERS] = dict(scope["headers"])
        principal = scope[PRINCIPAL] = self._keyring.identify(presented_key(headers))
        principal.require(needed)
        scope[REQUEST_ID] = request_id_of(headers.get(b"x-request-id"))
        return principal


def _is_plain(headers: dict[bytes, bytes]) -> bool:
    length = headers.get(b"content-length", b"")
    return (
        length.isdigit()
        and int(length) <= BODY_LIMIT
        and headers.get(b"content-type", b"").lower() in _JSON_TYPES
        and _NOT_HERE.isdisjoint(headers)
    )


def _headers(scope: Scope, answer: _Answer) -> _Headers:
    decision = scope[COUNTED]
    return [
        *answer.headers,
        (b"content-length", b"%d" % len(answer.body)),
        _JSON,
        *(headers_of(answer.policy, decision) if decision is not None else ()),
        *(SECURE_HEADERS if scope["scheme"] == "https" else SECURITY_HEADERS),
        (b"x-request-id", scope[REQUEST_ID].encode()),
    ]
