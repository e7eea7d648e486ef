"""Reads and deletes objects of a bucket over HTTP by presigned links.

boto3 needs about 3 ms of CPU and a thread per call, many times what signing and sending take. Calls made for every
separation are made here; rare ones use boto3 in clients/s3.py.
"""

import asyncio
import random
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final
from urllib.request import getproxies, proxy_bypass

import aiohttp
from yarl import URL

from stemyard_operator.circuit_breaker import DependencyGuard
from stemyard_operator.clients.s3_listing import parse_page, parse_xml
from stemyard_operator.errors import ObjectStoreError, ObjectStoreRefusedError

CONNECT_SECONDS: Final = 5
READ_SECONDS: Final = 20
ATTEMPTS: Final = 3
_CONNECTIONS: Final = 16
_TIMEOUT: Final = aiohttp.ClientTimeout(total=READ_SECONDS, connect=CONNECT_SECONDS)
_RETRY_BASE: Final = 0.2
_NO_QUERY: Final[Mapping[str, str]] = MappingProxyType({})
_RETRYABLE_STATUSES: Final = frozenset({429, 500, 502, 503, 504})

Sign = Callable[[str, str, Mapping[str, str]], Awaitable[str]]


@dataclass(frozen=True, slots=True)
class _S3Response:
    status: int
    length: int
    content: bytes

    @property
    def code(self) -> str:
        """S3 error code, or the status if the body has none, as for HEAD."""
        root = parse_xml(self.content)
        return (None if root is None else root.findtext("{*}Code")) or str(self.status)


class BucketHttpClient:
    """One bucket. Calls raise ObjectStoreError if the store fails, after a few attempts with jitter.

    Args:
        name: name of the bucket, for messages.
        sign: returns a presigned link for a method, a key (empty for the bucket itself) and a query.
        guard: its circuit breaker.
        ca_file: PEM file of the CAs that verify the store, None for the system's.
    """

    def __init__(self, name: str, sign: Sign, guard: DependencyGuard, ca_file: str | None = None) -> None:
        self._ca_file = ca_file
        self._guard = guard
        self._name = name
        self._sign = sign
        self._session: aiohttp.ClientSession | None = None
        self._proxy: str | None = None

    async def close(self) -> None:
        """Close all connections."""
        if self._session is not None:
            await self._session.close()

    async def get(self, key: str, limit: int) -> bytes | None:
        """Return an object; None if it is absent or longer than `limit` bytes."""
        response = await self._call("GET", key, limit=limit)
        if response is None or response.length > limit:
            return None
        return response.content

    async def size(self, key: str) -> int | None:
        """Return the size of an object in bytes; None if it is absent."""
        response = await self._call("HEAD", key)
        return None if response is None else response.length

    async def pages(self, prefix: str) -> AsyncIterator[dict[str, int]]:
        """Yield the sizes in bytes of all objects below a prefix, by key, page by page."""
        query, tokens = {"list-type": "2", "prefix": prefix}, set[str]()
        while True:
            response = await self._call("GET", "", query)
            if response is None:
                raise ObjectStoreError(f"object store: a listing of {prefix} is answered by 404")
            page = parse_page(response.content, prefix)
            yield page.sizes
            if page.token is None:
                return
            if page.token in tokens:
                raise ObjectStoreError(f"object store: a listing of {prefix} repeats a continuation token")
            tokens.add(page.token)
            query["continuation-token"] = page.token

    async def remove(self, key: str) -> None:
        """Delete an object; succeed if it is absent."""
        await self._call("DELETE", key)

    async def _call(
        self, method: str, key: str, query: Mapping[str, str] = _NO_QUERY, limit: int = -1
    ) -> _S3Response | None:
        """Return the response; None if the key is absent."""
        with self._guard.call():
            return await self._retry(method, key, query, limit)

    async def _retry(self, method: str, key: str, query: Mapping[str, str], limit: int) -> _S3Response | None:
        for attempt in range(ATTEMPTS - 1):
            try:
                response = await self._send(method, key, query, limit)
            except (aiohttp.ClientError, TimeoutError):
                response = None
            if response is not None and response.status not in _RETRYABLE_STATUSES:
                return self._checked(response)
            await asyncio.sleep(random.uniform(0, _RETRY_BASE * 2**attempt))
        try:
            return self._checked(await self._send(method, key, query, limit))
        except (aiohttp.ClientError, TimeoutError) as error:
            raise ObjectStoreError(f"object store: {type(error).__name__}: {error}") from error

    async def _send(self, method: str, key: str, query: Mapping[str, str], limit: int) -> _S3Response:
        link = URL(await self._sign(method, key, query), encoded=True)
        async with self._open(link).request(method, link, timeout=_TIMEOUT, proxy=self._proxy) as response:
            length = response.content_length or 0
            fits = response.status != 200 or limit < 0 or length <= limit
            return _S3Response(response.status, length, await response.read() if fits else b"")

    def _checked(self, response: _S3Response) -> _S3Response | None:
        if response.status < 300:
            return response
        code = response.code
        if code in {"NoSuchKey", "404"}:
            return None
        if response.status == 403:
            raise ObjectStoreRefusedError(f"the object store refuses bucket R2_BUCKET={self._name}: {code}")
        raise ObjectStoreError(f"object store: {response.status} {code}")

    def _open(self, link: URL) -> aiohttp.ClientSession:
        if self._session is None:
            self._proxy = _proxy_for(link)
            tls = ssl.create_default_context(cafile=self._ca_file) if self._ca_file else True
            connector = aiohttp.TCPConnector(limit=_CONNECTIONS, ssl=tls)
            self._session = aiohttp.ClientSession(connector=connector, cookie_jar=aiohttp.DummyCookieJar())
        return self._session


def _proxy_for(link: URL) -> str | None:
    """Return the proxy from the environment, as boto3 finds it; aiohttp would look it up at each call."""
    return None if proxy_bypass(link.host or "") else getproxies().get(link.scheme)
