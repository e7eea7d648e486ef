"""Limits of connections, and the connections of one process counted against them."""

from collections import Counter
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from typing import Final

from starlette.types import Scope

HEADER_BYTES: Final = 64 * 1024
"""Maximum size of a request's line and headers together."""
HEADER_COUNT: Final = 100
"""Maximum number of a request's headers: each takes more memory than its bytes."""
PIPELINE_LIMIT: Final = 16
"""Maximum number of a connection's requests that wait for the response to an earlier one."""
UNFINISHED_BYTES: Final = 24 * 1024 * 1024
"""Maximum size of all requests that have been received in part."""
UNFINISHED_BYTES_PER_ADDRESS: Final = UNFINISHED_BYTES // 4
"""Maximum of one address, or it could have the requests of all others refused."""


@dataclass(frozen=True, slots=True)
class ConnectionLimits:
    """Limits of connections.

    Attributes:
        header_seconds: from the first byte of a request until its headers are complete.
        body_seconds: from then until its body is complete.
        idle_seconds: without a request; longer than load balancers keep theirs, or they meet a closed connection.
        write_seconds: without the client reading any of a response.
        total: connections of this process; 0 is no limit, here and below.
        per_address: connections of one address.
        proxies: networks whose connections carry those of many clients, so `per_address` does not apply.
    """

    header_seconds: float = 20.0
    body_seconds: float = 30.0
    idle_seconds: float = 75.0
    write_seconds: float = 60.0
    total: int = 4096
    per_address: int = 1024
    proxies: tuple[IPv4Network | IPv6Network, ...] = ()


class Connections:
    """Open connections by address, and the bytes of their unfinished requests."""

    def __init__(self, limits: ConnectionLimits) -> None:
        self.limits = limits
        self._total = 0
        self._by_address: Counter[str] = Counter()
        self._unfinished = 0
        self._unfinished_by_address: Counter[str] = Counter()

    def opened(self, host: str) -> bool:
        """Count a connection, which `closed` ends; return whether it is within the limits."""
        address = customer_address(host)
        self._total += 1
        self._by_address[address] += 1
        limits = self.limits
        if limits.total and self._total > limits.total:
            return False
        crowded = bool(limits.per_address) and self._by_address[address] > limits.per_address
        return not (crowded and not self._is_proxy(host))

    def closed(self, host: str) -> None:
        """End a connection."""
        address = customer_address(host)
        self._total -= 1
        self._by_address[address] -= 1
        if not self._by_address[address]:
            del self._by_address[address]

    def hold(self, host: str, size: int) -> bool:
        """Count bytes of an unfinished request, or release them if negative; return whether there is room for all."""
        address = customer_address(host)
        self._unfinished += size
        self._unfinished_by_address[address] += size
        held = self._unfinished_by_address[address]
        if not held:
            del self._unfinished_by_address[address]
        if self._unfinished > UNFINISHED_BYTES:
            return False
        return held <= UNFINISHED_BYTES_PER_ADDRESS or not self.limits.per_address or self._is_proxy(host)

    def _is_proxy(self, host: str) -> bool:
        try:
            address = ip_address(host)
        except ValueError:
            return False
        return any(address in network for network in self.limits.proxies)


def customer_address(host: str) -> str:
    """Return an IPv4 address, or the /64 network of an IPv6 address, which belongs to one customer."""
    try:
        address = ip_address(host)
    except ValueError:
        return host
    return str(ip_network((address, 64), strict=False)) if address.version == 6 else host


def client_address(scope: Scope) -> str:
    """Return the address that requests without a key are counted by."""
    return customer_address((scope.get("client") or ("unknown", 0))[0])
