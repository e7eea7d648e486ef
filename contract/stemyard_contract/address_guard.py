"""Which addresses a webhook may be sent to: the URL first, then what its name resolves to. Pure."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Final
from urllib.parse import SplitResult, urlsplit

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

_METADATA: Final = tuple(
    ip_network(one)
    for one in ("169.254.0.0/16", "fe80::/10", "fd00:ec2::254/128", "100.100.100.200/32", "168.63.129.16/32")
)
"""Link-local addresses and the metadata services of clouds: never, whoever names them."""
_NAT64: Final = tuple(ip_network(one) for one in ("64:ff9b::/96", "64:ff9b:1::/48"))
_6TO4: Final = ip_network("2002::/16")
_SPECIAL: Final = tuple(
    ip_network(one)
    for one in (
        "192.0.0.0/24",
        "192.88.99.0/24",
        "::/96",
        "100::/64",
        "2001::/23",
        "3fff::/20",
        "5f00::/16",
        "fec0::/10",
    )
)
"""Special-purpose ranges that not every Python version calls so: protocols, tunnels, documentation."""
_DEFAULT_PORTS: Final = {"https": 443, "http": 80}


class AddressRefusedError(Exception):
    """This deployment does not send webhooks there; the message says why."""


@dataclass(frozen=True, slots=True)
class Destination:
    """Where a URL leads, once it has passed."""

    scheme: str
    host: str
    port: int


@dataclass(frozen=True, slots=True)
class Rules:
    """What a deployment allows for addresses that it did not set itself."""

    allow_http: bool = False
    ports: frozenset[int] = frozenset()
    denied: tuple[Network, ...] = ()

    def open_ports(self, scheme: str) -> Collection[int]:
        """Return the ports that may be named with a scheme."""
        return self.ports or {_DEFAULT_PORTS[scheme]}


def origin_of(url: str) -> str:
    """Return scheme, host and port of a URL in one spelling.

    Raises:
        ValueError: it is no http or https URL with a host.
    """
    parts = urlsplit(url)
    if parts.scheme.lower() not in _DEFAULT_PORTS or not parts.hostname:
        raise ValueError("must be a URL that starts with http:// or https://")
    return f"{parts.scheme.lower()}://{parts.hostname.lower()}:{_port(parts)}"


def _port(parts: SplitResult) -> int:
    return parts.port if parts.port is not None else _DEFAULT_PORTS[parts.scheme.lower()]


def destination(url: str, rules: Rules, *, trusted: bool) -> Destination:
    """Return where a URL leads.

    Args:
        url: the address as it was given.
        rules: what is allowed to those who are not trusted.
        trusted: whether the deployment itself names it.

    Raises:
        AddressRefusedError: its scheme, port or form is not allowed.
    """
    try:
        parts = urlsplit(url)
        port = _port(parts)
    except (ValueError, KeyError):
        raise AddressRefusedError("it is no http or https URL") from None
    scheme, host = parts.scheme.lower(), parts.hostname
    if not host or not port:
        raise AddressRefusedError("it names no host")
    if "@" in parts.netloc:
        raise AddressRefusedError("it holds a user name or password")
    if not trusted and scheme != "https" and not rules.allow_http:
        raise AddressRefusedError("it is not https")
    if not trusted and port not in rules.open_ports(scheme):
        raise AddressRefusedError(f"port {port} is not allowed")
    return Destination(scheme, host, port)


def permitted(found: Iterable[str], rules: Rules, *, trusted: bool) -> list[str]:
    """Return what a name resolved to, if a connection to any of it is allowed.

    Raises:
        AddressRefusedError: one of the addresses is not allowed; a name that mixes both is up to no good.
    """
    addresses = list(dict.fromkeys(found))
    for text in addresses:
        address = ip_address(text.partition("%")[0])
        if not (_reachable(address, rules) if not trusted else not _is_metadata(address)):
            raise AddressRefusedError("its host is at an address that is not public")
    return addresses


def _reachable(address: Address, rules: Rules) -> bool:
    inner = _inner(address)
    if inner is not None:
        return _reachable(inner, rules)
    return (
        address.is_global
        and not address.is_multicast
        and not _is_metadata(address)
        and not _within(address, _SPECIAL)
        and not _within(address, rules.denied)
    )


def _is_metadata(address: Address) -> bool:
    inner = _inner(address)
    return _is_metadata(inner) if inner is not None else _within(address, _METADATA)


def _inner(address: Address) -> IPv4Address | None:
    """Return the IPv4 address that an IPv6 address stands for."""
    if not isinstance(address, IPv6Address):
        return None
    if address.ipv4_mapped is not None:
        return address.ipv4_mapped
    if address in _6TO4:
        return address.sixtofour
    return IPv4Address(int(address) & 0xFFFFFFFF) if _within(address, _NAT64) else None


def _within(address: Address, networks: Iterable[Network]) -> bool:
    return any(address.version == network.version and address in network for network in networks)
