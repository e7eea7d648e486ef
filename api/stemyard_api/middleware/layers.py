"""Layers: what happens to every request before and after its route, as plain ASGI middleware."""

import itertools
import logging
import re
import secrets
import time
from ipaddress import ip_address, ip_network
from typing import Final

from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from stemyard_api.asgi import COUNTED, HEADERS, PRINCIPAL, Layer
from stemyard_api.auth.api_keys import Keyring, presented_key
from stemyard_api.errors import ApiError, RequestTooLargeError, UnauthenticatedError
from stemyard_api.observability.logs import AccessLog
from stemyard_api.observability.metrics import Metrics
from stemyard_api.problems import REQUEST_ID, problem_response
from stemyard_api.ratelimit.limiter import Limiter, Policy, headers_of, refusal

BODY_LIMIT: Final = 1024 * 1024
"""Bytes of a request body; files do not pass through the API."""
PUBLIC_PATHS: Final = frozenset({"/health", "/livez", "/readyz", "/metrics", "/openapi.json"})
"""Paths that need no key."""
_PROBES: Final = frozenset({"/health", "/livez", "/readyz", "/metrics"})
_REQUEST_ID_FORM: Final = re.compile(rb"[A-Za-z0-9._-]{1,64}")
SECURITY_HEADERS: Final = (
    (b"cache-control", b"no-store"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"permissions-policy", b"camera=(), geolocation=(), microphone=()"),
    (b"referrer-policy", b"no-referrer"),
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
)
SECURE_HEADERS: Final = (*SECURITY_HEADERS, (b"strict-transport-security", b"max-age=31536000"))
_PROCESS: Final = secrets.token_hex(8)
_numbers = itertools.count()
_access_log = AccessLog()
_log = logging.getLogger(__name__)


class RequestContext(Layer):
    """Gives every request an id, the caller's where it has a decent one, and logs its end."""

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        headers = scope[HEADERS] = dict(scope["headers"])
        request_id = scope[REQUEST_ID] = request_id_of(headers.get(b"x-request-id"))
        header = (b"x-request-id", request_id.encode())
        status, started = 0, time.perf_counter()

        async def send_with_id(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message["headers"], header]
            await send(message)

        try:
            await self._app(scope, receive, send_with_id)
        finally:
            note_end(scope, request_id, status, time.perf_counter() - started)


class SecurityHeaders(Layer):
    """Adds the headers that keep browsers from doing more with an answer than showing it."""

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        wanted = SECURE_HEADERS if scope["scheme"] == "https" else SECURITY_HEADERS

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = message["headers"]
                given = {name for name, _ in headers}
                message["headers"] = [*headers, *(header for header in wanted if header[0] not in given)]
            await send(message)

        await self._app(scope, receive, send_with_headers)


class LastResort(Layer):
    """Answers 500 to whatever nobody expected, and keeps the reason in the log."""

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        started = False

        async def send_and_note(message: Message) -> None:
            nonlocal started
            started = True
            await send(message)

        try:
            await self._app(scope, receive, send_and_note)
        except Exception:
            _log.exception("unexpected error", extra={"request_id": scope.get(REQUEST_ID)})
            if started:
                raise
            await problem_response(ApiError(), scope)(scope, receive, send)


class Authentication(Layer):
    """Lets nobody past without a key, before a byte of the body is read."""

    def __init__(self, app: ASGIApp, keyring: Keyring) -> None:
        super().__init__(app)
        self._keyring = keyring

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        app: ASGIApp = self._app
        if scope["path"] not in PUBLIC_PATHS:
            try:
                scope[PRINCIPAL] = self._keyring.identify(presented_key(scope[HEADERS]))
            except UnauthenticatedError as error:
                decision = limiter_of(scope).anonymous(_address(scope))
                refused = decision is not None and not decision.allowed
                if refused:
                    metrics_of(scope).refused("anonymous")
                app = problem_response(refusal(decision) if decision is not None and refused else error, scope)
        await app(scope, receive, send)


class RateLimits(Layer):
    """Counts every request of a key, and tells it how much is left."""

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        principal = scope.get(PRINCIPAL)
        if principal is None:
            await self._app(scope, receive, send)
            return
        policy: Policy = "submit" if _submits(scope) else "read"
        limiter = limiter_of(scope)
        if COUNTED in scope:
            decision = scope[COUNTED]
        else:
            decision = await limiter.submit(principal) if policy == "submit" else limiter.read(principal)
        if decision is None:
            await self._app(scope, receive, send)
            return
        if not decision.allowed:
            metrics_of(scope).refused(policy)
        headers = headers_of(policy, decision)

        async def send_with_limits(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], *headers]
            await send(message)

        app: ASGIApp = self._app if decision.allowed else problem_response(refusal(decision), scope)
        await app(scope, receive, send_with_limits)


class BodyLimit(Layer):
    """Refuses bodies that say they are too long, and stops reading those that turn out to be."""

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        announced = scope[HEADERS].get(b"content-length", b"0")
        if not announced.isdigit() or int(announced) > BODY_LIMIT:
            await problem_response(RequestTooLargeError(), scope)(scope, receive, send)
            return
        received = 0

        async def receive_within_limit() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            if received > BODY_LIMIT:
                # FastAPI lets only HTTPException through while it reads a body
                raise HTTPException(413)
            return message

        await self._app(scope, receive_within_limit, send)


_SUBMITS: Final = frozenset({"/separate-audio", "/batch", "/webhooks/test"})


def _submits(scope: Scope) -> bool:
    path: str = scope["path"]
    return scope["method"] == "POST" and (path in _SUBMITS or path.endswith("/retry"))


def limiter_of(scope: Scope) -> Limiter:
    """Return the limiter of the app that serves a request."""
    limiter: Limiter = scope["app"].state.services.limiter
    return limiter


def _address(scope: Scope) -> str:
    """Return the caller's address; of IPv6 the first half, which is one customer's."""
    host = (scope.get("client") or ("unknown", 0))[0]
    try:
        address = ip_address(host)
    except ValueError:
        return str(host)
    return str(ip_network((address, 64), strict=False)) if address.version == 6 else host


def next_request_id() -> str:
    """Return an id that no other request has: this process's random part, and a number."""
    return f"{_PROCESS}{next(_numbers):08x}"


def request_id_of(given: bytes | None) -> str:
    """Return the id of a request: the caller's where it is a decent one, else a new one."""
    return given.decode() if given and _REQUEST_ID_FORM.fullmatch(given) else next_request_id()


def metrics_of(scope: Scope) -> Metrics:
    """Return the metrics of the app that serves a request."""
    metrics: Metrics = scope["app"].state.services.metrics
    return metrics


def note_end(scope: Scope, request_id: str, status: int, seconds: float, route: str | None = None) -> None:
    """Count and log the end of a request; of a stream, its beginning.

    Args:
        scope: the request's.
        request_id: its id.
        status: of the answer, 0 when there was none.
        seconds: since it came.
        route: template of its path; where not given, that of the route that answered.
    """
    answered = route or str(getattr(scope.get("route"), "path", "none"))
    metrics_of(scope).answered(scope["method"], answered, status, seconds)
    if scope["path"] in _PROBES and status < 400:
        return
    principal = scope.get(PRINCIPAL)
    key_id = principal.key_id if principal is not None else None
    _access_log.write(scope["method"], scope["path"], status, seconds, request_id, key_id)
