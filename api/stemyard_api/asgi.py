"""Types and scope keys that the ASGI middleware shares."""

from collections.abc import Awaitable, Callable, Mapping
from contextvars import ContextVar
from typing import TYPE_CHECKING, Final

from starlette.types import ASGIApp, Receive, Scope, Send

from stemyard_contract.tracing import ANNOTATION_TRACEPARENT

if TYPE_CHECKING:
    pass


HEADERS: Final = "stemyard.headers"
"""Where a request's headers are kept as a dict; of several with one name, the last."""
COUNTED: Final = "stemyard.counted"
"""Where the decision about a request is kept that the hot route has counted."""
STREAM: Final = "stemyard.stream"
"""Where a route leaves what is to be sent after the beginning of its answer, for as long as the client listens.

The outermost layer sends it, so that an open stream does not keep the frames of all layers in memory.
"""
PRINCIPAL: Final = "stemyard.principal"
"""Where the caller is kept in an ASGI scope."""
Stream = Callable[[Receive, Send], Awaitable[None]]


class Layer:
    """Wraps an app; subclasses handle requests, everything else passes."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        """Handle one connection."""
        return (self.handle if scope["type"] == "http" else self._app)(scope, receive, send)

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        raise NotImplementedError


_traceparent: ContextVar[str | None] = ContextVar("traceparent", default=None)


def annotations() -> Mapping[str, str]:
    """Return what a SeparationJob made now is annotated with: the trace of the request, where there is one."""
    current = _traceparent.get()
    return {} if current is None else {ANNOTATION_TRACEPARENT: current}
