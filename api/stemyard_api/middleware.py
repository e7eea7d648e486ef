"""Middleware: the layers around every route, in their order."""

from starlette.middleware import Middleware
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from stemyard_api import tracing
from stemyard_api.hot import HotRoutes
from stemyard_api.layers import Authentication, BodyLimit, LastResort, RateLimits, RequestContext, SecurityHeaders
from stemyard_api.page import Page, site_of
from stemyard_api.security import Keyring
from stemyard_api.settings import Settings


def front(keyring: Keyring, settings: Settings) -> list[Middleware]:
    """Return the layers in front of FastAPI's own, outermost first."""
    trusted = list(settings.trusted_proxies)
    proxies = [Middleware(ProxyHeadersMiddleware, trusted_hosts=trusted)] if trusted else []
    return [*proxies, Middleware(HotRoutes, keyring=keyring)]


def stack(keyring: Keyring, settings: Settings) -> list[Middleware]:
    """Return the layers behind FastAPI's own, outermost first."""
    pages = [Middleware(Page, site=site_of(settings))] if settings.web_enabled else []
    traces = [Middleware(tracing.Tracing, spans=tracing.provider())] if tracing.enabled() else []
    return [
        Middleware(RequestContext),
        Middleware(SecurityHeaders),
        Middleware(LastResort),
        *pages,
        Middleware(Authentication, keyring=keyring),
        Middleware(RateLimits),
        *traces,
        Middleware(BodyLimit),
    ]
