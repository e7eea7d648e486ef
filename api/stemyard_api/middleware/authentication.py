"""Authentication by API key."""

from ipaddress import ip_address, ip_network
from typing import Final

from starlette.types import ASGIApp, Receive, Scope, Send

from stemyard_api.asgi import HEADERS, PRINCIPAL, HttpMiddleware
from stemyard_api.auth.api_keys import Keyring, presented_key
from stemyard_api.errors import UnauthenticatedError
from stemyard_api.middleware.rate_limits import app_limiter
from stemyard_api.middleware.request_context import app_metrics
from stemyard_api.problems import problem_response
from stemyard_api.ratelimit.limiter import rate_limited_error

PUBLIC_PATHS: Final = frozenset({"/health", "/livez", "/readyz", "/metrics", "/openapi.json"})
"""Paths that need no key."""


class Authentication(HttpMiddleware):
    """Refuses requests without a valid key before any of the body is read; counts refusals by address."""

    def __init__(self, app: ASGIApp, keyring: Keyring) -> None:
        super().__init__(app)
        self._keyring = keyring

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        app: ASGIApp = self._app
        if PRINCIPAL not in scope and scope["path"] not in PUBLIC_PATHS:
            try:
                scope[PRINCIPAL] = self._keyring.identify(presented_key(scope[HEADERS]))
            except UnauthenticatedError as error:
                decision = app_limiter(scope).anonymous(_client_address(scope))
                refused = decision is not None and not decision.allowed
                if refused:
                    app_metrics(scope).refused("anonymous")
                app = problem_response(
                    rate_limited_error(decision) if decision is not None and refused else error, scope
                )
        await app(scope, receive, send)


def _client_address(scope: Scope) -> str:
    """Return the caller's IPv4 address, or the /64 network of its IPv6 address, which belongs to one customer."""
    host = (scope.get("client") or ("unknown", 0))[0]
    try:
        address = ip_address(host)
    except ValueError:
        return str(host)
    return str(ip_network((address, 64), strict=False)) if address.version == 6 else host
