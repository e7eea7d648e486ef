"""Downloads a media file from a caller's link; every hop's address is checked and pinned (SSRF protection)."""

import ipaddress
import socket
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Final
from urllib.parse import unquote, urljoin, urlsplit

from stemyard_contract.address_guard import is_allowed, is_public
from stemyard_contract.failures import FailureCode
from stemyard_contract.handover import StoredFile
from stemyard_separator.errors import SourceError
from stemyard_separator.http import HttpClient, HttpError, StreamedResponse
from stemyard_separator.settings import Network
from stemyard_separator.transfer.download import ResumableDownload

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
_PORTS: Final = {"http": 80, "https": 443}
_MAX_REQUESTS: Final = 5
_REDIRECTS: Final = (301, 302, 303, 307, 308)
_STATUS_CODES: Final = MappingProxyType(
    {
        401: FailureCode.SOURCE_LOGIN_REQUIRED,
        403: FailureCode.SOURCE_FORBIDDEN,
        407: FailureCode.SOURCE_LOGIN_REQUIRED,
        408: FailureCode.SOURCE_NETWORK,
        429: FailureCode.SOURCE_RATE_LIMITED,
        451: FailureCode.SOURCE_GEO_BLOCKED,
    }
)


@dataclass(frozen=True, slots=True)
class LinkTarget:
    """Where one request goes.

    Attributes:
        scheme: http or https.
        host: as written, for the Host header and the certificate.
        port: port.
        addresses: what the host resolved to; all acceptable.
        path: path and query, as sent.
    """

    scheme: str
    host: str
    port: int
    addresses: tuple[Address, ...]
    path: str

    @property
    def authority(self) -> str:
        """Value of the Host header."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _PORTS[self.scheme] else f"{host}:{self.port}"

    def pinned(self, address: Address) -> str:
        """Return the URL with this address in place of the host, so that nothing resolves it again."""
        host = f"[{address}]" if address.version == 6 else str(address)
        return f"{self.scheme}://{host}:{self.port}{self.path}"


@dataclass(frozen=True, slots=True)
class DownloadLimits:
    """Limits of one download.

    Attributes:
        max_bytes: size of the body.
        timeout_seconds: total time, redirects included.
        allowed_networks: networks that may be reached although they are not public.
    """

    max_bytes: int
    timeout_seconds: float
    allowed_networks: Sequence[Network] = ()


def download_link(url: str, target: Path, limits: DownloadLimits, http: HttpClient) -> StoredFile:
    """Download the file behind a link to `target`.

    Raises:
        SourceError: SOURCE_ADDRESS_REFUSED, SOURCE_TOO_LARGE, SOURCE_NETWORK, or the code of the response's status.
    """
    deadline = time.monotonic() + limits.timeout_seconds
    for _ in range(_MAX_REQUESTS):
        try:
            with ExitStack() as stack:
                response = _open(resolve(url, limits.allowed_networks), http, stack)
                if response.status not in _REDIRECTS:
                    _check_response(response)
                    chunks = _until(deadline, limits.timeout_seconds, response.chunks)
                    return ResumableDownload(target, limits.max_bytes).write(replace(response, chunks=chunks))
                url = urljoin(url, response.headers.get("location", ""))
        except HttpError as error:
            raise SourceError(FailureCode.SOURCE_NETWORK, cause=str(error)) from None
    raise SourceError(FailureCode.SOURCE_UNAVAILABLE, f"It redirects more than {_MAX_REQUESTS - 1} times.")


def _until(deadline: float, timeout_seconds: float, chunks: Iterator[bytes]) -> Iterator[bytes]:
    """Yield chunks until the deadline: a slow drip never triggers the read timeout."""
    for chunk in chunks:
        if time.monotonic() > deadline:
            raise SourceError(FailureCode.SOURCE_NETWORK, f"The download took longer than {timeout_seconds:g} s.")
        yield chunk


def link_title(url: str) -> str | None:
    """Return the file name in a link without its suffix, the fallback title."""
    return Path(unquote(urlsplit(url).path)).stem or None


def _open(target: LinkTarget, http: HttpClient, stack: ExitStack) -> StreamedResponse:
    """Return the response of the first of the target's addresses that can be reached."""
    headers = {"Host": target.authority, "User-Agent": "stemyard", "Accept": "*/*", "Accept-Encoding": "identity"}
    server_name = target.host if target.scheme == "https" else None
    failure = HttpError("no address")
    for address in target.addresses:
        try:
            return stack.enter_context(http.stream(target.pinned(address), headers, server_name))
        except HttpError as error:
            failure = error
    raise failure


def _check_response(response: StreamedResponse) -> None:
    if response.status != 200:
        code = FailureCode.SOURCE_NETWORK if response.status >= 500 else FailureCode.SOURCE_UNAVAILABLE
        raise SourceError(_STATUS_CODES.get(response.status, code), f"It answered {response.status}.")
    encoding = response.headers.get("content-encoding", "identity")
    if encoding != "identity":
        detail = f"Its host sends it as {encoding[:32]}, which was not requested."
        raise SourceError(FailureCode.SOURCE_UNDECODABLE, detail)


def resolve(url: str, allowed: Sequence[Network]) -> LinkTarget:
    """Resolve a link's host and refuse it unless every address is public or in `allowed`.

    Raises:
        SourceError: SOURCE_ADDRESS_REFUSED, or SOURCE_NETWORK if the name has no address.
    """
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        raise _refused("It is not a valid address.") from None
    if parts.scheme not in _PORTS or not host:
        raise _refused("Only http and https links are accepted.")
    port = _PORTS[parts.scheme] if port is None else port
    addresses = _lookup(host, port)
    for address in addresses:
        _check(address, port, allowed)
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return LinkTarget(parts.scheme, host, port, addresses, path)


def _check(address: Address, port: int, allowed: Sequence[Network]) -> None:
    if is_allowed(address, allowed):
        return
    if not is_public(address):
        raise _refused("It leads to an address that is not public.")
    if port not in _PORTS.values():
        raise _refused("Only the ports 80 and 443 are accepted.")


def _lookup(host: str, port: int) -> tuple[Address, ...]:
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        raise SourceError(FailureCode.SOURCE_NETWORK, "The name of the host could not be resolved.") from None
    texts = dict.fromkeys(str(entry[4][0]).partition("%")[0] for entry in found)
    return tuple(sorted((ipaddress.ip_address(text) for text in texts), key=lambda address: address.version))


def _refused(detail: str) -> SourceError:
    return SourceError(FailureCode.SOURCE_ADDRESS_REFUSED, detail)
