"""The hot route: GET /job/{track_id}, the request that is made most, answered in front of all other middleware.

It does what they do, in their order, and leaves to them every request that is not simply answered.
"""

import time
from typing import Final

from starlette.types import ASGIApp, Receive, Scope, Send

from stemyard_api.layers import (
    COUNTED,
    HEADERS,
    PRINCIPAL,
    SECURE_HEADERS,
    SECURITY_HEADERS,
    Layer,
    limiter_of,
    log_access,
    request_id_of,
)
from stemyard_api.limiting import headers_of
from stemyard_api.problems import REQUEST_ID
from stemyard_api.security import Keyring, presented_key
from stemyard_api.security import Scope as KeyScope

_PATH: Final = "/job/"
_JSON: Final = (b"content-type", b"application/json")
_Headers = list[tuple[bytes, bytes]]


class HotRoute(Layer):
    """Answers a track's state."""

    def __init__(self, app: ASGIApp, keyring: Keyring) -> None:
        super().__init__(app)
        self._keyring = keyring

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        path: str = scope["path"]
        started = time.perf_counter()
        body = None
        if scope["method"] == "GET" and path.startswith(_PATH) and "/" not in (track_id := path[len(_PATH) :]):
            body = await self._body(scope, track_id)
        if body is None:
            await self._app(scope, receive, send)
            return
        try:
            await send({"type": "http.response.start", "status": 200, "headers": _headers(scope, body)})
            await send({"type": "http.response.body", "body": body})
        finally:
            log_access(scope, scope[REQUEST_ID], 200, time.perf_counter() - started)

    async def _body(self, scope: Scope, track_id: str) -> bytes | None:
        """Return the answer, or None where the others are to say why there is none."""
        headers = scope[HEADERS] = dict(scope["headers"])
        try:
            principal = scope[PRINCIPAL] = self._keyring.identify(presented_key(headers))
            principal.require(KeyScope.READ)
            decision = scope[COUNTED] = limiter_of(scope).read(principal)
            if decision is not None and not decision.allowed:
                return None
            scope[REQUEST_ID] = request_id_of(headers.get(b"x-request-id"))
            body: bytes = await scope["app"].state.services.states.body(track_id, principal)
        except Exception:  # noqa: BLE001 - the layers behind meet it again, and answer for it
            return None
        return body


def _headers(scope: Scope, body: bytes) -> _Headers:
    decision = scope[COUNTED]
    return [
        _JSON,
        (b"content-length", b"%d" % len(body)),
        *(headers_of("read", decision) if decision is not None else ()),
        *(SECURE_HEADERS if scope["scheme"] == "https" else SECURITY_HEADERS),
        (b"x-request-id", scope[REQUEST_ID].encode()),
    ]
