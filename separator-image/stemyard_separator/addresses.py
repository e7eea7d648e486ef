"""Decides which addresses a source's link may lead to: public ones only, named once and used as resolved."""

import ipaddress
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from stemyard_contract.failures import FailureCode
from stemyard_separator.errors import SourceError
from stemyard_separator.settings import Network

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

_PORTS: Final = {"http": 80, "https": 443}
_TRANSLATED: Final = tuple(ipaddress.ip_network(text) for text in ("64:ff9b::/96", "64:ff9b:1::/48", "::/96"))
"""IPv6 networks that stand for IPv4 ones: what they reach cannot be told from here."""


@dataclass(frozen=True, slots=True)
class Target:
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


def is_public(address: Address) -> bool:
    """Return whether an address is on the public internet, seen through IPv6 forms that wrap an IPv4 address."""
    if isinstance(address, ipaddress.IPv6Address):
        inner = address.ipv4_mapped or address.sixtofour or (address.teredo[1] if address.teredo else None)
        if inner is not None:
            return is_public(inner)
        if any(address in network for network in _TRANSLATED):
            return False
    return address.is_global and not address.is_multicast and not address.is_reserved


def resolve(url: str, allowed: Sequence[Network]) -> Target:
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
    return Target(parts.scheme, host, port, addresses, path)


def _check(address: Address, port: int, allowed: Sequence[Network]) -> None:
    if any(address in network for network in allowed):
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
