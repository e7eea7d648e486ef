"""The web pages: serves the files of `web/` from memory without authentication; the API calls of the pages need a key.

Their files are below a folder named after their digest, so browsers cache them permanently; the pages themselves are
revalidated each time. Sources: RFC 9110 (conditional requests, content negotiation), Content Security Policy level 3.
"""

import gzip
import hashlib
import html
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.resources import files
from types import MappingProxyType
from typing import Final
from urllib.parse import urlsplit

from starlette.types import ASGIApp, Receive, Scope, Send

from stemyard_api.asgi import HEADERS, HttpMiddleware
from stemyard_api.problems import method_not_allowed_response
from stemyard_api.settings import Settings

_FOLDER: Final = "/web/"
_SHARE: Final = re.compile(r"/s/[A-Za-z0-9_-]{1,256}")
"""Path of the page that shows a shared result: the token is read by the page's script, not here."""
_INDEX: Final = "index.html"
_ADMIN: Final = "admin.html"
_PAGES: Final = MappingProxyType({"/": _INDEX, "/admin": _ADMIN})
"""Files of the pages, by path."""
_BASE: Final = b"{{base}}"
"""Placeholder in the page for the path of its other files."""
_KEY: Final = b"{{key}}"
"""Placeholder in the page for whether the API requires a key."""
_CONTACT: Final = b"{{contact}}"
"""Placeholder in the page for the address of those who give out keys, empty if the deployment names none."""
_DOCS: Final = b"{{docs}}"
"""Placeholder in the page for the address of the documentation."""
_TYPES: Final = {
    "html": "text/html; charset=utf-8",
    "css": "text/css; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "svg": "image/svg+xml",
    "flac": "audio/flac",
}
_IMMUTABLE: Final = "public, max-age=31536000, immutable"
_REVALIDATE: Final = "no-cache"
_HTML_RANGES: Final = frozenset({"text/html", "text/*", "*/*"})

_Headers = list[tuple[bytes, bytes]]


@dataclass(frozen=True, slots=True)
class Asset:
    """One file with its encodings."""

    content: bytes
    zipped: bytes
    content_type: str
    etag: str


@dataclass(frozen=True, slots=True)
class WebPage:
    """The pages by path, the files that they load from `base`, and their Content-Security-Policy."""

    pages: Mapping[str, Asset]
    assets: Mapping[str, Asset]
    base: str
    policy: str


def load_page(settings: Settings) -> WebPage:
    """Return the pages of a deployment."""
    content = dict(_installed())
    digest = hashlib.sha256(repr(sorted(content.items())).encode()).hexdigest()[:16]
    base = f"{_FOLDER}{digest}"
    key = b"needed" if settings.requires_key else b"open"
    values = {
        _BASE: base.encode(),
        _KEY: key,
        _CONTACT: _attribute(_link(settings.web_contact)),
        _DOCS: _attribute(settings.web_docs_url),
    }
    pages = {path: _asset(name, _filled(content.pop(name), values)) for path, name in _PAGES.items()}
    assets = {name: _asset(name, each) for name, each in content.items()}
    return WebPage(pages, assets, base, content_security_policy(store_origins(settings)))


def content_security_policy(origins: tuple[str, ...]) -> str:
    """Return the Content-Security-Policy of a page that uploads to and plays from these origins.

    Forms cannot be submitted, so that a key never becomes part of a URL; strings cannot become markup (Trusted Types).
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
    """Return the object store's origins for clients: its endpoint, the bucket's host at Amazon, the public domain."""
    urls = [url for url in (settings.public_store_endpoint, settings.r2_public_domain) if url is not None]
    origins = []
    for parts in map(urlsplit, urls):
        origins.append(f"{parts.scheme}://{parts.netloc}")
        if (parts.hostname or "").endswith(".amazonaws.com"):
            origins.append(f"{parts.scheme}://{settings.r2_bucket}.{parts.netloc}")
    return tuple(dict.fromkeys(origins))


class Page(HttpMiddleware):
    """Responds to GET and HEAD of the pages and their files; passes all other requests on."""

    def __init__(self, app: ASGIApp, site: WebPage) -> None:
        super().__init__(app)
        self._site = site

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        headers: Mapping[bytes, bytes] = scope[HEADERS]
        reads = scope["method"] in {"GET", "HEAD"}
        match = self._find(scope["path"], headers) if reads else None
        if match is None:
            refuses = not reads and self._serves(scope["path"])
            await (method_not_allowed_response(scope, "GET, HEAD") if refuses else self._app)(scope, receive, send)
            return
        asset, cache_headers = match
        status, body, content_headers = _representation(asset, headers)
        await send({"type": "http.response.start", "status": status, "headers": [*content_headers, *cache_headers]})
        await send({"type": "http.response.body", "body": body if scope["method"] == "GET" else b""})

    def _serves(self, path: str) -> bool:
        """Return whether a path is of a page or its files, for any method."""
        is_asset = path.startswith(_FOLDER) and path.rpartition("/")[2] in self._site.assets
        return path in self._site.pages or is_asset or _SHARE.fullmatch(path) is not None

    def _find(self, path: str, headers: Mapping[bytes, bytes]) -> tuple[Asset, _Headers] | None:
        """Return the file at a path, and its caching and policy headers."""
        shared = _SHARE.fullmatch(path) is not None
        page = self._site.pages.get("/" if shared else path)
        if page is not None and (shared or _takes_html(headers)):
            policy = (b"content-security-policy", self._site.policy.encode())
            opener = (b"cross-origin-opener-policy", b"same-origin")
            robots = [(b"x-robots-tag", b"noindex, nofollow")] if path != "/" else []
            return page, [_cached(_REVALIDATE), policy, opener, *robots]
        if not path.startswith(_FOLDER):
            return None
        folder, _, name = path.rpartition("/")
        asset = self._site.assets.get(name)
        # from another version during a rollout: served, but not cached
        return None if asset is None else (asset, [_cached(_IMMUTABLE if folder == self._site.base else _REVALIDATE)])


def _installed() -> Iterator[tuple[str, bytes]]:
    for file in files("stemyard_api").joinpath("web").iterdir():
        if file.name.rpartition(".")[2] in _TYPES:
            yield file.name, file.read_bytes()


def _filled(page: bytes, values: Mapping[bytes, bytes]) -> bytes:
    """Return a page with its placeholders replaced."""
    for placeholder, value in values.items():
        page = page.replace(placeholder, value)
    return page


def _link(contact: str | None) -> str:
    """Return the URL of a contact."""
    if contact is None or "://" in contact:
        return contact or ""
    return f"mailto:{contact}"


def _attribute(value: str) -> bytes:
    """Return a value as it is written in an attribute of HTML."""
    return html.escape(value).encode()


def _asset(name: str, content: bytes) -> Asset:
    etag = f'W/"{hashlib.sha256(content).hexdigest()[:32]}"'  # weak: the same for both encodings
    return Asset(content, gzip.compress(content, mtime=0), _TYPES[name.rpartition(".")[2]], etag)


def _representation(asset: Asset, headers: Mapping[bytes, bytes]) -> tuple[int, bytes, _Headers]:
    """Return status, body and headers by the client's cached version and accepted encodings."""
    fields = [(b"etag", asset.etag.encode()), (b"vary", b"Accept, Accept-Encoding")]
    if asset.etag in headers.get(b"if-none-match", b"").decode("latin-1"):
        return 304, b"", fields
    body = asset.content
    if b"gzip" in headers.get(b"accept-encoding", b""):
        body = asset.zipped
        fields.append((b"content-encoding", b"gzip"))
    length = (b"content-length", str(len(body)).encode())
    return 200, body, [*fields, (b"content-type", asset.content_type.encode()), length]


def _takes_html(headers: Mapping[bytes, bytes]) -> bool:
    accepted = headers.get(b"accept", b"*/*").decode("latin-1").split(",")
    return any(each.partition(";")[0].strip() in _HTML_RANGES for each in accepted)


def _cached(how: str) -> tuple[bytes, bytes]:
    return b"cache-control", how.encode()
