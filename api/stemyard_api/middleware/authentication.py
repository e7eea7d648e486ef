"""Authentication by API key."""

from typing import Final

from starlette.types import ASGIApp, Receive, Scope, Send

from stemyard_api.asgi import HEADERS, PRINCIPAL, HttpMiddleware, is_share
from stemyard_api.auth.api_keys import Keyring, presented_key
from stemyard_api.connections import client_address
from stemyard_api.errors import UnauthenticatedError
from stemyard_api.middleware.rate_limits import app_limiter
from stemyard_api.middleware.request_context import app_metrics
from stemyard_api.problems import problem_response
from stemyard_api.ratelimit.limiter import rate_limited_error

PUBLIC_PATHS: Final = frozenset({"/health", "/livez", "/readyz", "/openapi.json", "/docs"})
"""Paths that need no key."""


class Authentication(HttpMiddleware):
    """Refuses requests without a valid key before any of the body is read; counts them and share links by address."""

    def __init__(self, app: ASGIApp, keyring: Keyring) -> None:
        super().__init__(app)
        self._keyring = keyring

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        app: ASGIApp = self._app
        if is_share(scope["path"]):
            app = _too_many(scope) or app
        elif PRINCIPAL not in scope and scope["path"] not in PUBLIC_PATHS:
            try:
                scope[PRINCIPAL] = self._keyring.identify(presented_key(scope[HEADERS]))
            except UnauthenticatedError as error:
                app = _too_many(scope) or problem_response(error, scope)
        await app(scope, receive, send)


def _too_many(scope: Scope) -> ASGIApp | None:
    """Count a request by its address; return the response if there were too many."""
    decision = app_limiter(scope).anonymous(client_address(scope))
    if decision is None or decision.allowed:
        return None
    app_metrics(scope).refused("anonymous")
    return problem_response(rate_limited_error(decision), scope)
