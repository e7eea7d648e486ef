"""Order of the middleware around every route."""

from typing import Final

from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from stemyard_api.auth.api_keys import Keyring
from stemyard_api.middleware import tracing
from stemyard_api.middleware.authentication import Authentication
from stemyard_api.middleware.body_limit import BodyLimit
from stemyard_api.middleware.fast_path import FastPath
from stemyard_api.middleware.head_requests import HeadRequests
from stemyard_api.middleware.page import Page, load_page
from stemyard_api.middleware.rate_limits import RateLimits
from stemyard_api.middleware.request_context import RequestContext
from stemyard_api.middleware.security_headers import SecurityHeaders
from stemyard_api.middleware.server_errors import ServerErrors
from stemyard_api.settings import Settings
from stemyard_contract.trace_export import is_enabled

_METHODS: Final = ("GET", "HEAD", "POST", "PATCH", "DELETE")
_ALLOW_HEADERS: Final = (
    "Authorization",
    "Content-Type",
    "Idempotency-Key",
    "Last-Event-ID",
    "X-API-Key",
    "X-Request-ID",
)
_EXPOSE_HEADERS: Final = (
    "Cache-Status",
    "Idempotency-Replayed",
    "Location",
    "RateLimit",
    "RateLimit-Policy",
    "Retry-After",
    "X-Request-ID",
)
_PREFLIGHT_SECONDS: Final = 600


def outer_middleware(keyring: Keyring, settings: Settings) -> list[Middleware]:
    """Return the middleware outside FastAPI's own, outermost first."""
    trusted = list(settings.trusted_proxies)
    proxies = [Middleware(ProxyHeadersMiddleware, trusted_hosts=trusted)] if trusted else []
    return [*proxies, *_cross_origin(settings.cors_allowed_origins), Middleware(FastPath, keyring=keyring)]


def _cross_origin(origins: tuple[str, ...]) -> list[Middleware]:
    """Return the CORS middleware; without credentials, because keys are sent in a header and there are no cookies."""
    if not origins:
        return []
    layer = Middleware(
        CORSMiddleware,
        allow_origins=origins,
        allow_methods=_METHODS,
        allow_headers=_ALLOW_HEADERS,
        expose_headers=_EXPOSE_HEADERS,
        max_age=_PREFLIGHT_SECONDS,
    )
    return [layer]


def inner_middleware(keyring: Keyring, settings: Settings) -> list[Middleware]:
    """Return the middleware inside FastAPI's own, outermost first."""
    pages = [Middleware(Page, site=load_page(settings))] if settings.web_enabled else []
    traces = [Middleware(tracing.Tracing, spans=tracing.provider())] if is_enabled() else []
    return [
        Middleware(RequestContext),
        Middleware(SecurityHeaders),
        Middleware(ServerErrors),
        *pages,
        Middleware(Authentication, keyring=keyring),
        Middleware(RateLimits),
        *traces,
        Middleware(BodyLimit),
        Middleware(HeadRequests),
    ]
