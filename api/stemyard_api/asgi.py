"""Types and scope keys that the ASGI middleware shares."""

import math
import re
from collections.abc import Awaitable, Callable, Mapping
from contextvars import ContextVar
from typing import Final

from starlette.types import ASGIApp, Receive, Scope, Send

from stemyard_contract.tracing import ANNOTATION_TRACEPARENT

HEADERS: Final = "stemyard.headers"
"""Scope key of the request's headers as a dict; the last of several with one name."""
REQUEST_ID: Final = "stemyard.request_id"
"""Scope key of the request's id."""
PRINCIPAL: Final = "stemyard.principal"
"""Scope key of the authenticated caller."""
RATE_LIMIT_DECISION: Final = "stemyard.rate_limit_decision"
"""Scope key of the rate limit's decision, if the fast path has counted the request; None if there is no limit."""
MISS: Final = "stemyard.miss"
"""Scope key of the order that the fast path parsed and looked up, and that the route must place."""
FAILURE: Final = "stemyard.failure"
"""Scope key of the error by which the fast path learned that a backend does not respond; the route raises it."""
STREAM: Final = "stemyard.stream"
"""Scope key under which a route leaves the sender of an open stream.

The outermost middleware runs it, so that an open stream does not keep the frames of all middleware in memory.
"""
Stream = Callable[[Receive, Send], Awaitable[None]]


_LENGTH_DIGITS: Final = 19
_SHARES: Final = re.compile(r"(/(?:s|share)/+)[^/]+", re.IGNORECASE)
"""Tokens of share links in a path, also in a mistyped one such as `//share/TOKEN`."""
_TOKEN: Final = re.compile(r"AQ[A-Za-z0-9_-]{38,}")
"""A token anywhere in a path, as in `/shares/TOKEN`: its version is its first byte. No id of a track begins so."""


def is_share(path: str) -> bool:
    """Return whether a path of the API contains the token of a share link."""
    return path.startswith("/share/")


def logged_path(path: str) -> str:
    """Return a path as it is logged: without the token of a share link, which is a credential."""
    if "AQ" in path:
        path = _TOKEN.sub("***", path)
    return _SHARES.sub(r"\1***", path) if "/s" in path or "/S" in path else path


def content_length(headers: Mapping[bytes, bytes]) -> float | None:
    """Return the announced length of a request's body; None if there is none, or no number."""
    digits = headers.get(b"content-length", b"")
    if not digits.isdigit():
        return None
    # a parser accepts any number of zeros before it, of which int() takes only some thousands
    digits = digits.lstrip(b"0")
    return int(digits or b"0") if len(digits) <= _LENGTH_DIGITS else math.inf


class HttpMiddleware:
    """Wraps an app: subclasses handle HTTP requests, other connections pass."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        """Handle one connection."""
        return (self.handle if scope["type"] == "http" else self._app)(scope, receive, send)

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        raise NotImplementedError


traceparent: ContextVar[str | None] = ContextVar("traceparent", default=None)


def trace_annotations() -> Mapping[str, str]:
    """Return the annotations of a SeparationJob created now: the request's traceparent, if it is traced."""
    current = traceparent.get()
    return {} if current is None else {ANNOTATION_TRACEPARENT: current}
