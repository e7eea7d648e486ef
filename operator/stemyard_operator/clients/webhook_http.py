"""Sends one webhook: resolves, checks, pins and posts, within one deadline; the only importer of httpx."""

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

from stemyard_contract.address_guard import AddressRefusedError, Destination, Rules, destination, origin_of, permitted
from stemyard_operator.config.webhook_settings import WebhookSettings

_BODY_LIMIT: Final = 4096
"""Bytes of an answer that are read, so that its connection can be used again; the rest is nobody's business."""
_BODY_SECONDS: Final = 1.0
_CONNECT_SECONDS: Final = 5.0
_ADDRESSES: Final = 3
"""Addresses of one host that are tried."""

Resolve = Callable[[str, int], Awaitable[list[str]]]
"""Gives the addresses of a host, by host and port; OSError where it has none."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back."""

    status: int = 0
    """HTTP status, 0 where there was no answer."""
    error: str | None = None
    """Why it came to nothing, one word."""
    retry_after: float | None = None
    """Seconds that the consumer asks us to wait."""
    hopeless: bool = False
    """Whether the address itself is refused, whatever it resolves to."""


async def resolve(host: str, port: int) -> list[str]:
    """Return the addresses of a host as the system resolves it."""
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [str(entry[4][0]) for entry in found]


class WebhookHttpClient:
    """Connections to addresses that others named are never used twice; those to our own consumers are."""

    def __init__(self, settings: WebhookSettings, resolve: Resolve = resolve) -> None:
        self._settings = settings
        self._resolve = resolve
        self._rules = Rules(
            settings.webhook_allow_http, frozenset(settings.webhook_ports), settings.webhook_denied_cidrs
        )
        self._tls: ssl.SSLContext = httpx.create_ssl_context()
        self._once = self._client(keep=False)
        self._kept: dict[str, httpx.AsyncClient] = {}

    async def close(self) -> None:
        """Close all connections."""
        for client in (self._once, *self._kept.values()):
            await client.aclose()

    async def post(self, url: str, headers: Mapping[str, str], body: bytes) -> Answer:
        """Post these very bytes and return what came of it; nothing is raised for anything a consumer may do."""
        trusted = self.trusts(url)
        try:
            target = destination(url, self._rules, trusted=trusted)
        except AddressRefusedError as error:
            log.warning("a webhook's address is refused: %s", error)
            return Answer(error="AddressRefused", hopeless=True)
        try:
            async with asyncio.timeout(self._settings.webhook_timeout_seconds):
                return await self._post(url, target, headers, body, trusted=trusted)
        except AddressRefusedError as error:
            log.warning("a webhook's address is refused: %s", error)
            return Answer(error="AddressRefused")
        except (TimeoutError, httpx.TimeoutException):
            return Answer(error="Timeout")
        except socket.gaierror:
            return Answer(error="NameNotFound")
        except (httpx.ConnectError, OSError) as error:
            return Answer(error="TlsFailed" if "certificate" in str(error).lower() else "ConnectFailed")
        except (httpx.HTTPError, httpx.InvalidURL):
            return Answer(error="NoAnswer")

    def trusts(self, url: str) -> bool:
        """Return whether the deployment itself names this address."""
        if url == self._settings.webhook_url:
            return True
        try:
            return origin_of(url) in self._settings.webhook_allowed_origins
        except ValueError:
            return False

    async def _post(
        self, url: str, target: Destination, headers: Mapping[str, str], body: bytes, *, trusted: bool
    ) -> Answer:
        client = self._own(url) if trusted else self._once
        if self._settings.webhook_proxy_url is not None:
            permitted(_literal(target), self._rules, trusted=trusted)
            return await _exchange(client, httpx.Request("POST", url, headers=headers, content=body))
        found = permitted(await self._addresses(target), self._rules, trusted=trusted)
        for address in found[: _ADDRESSES - 1]:
            try:
                return await _exchange(client, _pinned(url, target, address, headers, body))
            except (httpx.ConnectError, httpx.ConnectTimeout):
                if address == found[-1]:
                    raise
        return await _exchange(client, _pinned(url, target, found[-1], headers, body))

    async def _addresses(self, target: Destination) -> list[str]:
        return _literal(target) or await self._resolve(target.host, target.port)

    def _own(self, url: str) -> httpx.AsyncClient:
        # one for each origin: a connection whose certificate was checked for one host must not serve another's
        return self._kept.setdefault(origin_of(url), self._client(keep=True))

    def _client(self, *, keep: bool) -> httpx.AsyncClient:
        limits = httpx.Limits(max_keepalive_connections=None if keep else 0)
        timeout = httpx.Timeout(self._settings.webhook_timeout_seconds, connect=_CONNECT_SECONDS)
        proxy = self._settings.webhook_proxy_url
        return httpx.AsyncClient(
            verify=self._tls, trust_env=False, follow_redirects=False, limits=limits, timeout=timeout, proxy=proxy
        )


def _literal(target: Destination) -> list[str]:
    """Return the address that a URL names itself, without a name to resolve."""
    try:
        return [str(ip_address(target.host))]
    except ValueError:
        return []


def _pinned(url: str, target: Destination, address: str, headers: Mapping[str, str], body: bytes) -> httpx.Request:
    """Return the request to this very address; name and certificate stay those of the host."""
    given = httpx.URL(url)
    extensions = {"sni_hostname": target.host} if target.scheme == "https" else {}
    host = {"Host": given.netloc.decode("ascii")}
    return httpx.Request(
        "POST", given.copy_with(host=address), headers={**host, **headers}, content=body, extensions=extensions
    )


async def _exchange(client: httpx.AsyncClient, request: httpx.Request) -> Answer:
    response = await client.send(request, stream=True)
    try:
        await _skim(response)
    finally:
        await response.aclose()
    redirected = "Redirected" if 300 <= response.status_code < 400 else None
    return Answer(response.status_code, redirected, _seconds(response.headers.get("retry-after")))


async def _skim(response: httpx.Response) -> None:
    """Read a short body to its end; leave a long or slow one: the status has been said."""
    read = 0
    try:
        async with asyncio.timeout(_BODY_SECONDS):
            async for chunk in response.aiter_raw():
                read += len(chunk)
                if read > _BODY_LIMIT:
                    return
    except (TimeoutError, httpx.HTTPError):
        return


def _seconds(retry_after: str | None) -> float | None:
    """Return the seconds that a Retry-After header (RFC 9110) asks for."""
    if not retry_after:
        return None
    if re.fullmatch(r"[0-9]{1,9}", retry_after.strip()):
        return float(retry_after)
    try:
        moment = parsedate_to_datetime(retry_after)
    except ValueError:
        return None
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return max(0.0, (moment - datetime.now(UTC)).total_seconds())
