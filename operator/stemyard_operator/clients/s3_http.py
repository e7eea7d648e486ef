"""Reads and removals in a bucket over plain HTTP, by presigned links.

The S3 client of `objects` spends some 3 ms of CPU on a call, and a thread: many times what signing and sending it
takes. Calls that are made for every separation are made here; what is rare stays with the client.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final
from urllib.request import getproxies, proxy_bypass
from xml.etree import ElementTree

import aiohttp
from yarl import URL

from stemyard_operator.errors import ObjectStoreError, ObjectStoreRefusedError

CONNECT_SECONDS: Final = 5
READ_SECONDS: Final = 20
ATTEMPTS: Final = 3
_CONNECTIONS: Final = 16
_TIMEOUT: Final = aiohttp.ClientTimeout(total=READ_SECONDS, connect=CONNECT_SECONDS)
_RETRY_BASE: Final = 0.2
_NO_QUERY: Final[Mapping[str, str]] = MappingProxyType({})
_PASSING: Final = frozenset({429, 500, 502, 503, 504})

Sign = Callable[[str, str, Mapping[str, str]], Awaitable[str]]


@dataclass(frozen=True, slots=True)
class _Answer:
    status: int
    length: int
    content: bytes

    @property
    def code(self) -> str:
        """The store's own word for what went wrong; a HEAD has none."""
        try:
            found = ElementTree.fromstring(self.content).findtext("{*}Code")  # noqa: S314 - from the store that the deployment names
        except ElementTree.ParseError:
            found = None
        return found or str(self.status)


class BucketHttpClient:
    """One bucket. Calls raise StoreError when the store fails, after a few attempts with jitter.

    Args:
        name: of the bucket, for messages.
        sign: returns a link for a method at a key (empty for the bucket itself) with a query.
    """

    def __init__(self, name: str, sign: Sign) -> None:
        self._name = name
        self._sign = sign
        self._session: aiohttp.ClientSession | None = None
        self._proxy: str | None = None

    async def close(self) -> None:
        """Close all connections."""
        if self._session is not None:
            await self._session.close()

    async def get(self, key: str, limit: int) -> bytes | None:
        """Return an object, None where it is absent or longer than `limit` bytes."""
        answer = await self._call("GET", key, limit=limit)
        if answer is None or answer.length > limit:
            return None
        return answer.content

    async def size(self, key: str) -> int | None:
        """Return the bytes of an object, None where it is absent."""
        answer = await self._call("HEAD", key)
        return None if answer is None else answer.length

    async def sizes(self, prefix: str) -> dict[str, int]:
        """Return the bytes of all objects below a prefix, by key, in order."""
        found: dict[str, int] = {}
        query = {"list-type": "2", "prefix": prefix}
        while True:
            answer = await self._call("GET", "", query)
            if answer is None:
                return found
            page = ElementTree.fromstring(answer.content)  # noqa: S314 - from the store that the deployment names
            for one in page.findall("{*}Contents"):
                found[one.findtext("{*}Key", "")] = int(one.findtext("{*}Size", "0"))
            more = page.findtext("{*}NextContinuationToken")
            if not more:
                return dict(sorted(found.items()))
            query["continuation-token"] = more

    async def remove(self, key: str) -> None:
        """Remove an object; an absent one is fine."""
        await self._call("DELETE", key)

    async def _call(
        self, method: str, key: str, query: Mapping[str, str] = _NO_QUERY, limit: int = -1
    ) -> _Answer | None:
        """Return the answer, None where the store says that the key is absent."""
        for attempt in range(ATTEMPTS - 1):
            try:
                answer = await self._once(method, key, query, limit)
            except (aiohttp.ClientError, TimeoutError):
                answer = None
            if answer is not None and answer.status not in _PASSING:
                return self._checked(answer)
            await asyncio.sleep(random.uniform(0, _RETRY_BASE * 2**attempt))
        try:
            return self._checked(await self._once(method, key, query, limit))
        except (aiohttp.ClientError, TimeoutError) as error:
            raise ObjectStoreError(f"object store: {type(error).__name__}: {error}") from error

    async def _once(self, method: str, key: str, query: Mapping[str, str], limit: int) -> _Answer:
        link = URL(await self._sign(method, key, query), encoded=True)
        async with self._open(link).request(method, link, timeout=_TIMEOUT, proxy=self._proxy) as answer:
            length = answer.content_length or 0
            wanted = answer.status != 200 or limit < 0 or length <= limit
            return _Answer(answer.status, length, await answer.read() if wanted else b"")

    def _checked(self, answer: _Answer) -> _Answer | None:
        if answer.status < 300:
            return answer
        code = answer.code
        if code in {"NoSuchKey", "404"}:
            return None
        if answer.status == 403:
            raise ObjectStoreRefusedError(f"the object store refuses bucket R2_BUCKET={self._name}: {code}")
        raise ObjectStoreError(f"object store: {answer.status} {code}")

    def _open(self, link: URL) -> aiohttp.ClientSession:
        if self._session is None:
            self._proxy = _proxy_for(link)
            connector = aiohttp.TCPConnector(limit=_CONNECTIONS)
            self._session = aiohttp.ClientSession(connector=connector, cookie_jar=aiohttp.DummyCookieJar())
        return self._session


def _proxy_for(link: URL) -> str | None:
    """Return the deployment's proxy for the store, as the S3 client finds it; aiohttp would look anew at each call."""
    return None if proxy_bypass(link.host or "") else getproxies().get(link.scheme)
