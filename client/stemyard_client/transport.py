"""What both clients share: addresses, headers and limits of time."""

from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import httpx

from stemyard_client.effects import Request
from stemyard_client.errors import InvalidAnswerError, StemyardError

TIMEOUT: Final = httpx.Timeout(30.0, connect=10.0)
"""Of each request; operations that take longer say so themselves."""


class AddressError(StemyardError):
    """The URL of the API is not one, or the key cannot be sent."""

    code = "invalid_address"


class KeyFormatError(AddressError):
    """The key cannot be sent."""


@dataclass(frozen=True, slots=True)
class Address:
    """Where the API is and the key to it, checked."""

    url: str
    headers: dict[str, str]

    @classmethod
    def of(cls, url: str, key: str | None) -> "Address":
        """Return an address.

        Raises:
            AddressError: the URL is not one of a server, or the key has characters that no header may have.
        """
        if not _is_of_server(url.strip()):
            raise AddressError(f"{url!r} is not the URL of an API; it looks like https://stems.example.org.")
        headers = {"User-Agent": f"stemyard-client/{_version()}"}
        if key is not None:
            if not (key.isascii() and key.isprintable() and key.strip()):
                raise KeyFormatError(
                    "The API key is empty or has characters that no key has; was it pasted completely?"
                )
            headers["X-API-Key"] = key.strip()
        return cls(url.strip().rstrip("/"), headers)

    def build(self, client: httpx.Client | httpx.AsyncClient, request: Request) -> httpx.Request:
        """Return a request for httpx. The key goes to the API only, never to the object store.

        Raises:
            InvalidAnswerError: its address or a header, which the API has named, cannot be sent.
        """
        timeout = TIMEOUT
        if request.read_seconds is not None:
            timeout = httpx.Timeout(request.read_seconds, connect=TIMEOUT.connect)
        arguments: dict[str, Any] = {"timeout": timeout}
        if request.params:
            arguments["params"] = dict(request.params)
        if request.json is not None:
            arguments["json"] = request.json
        if request.content is not None:
            arguments["content"] = request.content
        if request.url.startswith("/"):
            url, headers = f"{self.url}{request.url}", {**self.headers, **request.headers}
        else:
            url, headers = request.url, dict(request.headers)
        try:
            return client.build_request(request.method, url, headers=headers, **arguments)
        except (httpx.InvalidURL, UnicodeEncodeError):
            raise InvalidAnswerError("The API named an address or a header that no request may have.") from None


def _is_of_server(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:  # brackets without an address, or no number as the port
        return False


def source_of(
    source: "str | Path | None", query: str | None, path: Path | None, url: str | None, stored: dict[str, str | None]
) -> tuple[dict[str, str], Path | None]:
    """Return the source's fields of a request, and the file to upload.

    Args:
        source: a Path is a file; text that begins with http:// or https:// is a URL; other text is a search.
        query: words to search by.
        path: a file.
        url: address of a media file or video page.
        stored: `upload_id` and `object`, if given.

    Raises:
        ValueError: there is no source, or more than one.
    """
    if isinstance(source, Path):
        chosen: dict[str, str | Path | None] = {"path": source}
    elif source is not None:
        is_url = source.lower().startswith(("http://", "https://"))
        chosen = {"url" if is_url else "search_query": source}
    else:
        chosen = {}
    named = {"search_query": query, "path": path, "url": url, **stored}
    given = [*chosen.items(), *((name, value) for name, value in named.items() if value is not None)]
    if len(given) != 1:
        raise ValueError("give exactly one source: query, path, url, upload_id or object")
    name, value = given[0]
    return ({}, value) if isinstance(value, Path) else ({name: str(value)}, None)


def _version() -> str:
    try:
        return version("stemyard")
    except PackageNotFoundError:
        return "unknown"
