"""Security headers of every response."""

from typing import Final

from starlette.types import Message, Receive, Scope, Send

from stemyard_api.asgi import HttpMiddleware

_HEADERS: Final = (
    (b"cache-control", b"no-store"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"permissions-policy", b"camera=(), geolocation=(), microphone=()"),
    (b"referrer-policy", b"no-referrer"),
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
)
_HTTPS_HEADERS: Final = (*_HEADERS, (b"strict-transport-security", b"max-age=31536000"))


def security_headers(scope: Scope) -> tuple[tuple[bytes, bytes], ...]:
    """Return the security headers of a request's response."""
    return _HTTPS_HEADERS if scope["scheme"] == "https" else _HEADERS


class SecurityHeaders(HttpMiddleware):
    """Adds the security headers that a response does not set itself."""

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = message["headers"]
                given = {name for name, _ in headers}
                added = (header for header in security_headers(scope) if header[0] not in given)
                message["headers"] = [*headers, *added]
            await send(message)

        await self._app(scope, receive, send_with_headers)
