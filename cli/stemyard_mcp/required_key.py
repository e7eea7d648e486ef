"""Answers a request without an API key before anything else reads it."""

from starlette.datastructures import Headers
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from stemyard_mcp.callers import bearer

_DESCRIPTION = "Send an API key of the installation in the header Authorization: Bearer."


class RequiredKey:
    """ASGI middleware: a request without a bearer token gets 401 (RFC 6750). The API itself judges the key."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on if it has a key."""
        if scope["type"] != "http" or bearer(Headers(scope=scope).get("authorization")) is not None:
            await self._app(scope, receive, send)
            return
        body = {"error": "invalid_request", "error_description": _DESCRIPTION}
        answer = JSONResponse(body, 401, {"WWW-Authenticate": 'Bearer realm="stemyard"'})
        await answer(scope, receive, send)
