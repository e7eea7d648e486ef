"""Whose API key a call uses: the user's own on this machine, each caller's own over HTTP."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from stemyard_client import AsyncClient, StemyardError

_SCHEME: Final = "bearer"


class NoKeyError(StemyardError):
    """A call over HTTP brings no API key."""

    code = "no_key"


def bearer(authorization: str | None) -> str | None:
    """Return the key of an Authorization header (RFC 6750); None if there is none of that scheme."""
    scheme, _, key = (authorization or "").strip().partition(" ")
    return key.strip() or None if scheme.lower() == _SCHEME else None


@dataclass(frozen=True, slots=True)
class Callers:
    """Opens the connection of each call, with the key that the call may use.

    Attributes:
        url: address of the API.
        own: the key of whoever started the server; empty for none.
        remote: whether calls come over HTTP. They bring their own key, and `own` is not for them.
        shared: whether remote calls that bring no key may use `own` nevertheless.
    """

    url: str
    own: str = field(default="", repr=False)
    remote: bool = False
    shared: bool = False

    def client(self, headers: Mapping[str, str] | None) -> AsyncClient:
        """Return a client for one call, which the caller closes; no two calls share a connection.

        Args:
            headers: of the HTTP request that brought the call; None without HTTP.

        Raises:
            NoKeyError: the call brings no key, and may use none.
            AddressError: the key has characters that no key has.
        """
        return AsyncClient(self.url, self._key(headers))

    def _key(self, headers: Mapping[str, str] | None) -> str | None:
        if not self.remote:
            return self.own or None
        key = bearer((headers or {}).get("authorization"))
        if key is None and not self.shared:
            raise NoKeyError("This call has no API key; send it in the header Authorization: Bearer.")
        return key or self.own or None
