"""The SSRF guard of webhooks and downloads: which URLs and IP addresses may be connected to. Pure: resolves nothing.

Sources: the IANA special-purpose address registries (RFC 6890), RFC 6052 (NAT64), RFC 3056 (6to4), and the metadata
endpoints that cloud providers document.
"""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Final
from urllib.parse import SplitResult, urlsplit

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

METADATA_NETWORKS: Final = tuple(
    ip_network(text)
    for text in (
        "169.254.0.0/16",  # link-local: AWS, Azure, Google Cloud, OpenStack
        "fe80::/10",
        "fd00:ec2::254/128",  # AWS
        "fd20:ce::254/128",  # Google Cloud
        "100.100.100.200/32",  # Alibaba Cloud
        "168.63.129.16/32",  # Azure's WireServer
        "192.0.0.192/32",  # Oracle Cloud
    )
)
"""Link-local networks and the metadata services of clouds: refused to everyone, the deployment included."""
SPECIAL_NETWORKS: Final = tuple(
    ip_network(text)
    for text in (
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
"""Special-purpose networks that `ipaddress` of some supported Python version calls global."""
_NAT64: Final = tuple(ip_network(text) for text in ("64:ff9b::/96", "64:ff9b:1::/48"))
_6TO4: Final = ip_network("2002::/16")
_DEFAULT_PORTS: Final = {"https": 443, "http": 80}


class AddressRefusedError(Exception):
    """The URL or an address of its host is not allowed; the message says why."""


@dataclass(frozen=True, slots=True)
class Destination:
    """Scheme, host and port of a URL that passed."""

    scheme: str
    host: str
    port: int


@dataclass(frozen=True, slots=True)
class Rules:
    """What a deployment allows for URLs that it did not configure itself.

    Attributes:
        allow_http: whether http is allowed beside https.
        ports: allowed ports; empty means the scheme's default port.
        denied: public networks that are refused all the same, such as the cluster's own.
    """

    allow_http: bool = False
    ports: frozenset[int] = frozenset()
    denied: tuple[Network, ...] = ()

    def open_ports(self, scheme: str) -> Collection[int]:
        """Return the ports allowed with a scheme."""
        return self.ports or {_DEFAULT_PORTS[scheme]}


def origin_of(url: str) -> str:
    """Return scheme, host and port of a URL in canonical form.

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
    """Return scheme, host and port of a URL.

    Args:
        url: the URL as given.
        rules: what is allowed for URLs that are not trusted.
        trusted: whether the deployment itself configured the URL.

    Raises:
        AddressRefusedError: its scheme, port or form is not allowed, or its host cannot be a name in DNS.
    """
    try:
        parts = urlsplit(url)
        port = _port(parts)
    except (ValueError, KeyError):
        raise AddressRefusedError("it is no http or https URL") from None
    scheme, host = parts.scheme.lower(), parts.hostname
    if not host or not port:
        raise AddressRefusedError("it names no host")
    if not _encodable(host):
        raise AddressRefusedError("its host has an empty label, one over 63 characters or one that IDNA does not allow")
    if "@" in parts.netloc:
        raise AddressRefusedError("it holds a user name or password")
    if not trusted and scheme != "https" and not rules.allow_http:
        raise AddressRefusedError("it is not https")
    if not trusted and port not in rules.open_ports(scheme):
        raise AddressRefusedError(f"port {port} is not allowed")
    return Destination(scheme, host, port)


def _encodable(host: str) -> bool:
    """Return whether the resolver of Python, which encodes names by IDNA (RFC 3490), can look a host up."""
    try:
        host.encode("idna")
    except UnicodeError:
        return False
    return True


def permitted(found: Iterable[str], rules: Rules, *, trusted: bool) -> list[str]:
    """Return the addresses that a host name resolved to, if all of them are allowed.

    Raises:
        AddressRefusedError: an address is not allowed. One is enough: a name that mixes public and private addresses
            is an attempt at DNS rebinding.
    """
    addresses = list(dict.fromkeys(found))
    for text in addresses:
        address = ip_address(text.partition("%")[0])
        if is_metadata(address) or not (trusted or is_public(address, rules.denied)):
            raise AddressRefusedError("its host is at an address that is not public")
    return addresses


def is_public(address: Address, denied: Sequence[Network] = ()) -> bool:
    """Return whether an address is on the public internet and in none of the `denied` networks.

    An IPv6 address that carries an IPv4 address (mapped, NAT64, 6to4) counts as that address.
    """
    carried = _carried(address)
    if carried is not None:
        return is_public(carried, denied)
    return (
        address.is_global
        and not address.is_multicast
        and not address.is_reserved
        and not is_metadata(address)
        and not _within(address, SPECIAL_NETWORKS)
        and not _within(address, denied)
    )


def is_allowed(address: Address, allowed: Sequence[Network]) -> bool:
    """Return whether an address is in one of the `allowed` networks and no metadata service."""
    carried = _carried(address)
    return _within(carried or address, allowed) and not is_metadata(address)


def is_metadata(address: Address) -> bool:
    """Return whether an address is link-local or the metadata service of a cloud."""
    return _within(_carried(address) or address, METADATA_NETWORKS)


def _carried(address: Address) -> IPv4Address | None:
    """Return the IPv4 address that an IPv6 address carries."""
    if not isinstance(address, IPv6Address):
        return None
    if address.ipv4_mapped is not None:
        return address.ipv4_mapped
    if address in _6TO4:
        return address.sixtofour
    return IPv4Address(int(address) & 0xFFFFFFFF) if _within(address, _NAT64) else None


def _within(address: Address, networks: Iterable[Network]) -> bool:
    return any(address.version == network.version and address in network for network in networks)
