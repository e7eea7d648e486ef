"""The page: serves the files of `web/` from memory to whoever asks; what the page then reads and writes needs a key.

Its files lie below a folder named after their digest, so browsers may keep them for good; the page itself is asked
for each time. Sources: RFC 9110 (conditional requests, content negotiation), Content Security Policy level 3.
"""

import gzip
import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.resources import files
from typing import Final
from urllib.parse import urlsplit

from starlette.types import ASGIApp, Receive, Scope, Send

from stemyard_api.asgi import HEADERS, HttpMiddleware
from stemyard_api.settings import Settings

_FOLDER: Final = "/web/"
_INDEX: Final = "index.html"
_BASE: Final = b"{{base}}"
"""In the page, where its other files lie."""
_KEY: Final = b"{{key}}"
"""In the page, whether the API wants a key."""
_TYPES: Final = {
    "html": "text/html; charset=utf-8",
    "css": "text/css; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "svg": "image/svg+xml",
}
_FOR_GOOD: Final = "public, max-age=31536000, immutable"
_ASK_EACH_TIME: Final = "no-cache"
_HTML_RANGES: Final = frozenset({"text/html", "text/*", "*/*"})

_Headers = list[tuple[bytes, bytes]]


@dataclass(frozen=True, slots=True)
class Asset:
    """One file as it is sent."""

    content: bytes
    zipped: bytes
    content_type: str
    etag: str


@dataclass(frozen=True, slots=True)
class WebPage:
    """The page, the files it loads from `base`, and the policy that lets it load nothing else."""

    page: Asset
    assets: Mapping[str, Asset]
    base: str
    policy: str


def load_page(settings: Settings) -> WebPage:
    """Return the page of a deployment."""
    content = dict(_installed())
    digest = hashlib.sha256(repr(sorted(content.items())).encode()).hexdigest()[:16]
    base = f"{_FOLDER}{digest}"
    key = b"needed" if settings.requires_key else b"open"
    page = content.pop(_INDEX).replace(_BASE, base.encode()).replace(_KEY, key)
    assets = {name: _asset(name, each) for name, each in content.items()}
    return WebPage(_asset(_INDEX, page), assets, base, content_security_policy(store_origins(settings)))


def content_security_policy(origins: tuple[str, ...]) -> str:
    """Return the Content-Security-Policy of a page that uploads to and plays from these origins.

    Forms go nowhere, so a key typed into one cannot end in a URL; no string becomes markup (Trusted Types).
    """
    store = "".join(f" {origin}" for origin in origins)
    return "; ".join(
        (
            "default-src 'none'",
            "script-src 'self'",
            "style-src 'self'",
            "img-src 'self'",
            f"connect-src 'self'{store}",
            f"media-src 'self'{store}",
            "base-uri 'none'",
            "form-action 'none'",
            "frame-ancestors 'none'",
            "require-trusted-types-for 'script'",
            "trusted-types 'none'",
        )
    )


def store_origins(settings: Settings) -> tuple[str, ...]:
    """Return where clients reach the object store: its endpoint, the bucket's own host at Amazon, the public domain."""
    urls = [url for url in (settings.public_store_endpoint, settings.r2_public_domain) if url is not None]
    found = []
    for parts in map(urlsplit, urls):
        found.append(f"{parts.scheme}://{parts.netloc}")
        if (parts.hostname or "").endswith(".amazonaws.com"):
            found.append(f"{parts.scheme}://{settings.r2_bucket}.{parts.netloc}")
    return tuple(dict.fromkeys(found))


class Page(HttpMiddleware):
    """Answers GET and HEAD of the page and its files; everything else passes."""

    def __init__(self, app: ASGIApp, site: WebPage) -> None:
        super().__init__(app)
        self._site = site

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        headers: Mapping[bytes, bytes] = scope[HEADERS]
        found = self._find(scope["path"], headers) if scope["method"] in {"GET", "HEAD"} else None
        if found is None:
            await self._app(scope, receive, send)
            return
        asset, more = found
        status, body, told = _representation(asset, headers)
        await send({"type": "http.response.start", "status": status, "headers": [*told, *more]})
        await send({"type": "http.response.body", "body": body if scope["method"] == "GET" else b""})

    def _find(self, path: str, headers: Mapping[bytes, bytes]) -> tuple[Asset, _Headers] | None:
        """Return the file at a path, and the headers that are its own."""
        if path == "/" and _takes_html(headers):
            policy = (b"content-security-policy", self._site.policy.encode())
            opener = (b"cross-origin-opener-policy", b"same-origin")
            return self._site.page, [_cached(_ASK_EACH_TIME), policy, opener]
        if not path.startswith(_FOLDER):
            return None
        folder, _, name = path.rpartition("/")
        asset = self._site.assets.get(name)
        # of another version, while replicas are being replaced: better than nothing, and not to be kept
        return None if asset is None else (asset, [_cached(_FOR_GOOD if folder == self._site.base else _ASK_EACH_TIME)])


def _installed() -> Iterator[tuple[str, bytes]]:
    for file in files("stemyard_api").joinpath("web").iterdir():
        if file.name.rpartition(".")[2] in _TYPES:
            yield file.name, file.read_bytes()


def _asset(name: str, content: bytes) -> Asset:
    etag = f'W/"{hashlib.sha256(content).hexdigest()[:32]}"'  # weak: the same for both encodings
    return Asset(content, gzip.compress(content, mtime=0), _TYPES[name.rpartition(".")[2]], etag)


def _representation(asset: Asset, headers: Mapping[bytes, bytes]) -> tuple[int, bytes, _Headers]:
    """Return status, body and headers for what the client already has and understands."""
    told = [(b"etag", asset.etag.encode()), (b"vary", b"Accept, Accept-Encoding")]
    if asset.etag in headers.get(b"if-none-match", b"").decode("latin-1"):
        return 304, b"", told
    body = asset.content
    if b"gzip" in headers.get(b"accept-encoding", b""):
        body = asset.zipped
        told.append((b"content-encoding", b"gzip"))
    length = (b"content-length", str(len(body)).encode())
    return 200, body, [*told, (b"content-type", asset.content_type.encode()), length]


def _takes_html(headers: Mapping[bytes, bytes]) -> bool:
    accepted = headers.get(b"accept", b"*/*").decode("latin-1").split(",")
    return any(each.partition(";")[0].strip() in _HTML_RANGES for each in accepted)


def _cached(how: str) -> tuple[bytes, bytes]:
    return b"cache-control", how.encode()
