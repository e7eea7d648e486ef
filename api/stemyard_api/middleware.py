"""Middleware: the layers around every route, in their order."""

from collections.abc import Sequence

from starlette.middleware import Middleware
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from stemyard_api import tracing
from stemyard_api.hot import HotRoutes
from stemyard_api.layers import Authentication, BodyLimit, LastResort, RateLimits, RequestContext, SecurityHeaders
from stemyard_api.security import Keyring


def stack(keyring: Keyring, trusted_proxies: Sequence[str] = ()) -> list[Middleware]:
    """Return the middleware, outermost first."""
    proxies = [Middleware(ProxyHeadersMiddleware, trusted_hosts=list(trusted_proxies))] if trusted_proxies else []
    traces = [Middleware(tracing.Tracing, spans=tracing.provider())] if tracing.enabled() else []
    return [
        *proxies,
        Middleware(HotRoutes, keyring=keyring),
        Middleware(RequestContext),
        Middleware(SecurityHeaders),
        Middleware(LastResort),
        Middleware(Authentication, keyring=keyring),
        Middleware(RateLimits),
        *traces,
        Middleware(BodyLimit),
    ]
