"""Request ids, and the metrics and access log of every request."""

import itertools
import re
import secrets
import time
from typing import Final

from starlette.types import Message, Receive, Scope, Send

from stemyard_api.asgi import HEADERS, PRINCIPAL, REQUEST_ID, HttpMiddleware, logged_path
from stemyard_api.observability.logs import AccessLog
from stemyard_api.observability.metrics import Metrics

_PROBES: Final = frozenset({"/health", "/livez", "/readyz"})
"""Paths that are logged only if they fail."""
_REQUEST_ID_FORM: Final = re.compile(rb"[A-Za-z0-9._-]{1,64}")
_PROCESS_PREFIX: Final = secrets.token_hex(8)
_counter = itertools.count()
_access_log = AccessLog()


class RequestContext(HttpMiddleware):
    """Gives every request an id, the caller's if it is valid, and logs the request."""

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if HEADERS not in scope:
            scope[HEADERS] = dict(scope["headers"])
        if REQUEST_ID not in scope:
            scope[REQUEST_ID] = request_id(scope[HEADERS].get(b"x-request-id"))
        header = (b"x-request-id", scope[REQUEST_ID].encode())
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
            record_request(scope, scope[REQUEST_ID], status, time.perf_counter() - started)


def request_id(given: bytes | None) -> str:
    """Return the caller's request id if it is valid, else a new one: a random part of this process and a number."""
    if given and _REQUEST_ID_FORM.fullmatch(given):
        return given.decode()
    return f"{_PROCESS_PREFIX}{next(_counter):08x}"


def app_metrics(scope: Scope) -> Metrics:
    """Return the metrics of the app that serves a request."""
    metrics: Metrics = scope["app"].state.services.metrics
    return metrics


def record_request(scope: Scope, request_id: str, status: int, seconds: float, route: str | None = None) -> None:
    """Count and log a request at its end; a stream, when its response has started.

    Args:
        scope: the request's.
        request_id: its id.
        status: of the response, 0 if there was none.
        seconds: since the request arrived.
        route: template of its path; by default that of the matched route.
    """
    template = route or str(getattr(scope.get("route"), "path", "none"))
    app_metrics(scope).answered(scope["method"], template, status, seconds)
    if scope["path"] in _PROBES and status < 400:
        return
    principal = scope.get(PRINCIPAL)
    key_id = principal.key_id if principal is not None else None
    _access_log.write(scope["method"], logged_path(scope["path"]), status, seconds, request_id, key_id)
