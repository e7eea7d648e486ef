"""Serves a web application of this process, with few connections of one address."""

import asyncio
import ssl
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from aiohttp import web

_SHUTDOWN_SECONDS: Final = 5.0
CONNECTIONS_PER_ADDRESS: Final = 512
"""A separator needs a few; an address may be that of a node with many pods."""
_CONNECTIONS: Final = 4096
"""Of all addresses: each costs a file descriptor, and 6 KB of memory, by TLS 12."""


class _Connections:
    """Closes connections beyond a number, of one address and of all; aiohttp has no limit of its own."""

    def __init__(self, server: web.Server) -> None:
        self._made, self._lost = server.connection_made, server.connection_lost
        self._peers: dict[web.RequestHandler, str] = {}
        self._counts: Counter[str] = Counter()
        server.connection_made = self._on_made  # type: ignore[method-assign]
        server.connection_lost = self._on_lost  # type: ignore[method-assign]

    def _on_made(self, handler: web.RequestHandler, transport: asyncio.Transport) -> None:
        self._made(handler, transport)
        peer = str((transport.get_extra_info("peername") or ("",))[0])
        self._peers[handler] = peer
        self._counts[peer] += 1
        if self._counts[peer] > CONNECTIONS_PER_ADDRESS or len(self._peers) > _CONNECTIONS:
            transport.abort()

    def _on_lost(self, handler: web.RequestHandler, exc: BaseException | None = None) -> None:
        self._lost(handler, exc)
        peer = self._peers.pop(handler, None)
        if peer is not None:
            self._counts[peer] -= 1
            self._counts += Counter()  # which drops those at zero


@asynccontextmanager
async def serving(application: web.Application, port: int, tls: ssl.SSLContext | None = None) -> AsyncIterator[None]:
    """Serve an application on all addresses, by TLS if given, while the block runs; requests in flight may finish."""
    runner = web.AppRunner(application, access_log=None, shutdown_timeout=_SHUTDOWN_SECONDS)
    await runner.setup()
    if runner.server is not None:  # as it is after setup
        _Connections(runner.server)
    try:
        await web.TCPSite(runner, port=port, ssl_context=tls).start()
        await asyncio.sleep(0)
        yield
    finally:
        await runner.cleanup()
