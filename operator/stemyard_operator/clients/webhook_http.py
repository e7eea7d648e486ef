"""Client of webhook consumers: resolves, checks, pins and posts within one deadline. The only importer of httpx."""

import asyncio
import logging
import re
import socket
import ssl
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from ipaddress import ip_address
from typing import Final

import httpx

from stemyard_contract.address_guard import AddressRefusedError, Destination, origin_of, permitted
from stemyard_contract.outbox import ADDRESS_REFUSED
from stemyard_operator.config.webhook_settings import WebhookSettings

_BODY_LIMIT: Final = 4096
"""Bytes of a response body that are read so that the connection can be reused; the rest is discarded."""
_BODY_SECONDS: Final = 1.0
_CONNECT_SECONDS: Final = 5.0
_ADDRESSES: Final = 3
"""Maximum addresses of one host that are tried."""

Resolve = Callable[[str, int], Awaitable[list[str]]]
"""Returns the addresses of a host and port; raises OSError if it has none."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class WebhookResponse:
    """Result of one POST."""

    status: int = 0
    """HTTP status, 0 if there was no response."""
    error: str | None = None
    """Reason of a failure, one word in CamelCase."""
    retry_after: float | None = None
    """Seconds of the response's Retry-After."""
    hopeless: bool = False
    """Whether retries are pointless, as the URL itself is refused whatever it resolves to."""


async def resolve(host: str, port: int) -> list[str]:
    """Return the addresses of a host from the system's resolver."""
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [str(entry[4][0]) for entry in found]


class WebhookHttpClient:
    """Reuses connections to the deployment's own consumers only, never those to addresses from requests."""

    def __init__(self, settings: WebhookSettings, resolve: Resolve = resolve) -> None:
        self._settings = settings
        self._resolve = resolve
        self._guard = settings.webhook_guard
        self._tls: ssl.SSLContext = httpx.create_ssl_context()
        self._single_use_client = self._client(keep_alive=False)
        self._persistent: dict[str, httpx.AsyncClient] = {}

    async def close(self) -> None:
        """Close all connections."""
        for client in (self._single_use_client, *self._persistent.values()):
            await client.aclose()

    async def post(self, url: str, headers: Mapping[str, str], body: bytes) -> WebhookResponse:
        """Post exactly these bytes and return the result; failures of the consumer raise nothing."""
        trusted = self._guard.trusts(url)
        try:
            target = self._guard.check(url)
        except AddressRefusedError as error:
            log.warning("webhook address refused: %s", error)
            return WebhookResponse(error=ADDRESS_REFUSED, hopeless=True)
        try:
            async with asyncio.timeout(self._settings.webhook_timeout_seconds):
                return await self._post(url, target, headers, body, trusted=trusted)
        except AddressRefusedError as error:
            log.warning("webhook address refused: %s", error)
            return WebhookResponse(error=ADDRESS_REFUSED)
        except (TimeoutError, httpx.TimeoutException):
            return WebhookResponse(error="Timeout")
        except socket.gaierror:
            return WebhookResponse(error="NameNotFound")
        except (httpx.ConnectError, OSError) as error:
            return WebhookResponse(error="TlsFailed" if "certificate" in str(error).lower() else "ConnectFailed")
        except httpx.InvalidURL as error:
            log.warning("webhook address refused: %s", error)
            return WebhookResponse(error=ADDRESS_REFUSED, hopeless=True)
        except httpx.HTTPError:
            return WebhookResponse(error="NoAnswer")

    async def _post(
        self, url: str, target: Destination, headers: Mapping[str, str], body: bytes, *, trusted: bool
    ) -> WebhookResponse:
        client = self._persistent_client(url) if trusted else self._single_use_client
        if self._settings.webhook_proxy_url is not None:
            return await _exchange(client, httpx.Request("POST", url, headers=headers, content=body))
        addresses = permitted(await self._addresses(target), self._guard.rules, trusted=trusted)
        for address in addresses[: _ADDRESSES - 1]:
            try:
                return await _exchange(client, _pinned(url, target, address, headers, body))
            except (httpx.ConnectError, httpx.ConnectTimeout):
                if address == addresses[-1]:
                    raise
        return await _exchange(client, _pinned(url, target, addresses[-1], headers, body))

    async def _addresses(self, target: Destination) -> list[str]:
        return _literal(target) or await self._resolve(target.host, target.port)

    def _persistent_client(self, url: str) -> httpx.AsyncClient:
        # one client per origin: a connection whose certificate was verified for one host must not be used for another
        return self._persistent.setdefault(origin_of(url), self._client(keep_alive=True))

    def _client(self, *, keep_alive: bool) -> httpx.AsyncClient:
        limits = httpx.Limits(max_keepalive_connections=None if keep_alive else 0)
        timeout = httpx.Timeout(self._settings.webhook_timeout_seconds, connect=_CONNECT_SECONDS)
        proxy = self._settings.webhook_proxy_url
        return httpx.AsyncClient(
            verify=self._tls, trust_env=False, follow_redirects=False, limits=limits, timeout=timeout, proxy=proxy
        )


def _literal(target: Destination) -> list[str]:
    """Return the address of a URL whose host is an IP literal."""
    try:
        return [str(ip_address(target.host))]
    except ValueError:
        return []


def _pinned(url: str, target: Destination, address: str, headers: Mapping[str, str], body: bytes) -> httpx.Request:
    """Return a request to exactly this address, with the Host header and the TLS name of the URL."""
    given = httpx.URL(url)
    extensions = {"sni_hostname": target.host} if target.scheme == "https" else {}
    host = {"Host": given.netloc.decode("ascii")}
    return httpx.Request(
        "POST", given.copy_with(host=address), headers={**host, **headers}, content=body, extensions=extensions
    )


async def _exchange(client: httpx.AsyncClient, request: httpx.Request) -> WebhookResponse:
    response = await client.send(request, stream=True)
    try:
        await _drain(response)
    finally:
        await response.aclose()
    redirected = "Redirected" if 300 <= response.status_code < 400 else None
    return WebhookResponse(response.status_code, redirected, _retry_after(response.headers.get("retry-after")))


async def _drain(response: httpx.Response) -> None:
    """Read a short body to its end; abandon a long or slow one, as the status is known."""
    size = 0
    try:
        async with asyncio.timeout(_BODY_SECONDS):
            async for chunk in response.aiter_raw():
                size += len(chunk)
                if size > _BODY_LIMIT:
                    return
    except (TimeoutError, httpx.HTTPError):
        return


def _retry_after(retry_after: str | None) -> float | None:
    """Return the seconds of a Retry-After header (RFC 9110)."""
    if not retry_after:
        return None
    if re.fullmatch(r"[0-9]{1,9}", retry_after.strip()):
        return float(retry_after)
    try:
        moment = parsedate_to_datetime(retry_after)
    except (ValueError, OverflowError):
        return None
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return max(0.0, (moment - datetime.now(UTC)).total_seconds())
