"""The only module that knows httpx: bounded requests, whose errors never carry an address."""

import os
import random
import ssl
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeVar

import httpx

_T = TypeVar("_T")
_BLOCK: Final = 1 << 18
_CONNECT_SECONDS: Final = 10.0
TRANSFER_SECONDS: Final = 60.0
"""Longest silence within a transfer."""


class HttpError(Exception):
    """No complete answer came. The message names the kind of failure only."""


@dataclass(frozen=True, slots=True)
class HttpResponse:
    """A complete answer."""

    status: int
    body: bytes

    @property
    def is_success(self) -> bool:
        """Whether the status is 2xx."""
        return 200 <= self.status < 300


@dataclass(frozen=True, slots=True)
class StreamedResponse:
    """An answer whose body is still to be read, as it was sent; header names are in lower case."""

    status: int
    headers: Mapping[str, str]
    blocks: Iterator[bytes]

    @property
    def content_length(self) -> int | None:
        """Content-Length, where it is given."""
        text = self.headers.get("content-length", "")
        return int(text) if text.isdecimal() else None


class HttpClient:
    """Sends requests without following redirects or reading proxies from the environment.

    SSL_CERT_FILE may name the authorities to trust, for stores with certificates of the house.
    """

    def __init__(self) -> None:
        own = os.environ.get("SSL_CERT_FILE")
        trusted = ssl.create_default_context(cafile=own) if own else True
        self._client = httpx.Client(trust_env=False, follow_redirects=False, verify=trusted)

    def post_json(self, url: str, body: str, token: str, seconds: float) -> HttpResponse:
        """POST a JSON text with a bearer token.

        Raises:
            HttpError: no answer within `seconds`.
        """
        headers = {"Content-Type": "application/json", "Authorization": f"Bearer {token}"}
        with _named_errors():
            response = self._client.post(url, content=body.encode(), headers=headers, timeout=seconds)
            return HttpResponse(response.status_code, response.content)

    def put_file(self, url: str, path: Path, headers: Mapping[str, str]) -> HttpResponse:
        """PUT a file with its exact length.

        Raises:
            HttpError: the connection broke or fell silent.
        """
        sent = {**headers, "Content-Length": str(path.stat().st_size)}
        with _named_errors(), path.open("rb") as file:
            response = self._client.put(
                url, content=iter(lambda: file.read(_BLOCK), b""), headers=sent, timeout=_timeout()
            )
            return HttpResponse(response.status_code, response.content)

    @contextmanager
    def download(
        self, url: str, headers: Mapping[str, str], server_name: str | None = None
    ) -> Iterator[StreamedResponse]:
        """GET an address; its body comes in blocks.

        Args:
            url: what to get.
            headers: sent as they are.
            server_name: name that the TLS certificate must carry, where `url` has an IP address instead.

        Raises:
            HttpError: from here or while reading blocks.
        """
        with _named_errors():
            request = self._client.build_request("GET", url, headers=dict(headers), timeout=_timeout())
            if server_name:
                request.extensions["sni_hostname"] = server_name
            response = self._client.send(request, stream=True)
        try:
            yield StreamedResponse(response.status_code, dict(response.headers), _blocks(response))
        finally:
            response.close()


def _timeout() -> httpx.Timeout:
    return httpx.Timeout(TRANSFER_SECONDS, connect=_CONNECT_SECONDS)


def _blocks(response: httpx.Response) -> Iterator[bytes]:
    with _named_errors():
        # as they come: joined blocks would hide a body that drips, decoded ones may be a thousand times as large
        yield from response.iter_raw()


@contextmanager
def _named_errors() -> Iterator[None]:
    try:
        yield
    except (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError) as error:
        raise HttpError(type(error).__name__) from None


def retried(call: Callable[[], _T], retry: type[Exception], attempts: int, first_pause: float) -> _T:
    """Return `call()`, trying again on `retry` with doubling, jittered pauses; the last error passes through."""
    for attempt in range(attempts - 1):
        try:
            return call()
        except retry:
            time.sleep(first_pause * 2**attempt * random.uniform(0.5, 1.5))
    return call()
