"""Middleware: the layers around every route, in their order."""

from typing import Final

from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from stemyard_api.auth.api_keys import Keyring
from stemyard_api.middleware import tracing
from stemyard_api.middleware.fast_path import HotRoutes
from stemyard_api.middleware.layers import (
    Authentication,
    BodyLimit,
    LastResort,
    RateLimits,
    RequestContext,
    SecurityHeaders,
)
from stemyard_api.middleware.page import Page, site_of
from stemyard_api.settings import Settings

_METHODS: Final = ("GET", "POST", "DELETE")
_ASKED: Final = ("Authorization", "Content-Type", "Idempotency-Key", "Last-Event-ID", "X-API-Key", "X-Request-ID")
_TOLD: Final = ("Cache-Status", "Location", "RateLimit", "RateLimit-Policy", "Retry-After", "X-Request-ID")
_PREFLIGHT_SECONDS: Final = 600


def front(keyring: Keyring, settings: Settings) -> list[Middleware]:
    """Return the layers in front of FastAPI's own, outermost first."""
    trusted = list(settings.trusted_proxies)
    proxies = [Middleware(ProxyHeadersMiddleware, trusted_hosts=trusted)] if trusted else []
    return [*proxies, *_cross_origin(settings.cors_allowed_origins), Middleware(HotRoutes, keyring=keyring)]


def _cross_origin(origins: tuple[str, ...]) -> list[Middleware]:
    """Return what lets pages of these origins ask; a key is a header here, so no cookie is ever sent along."""
    if not origins:
        return []
    layer = Middleware(
        CORSMiddleware,
        allow_origins=origins,
        allow_methods=_METHODS,
        allow_headers=_ASKED,
        expose_headers=_TOLD,
        max_age=_PREFLIGHT_SECONDS,
    )
    return [layer]


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
