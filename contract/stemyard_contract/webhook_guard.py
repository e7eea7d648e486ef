"""The guard of webhook URLs: what a deployment allows, as far as the URL alone says. Pure: resolves nothing.

The API refuses other URLs in requests, and the operator never sends to them. What a name resolves to is checked only
when a webhook is sent, since it may change until then.

Sources: the IANA registry of special-use domain names (RFC 6761), ICANN's reservation of `internal`, RFC 7085 (names
without a dot), and WHATWG URL (hosts that end in a number are IPv4 addresses).
"""

import re
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Final

from stemyard_contract.address_guard import (
    AddressRefusedError,
    Destination,
    Rules,
    destination,
    origin_of,
    permitted,
)

PRIVATE_SUFFIXES: Final = (
    *("localhost", "local", "internal", "home.arpa", "onion", "alt", "invalid"),
    "svc",  # Services of a Kubernetes cluster; their full names end in .local
)
"""Domains that public DNS never has."""
_NUMBER: Final = re.compile(r"[0-9]+|0x[0-9a-f]*")


@dataclass(frozen=True, slots=True)
class WebhookGuard:
    """What a deployment allows.

    Attributes:
        rules: for URLs that it did not configure itself.
        own_url: its own consumer (WEBHOOK_URL).
        allowed_origins: origins that it trusts as much, in canonical form.
    """

    rules: Rules
    own_url: str | None = None
    allowed_origins: frozenset[str] = frozenset()

    def trusts(self, url: str) -> bool:
        """Return whether the deployment itself configures this URL or its origin."""
        if url == self.own_url:
            return True
        try:
            return origin_of(url) in self.allowed_origins
        except ValueError:
            return False

    def check(self, url: str) -> Destination:
        """Return scheme, host and port of a URL.

        Raises:
            AddressRefusedError: nothing may be sent to it, whatever its host resolves to.
        """
        trusted = self.trusts(url)
        target = destination(url, self.rules, trusted=trusted)
        host = target.host.encode("idna").decode().rstrip(".").lower()
        try:
            permitted([str(ip_address(host))], self.rules, trusted=trusted)
        except ValueError:
            if not trusted:
                _check_name(host)
        return target


def _check_name(host: str) -> None:
    """Check the name of a host in its ASCII form.

    Raises:
        AddressRefusedError: public DNS has no such name.
    """
    if _NUMBER.fullmatch(host.rpartition(".")[2]):
        raise AddressRefusedError("its host is an IP address in an unusual form")
    if "." not in host or host.endswith(tuple(f".{suffix}" for suffix in PRIVATE_SUFFIXES)):
        raise AddressRefusedError("its host is a name of a private network")
