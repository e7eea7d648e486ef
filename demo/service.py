"""The address and key of a running installation."""

from dataclasses import dataclass, field

import httpx

from stemyard_client import Client


@dataclass(frozen=True, slots=True)
class Service:
    """The address and API key of a running Stemyard."""

    url: str
    api_key: str = field(repr=False)

    def stemyard(self) -> Client:
        """Return a client; the caller closes it."""
        return Client(self.url, self.api_key)

    def http(self) -> httpx.Client:
        """Return an HTTP client that sends the key, for requests that `Client` would not make; the caller closes it."""
        return httpx.Client(base_url=self.url, headers={"X-API-Key": self.api_key}, timeout=30.0)
