"""HTTP client of the separator: timeouts, retries, and errors that never contain a URL. Only this module uses httpx."""

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

from stemyard_separator.authorities import Authorities

_T = TypeVar("_T")
_CHUNK_BYTES: Final = 1 << 18
_CONNECT_SECONDS: Final = 10.0
_FIRST_PAUSE: Final = 0.5
_TRANSIENT_STATUSES: Final = (408, 425, 429)
_NOT_IMPLEMENTED: Final = 501
TRANSFER_SECONDS: Final = 60.0
"""Read and write timeout within a transfer."""


class HttpError(Exception):
    """A request that may be retried failed: no complete response, or a status the caller regards as transient.

    The message names the kind of failure or the status only.
    """


@dataclass(frozen=True, slots=True)
class HttpResponse:
    """A complete response."""

    status: int
    body: bytes

    @property
    def is_success(self) -> bool:
        """Whether the status is 2xx."""
        return 200 <= self.status < 300

    @property
    def is_transient(self) -> bool:
        """Whether the same request may succeed later."""
        return is_transient(self.status)


@dataclass(frozen=True, slots=True)
class StreamedResponse:
    """A response whose body is still to be read, without content decoding; header names are in lower case."""

    status: int
    headers: Mapping[str, str]
    chunks: Iterator[bytes]

    @property
    def content_length(self) -> int | None:
        """Content-Length, if valid."""
        text = self.headers.get("content-length", "")
        return int(text) if text.isdecimal() else None


class HttpClient:
    """Sends requests without following redirects; proxies of the environment are used with `trust_env` only.

    SSL_CERT_FILE may name a CA bundle instead of the public CAs.

    Args:
        trust_env: whether proxies are read from the environment.
        ca_dir: folder of CAs that are trusted as well; only for the desk and the object store.
    """

    def __init__(self, *, trust_env: bool = False, ca_dir: Path | None = None) -> None:
        bundle = os.environ.get("SSL_CERT_FILE")
        self._tls = (
            ssl.create_default_context(cafile=bundle) if bundle else httpx.create_ssl_context(trust_env=trust_env)
        )
        self._authorities = Authorities(ca_dir) if ca_dir is not None else None
        self._client = httpx.Client(trust_env=trust_env, follow_redirects=False, verify=self._tls)
        self._trust()

    def close(self) -> None:
        """Close all connections."""
        self._client.close()

    def post_json(self, url: str, body: str, token: str, timeout_seconds: float) -> HttpResponse:
        """POST a JSON text with a bearer token.

        Raises:
            HttpError: no response within `timeout_seconds`.
        """
        headers = {"Content-Type": "application/json", "Authorization": f"Bearer {token}"}
        with _http_errors():
            self._trust()
            response = self._client.post(url, content=body.encode(), headers=headers, timeout=timeout_seconds)
            return HttpResponse(response.status_code, response.content)

    def put_file(self, url: str, path: Path, headers: Mapping[str, str]) -> HttpResponse:
        """PUT a file with its exact Content-Length.

        Raises:
            HttpError: the connection broke or timed out.
        """
        sized = {**headers, "Content-Length": str(path.stat().st_size)}
        with _http_errors(), path.open("rb") as file:
            self._trust()
            chunks = iter(lambda: file.read(_CHUNK_BYTES), b"")
            response = self._client.put(url, content=chunks, headers=sized, timeout=_timeout())
            return HttpResponse(response.status_code, response.content)

    @contextmanager
    def stream(
        self, url: str, headers: Mapping[str, str], server_name: str | None = None
    ) -> Iterator[StreamedResponse]:
        """GET a URL and stream its body.

        Args:
            url: what to get.
            headers: sent unchanged.
            server_name: name that the TLS certificate must match, if `url` contains an IP address instead.

        Raises:
            HttpError: from here or while chunks are read.
        """
        with _http_errors():
            self._trust()
            request = self._client.build_request("GET", url, headers=dict(headers), timeout=_timeout())
            if server_name:
                request.extensions["sni_hostname"] = server_name
            response = self._client.send(request, stream=True)
        try:
            yield StreamedResponse(response.status_code, dict(response.headers), _chunks(response))
        finally:
            response.close()

    def _trust(self) -> None:
        """Trust the authorities that are there now: they are renewed while a worker runs.

        Raises:
            HttpError: one of them cannot be used, perhaps not yet.
        """
        if self._authorities is not None:
            try:
                self._authorities.load_into(self._tls)
            except OSError as error:
                raise HttpError(f"a CA cannot be used ({type(error).__name__})") from None


def is_transient(status: int) -> bool:
    """Return whether a request that was answered with this status may succeed later."""
    return (status >= 500 and status != _NOT_IMPLEMENTED) or status in _TRANSIENT_STATUSES


def _timeout() -> httpx.Timeout:
    return httpx.Timeout(TRANSFER_SECONDS, connect=_CONNECT_SECONDS)


def _chunks(response: httpx.Response) -> Iterator[bytes]:
    with _http_errors():
        # raw and unbuffered: buffering would hide a slow drip, and decoding can expand a body a thousandfold
        yield from response.iter_raw()


@contextmanager
def _http_errors() -> Iterator[None]:
    try:
        yield
    except (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError) as error:
        raise HttpError(type(error).__name__) from None


def retry(call: Callable[[], _T], attempts: int, first_pause: float = _FIRST_PAUSE) -> _T:
    """Return `call()`; retry on `HttpError` with jittered exponential backoff and re-raise the last one."""
    for attempt in range(attempts - 1):
        try:
            return call()
        except HttpError:
            time.sleep(backoff(attempt, first_pause=first_pause))
    return call()


def backoff(failures: int, longest: float = 60.0, first_pause: float = _FIRST_PAUSE) -> float:
    """Return the seconds to pause after so many earlier failures: doubled each time, at most `longest`, jittered."""
    return min(longest, first_pause * 2.0 ** min(failures, 30)) * random.uniform(0.5, 1.5)
