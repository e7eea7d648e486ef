"""A minimal asyncio client of the API server: JSON requests, and watches that restart on errors."""

import asyncio
import json
import ssl
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import aiohttp

Document = dict[str, Any]
MERGE = "application/merge-patch+json"


@dataclass(frozen=True)
class Access:
    """Address and client certificate for the API server; passed to other processes as JSON."""

    server: str
    authority: str
    certificate: str
    key: str


class RefusedError(RuntimeError):
    def __init__(self, status: int, text: str) -> None:
        super().__init__(f"{status}: {text[:300]}")
        self.status = status


class Client:
    """An API client; an asynchronous context manager."""

    def __init__(self, access: Access) -> None:
        self._access = access

    async def __aenter__(self) -> "Client":
        context = ssl.create_default_context(cafile=self._access.authority)
        context.load_cert_chain(self._access.certificate, self._access.key)
        connector = aiohttp.TCPConnector(ssl=context, limit=64)
        self._session = aiohttp.ClientSession(self._access.server, connector=connector, read_bufsize=2**22)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._session.close()

    async def call(
        self, method: str, path: str, body: object = None, kind: str = "application/json", **query: str
    ) -> Document:
        headers = {"Content-Type": kind} if body is not None else {}
        content = json.dumps(body) if body is not None else None
        async with self._session.request(method, path, data=content, headers=headers, params=query) as response:
            text = await response.text()
            if response.status >= 300:
                raise RefusedError(response.status, text)
            return dict(json.loads(text))

    async def merge(self, path: str, body: object) -> Document:
        return await self.call("PATCH", path, body, MERGE)

    async def watch(self, path: str, **query: str) -> AsyncIterator[tuple[str, Document]]:
        """Yield existing objects as ADDED, then events, indefinitely; after a disconnect it lists again."""
        while True:
            listed = await self.call("GET", path, **query)
            for item in listed["items"]:
                yield "ADDED", item
            version = listed["metadata"]["resourceVersion"]
            more = {**query, "watch": "1", "resourceVersion": version, "timeoutSeconds": "3000"}
            try:
                async with self._session.get(path, params=more, timeout=aiohttp.ClientTimeout(total=None)) as response:
                    async for line in response.content:
                        event = json.loads(line)
                        if event["type"] == "ERROR":
                            break
                        yield event["type"], event["object"]
            except aiohttp.ClientError:
                await asyncio.sleep(0.2)
