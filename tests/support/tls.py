"""TLS termination in front of a plain server, as of managed Redis services."""

import asyncio
import contextlib
import ssl
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from localcluster.certificates import Authority

_BLOCK = 65_536


@dataclass(frozen=True)
class TlsEndpoint:
    """Address of the TLS endpoint, and the authority that its clients must trust."""

    port: int
    authority: Path


@contextlib.contextmanager
def tls_before(port: int, folder: Path) -> Iterator[TlsEndpoint]:
    """Terminate TLS 1.2 or newer on a free local port, and forward to a plain port."""
    authority = Authority(folder / "authority")
    authority.create()
    pair = authority.for_server("localhost", ["127.0.0.1"], ["localhost"])
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pair.certificate, pair.key)
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    door = _Door(port)
    try:
        served = asyncio.run_coroutine_threadsafe(door.open(context), loop).result(10)
        yield TlsEndpoint(served, authority.certificate)
    finally:
        asyncio.run_coroutine_threadsafe(door.close(), loop).result(10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


class _Door:
    def __init__(self, port: int) -> None:
        self._port = port
        self._passing: set[asyncio.Task[None]] = set()

    async def open(self, context: ssl.SSLContext) -> int:
        self._server = await asyncio.start_server(self._enter, "127.0.0.1", 0, ssl=context)
        served: int = self._server.sockets[0].getsockname()[1]
        return served

    async def close(self) -> None:
        self._server.close()
        for task in self._passing:
            task.cancel()
        await asyncio.gather(*self._passing, return_exceptions=True)

    async def _enter(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.ensure_future(self._pass(reader, writer))
        self._passing.add(task)
        task.add_done_callback(self._passing.discard)

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        inner_reader, inner_writer = await asyncio.open_connection("127.0.0.1", self._port)
        try:
            await asyncio.wait(
                [
                    asyncio.ensure_future(_pump(reader, inner_writer)),
                    asyncio.ensure_future(_pump(inner_reader, writer)),
                ],
                return_when=asyncio.FIRST_COMPLETED,
            )
        finally:
            inner_writer.close()
            writer.close()


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError, ssl.SSLError):
        while block := await reader.read(_BLOCK):
            writer.write(block)
            await writer.drain()
