"""Rate limits of API keys."""

from typing import Final

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from stemyard_api.asgi import PRINCIPAL, RATE_LIMIT_DECISION, HttpMiddleware
from stemyard_api.middleware.request_context import app_metrics
from stemyard_api.problems import problem_response
from stemyard_api.ratelimit.limiter import Policy, RateLimiter, rate_limit_headers, rate_limited_error

_SUBMIT_PATHS: Final = frozenset({"/separate-audio", "/batch", "/uploads", "/uploads/multipart", "/webhooks"})
_SUBMIT_ENDINGS: Final = ("/retry", "/redeliver", "/test", "/rotate-secret")
_ERASURES: Final = "/keys/"
"""Start of the paths that erase the data of a key, which reads all SeparationJobs."""


class RateLimits(HttpMiddleware):
    """Counts every request of a key, adds the rate limit headers, and refuses requests above the limit."""

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        principal = scope.get(PRINCIPAL)
        if principal is None:
            await self._app(scope, receive, send)
            return
        policy: Policy = "submit" if _is_submit(scope) else "read"
        if RATE_LIMIT_DECISION in scope:
            decision = scope[RATE_LIMIT_DECISION]
        else:
            limiter = app_limiter(scope)
            decision = await limiter.submit(principal) if policy == "submit" else limiter.read(principal)
        if decision is None:
            await self._app(scope, receive, send)
            return
        if not decision.allowed:
            app_metrics(scope).refused(policy)
        headers = rate_limit_headers(policy, decision)

        async def send_with_limits(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], *headers]
            await send(message)

        app: ASGIApp = self._app if decision.allowed else problem_response(rate_limited_error(decision), scope)
        await app(scope, receive, send_with_limits)


def app_limiter(scope: Scope) -> RateLimiter:
    """Return the rate limiter of the app that serves a request."""
    limiter: RateLimiter = scope["app"].state.services.limiter
    return limiter


def _is_submit(scope: Scope) -> bool:
    path: str = scope["path"]
    if scope["method"] == "DELETE":
        return path.startswith(_ERASURES)
    return scope["method"] == "POST" and (path in _SUBMIT_PATHS or path.endswith(_SUBMIT_ENDINGS))
