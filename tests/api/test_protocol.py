"""Head and body of an answer leave together, and nothing else of HTTP/1.1 is another."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, cast

import pytest
import uvicorn
from starlette.types import Receive, Scope, Send

from stemyard_api.protocol import CoalescingTransport, Protocol


class Recorded:
    """A transport that keeps every write."""

    def __init__(self) -> None:
        self.writes: list[bytes] = []

    def write(self, data: bytes) -> None:
        self.writes.append(data)

    def close(self) -> None:
        self.writes.append(b"closed")


@pytest.fixture
def recorded() -> Recorded:
    return Recorded()


def joined(recorded: Recorded) -> CoalescingTransport:
    return CoalescingTransport(cast(asyncio.Transport, recorded), asyncio.get_running_loop())


async def test_head_and_body_leave_together(recorded: Recorded) -> None:
    transport = joined(recorded)
    for body in (b"one", b"two"):
        transport.write(b"HTTP/1.1 200 OK\r\n\r\n")
        transport.write(body)
    await asyncio.sleep(0)
    assert recorded.writes == [b"HTTP/1.1 200 OK\r\n\r\none", b"HTTP/1.1 200 OK\r\n\r\ntwo"]


async def test_a_head_without_a_body_waits_for_nothing(recorded: Recorded) -> None:
    transport = joined(recorded)
    transport.write(b"HTTP/1.1 200 OK\r\n\r\n")
    assert recorded.writes == []
    await asyncio.sleep(0)
    assert recorded.writes == [b"HTTP/1.1 200 OK\r\n\r\n"]
    transport.write(b"later")
    assert recorded.writes[1:] == [b"later"]


async def test_closing_loses_nothing(recorded: Recorded) -> None:
    transport = joined(recorded)
    transport.write(b"HTTP/1.1 204 No Content\r\n\r\n")
    transport.close()
    await asyncio.sleep(0)
    assert recorded.writes == [b"HTTP/1.1 204 No Content\r\n\r\n", b"closed"]


async def answer(scope: Scope, receive: Receive, send: Send) -> None:
    """Say what was asked; after a pause, where that is what was asked for."""
    asked = (await receive())["body"] or scope["path"].encode()
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % len(asked))]})
    if scope["path"] == "/slow":
        await RELEASED.wait()
    await send({"type": "http.response.body", "body": asked})


RELEASED = asyncio.Event()


@asynccontextmanager
async def connection() -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """A connection to uvicorn, serving as the API does."""
    config = uvicorn.Config(answer, http=Protocol, log_config=None, access_log=False, server_header=False)
    config.load()
    state = uvicorn.server.ServerState()

    def protocol() -> asyncio.Protocol:
        return cast(Any, config.http_protocol_class)(config=config, server_state=state, app_state={})  # type: ignore[no-any-return] # its type is not told

    server = await asyncio.get_running_loop().create_server(protocol, "127.0.0.1", 0)
    reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
    try:
        yield reader, writer
    finally:
        writer.close()
        server.close()
        await server.wait_closed()


async def told(reader: asyncio.StreamReader, length: int) -> tuple[bytes, bytes]:
    head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 5)
    return head.split(b"\r\n")[0], await asyncio.wait_for(reader.readexactly(length), 5)


async def test_requests_that_come_together_are_answered_in_turn() -> None:
    async with connection() as (reader, writer):
        writer.write(b"GET /one HTTP/1.1\r\nHost: a\r\n\r\nGET /two HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        assert await told(reader, 4) == (b"HTTP/1.1 200 OK", b"/one")
        assert await told(reader, 4) == (b"HTTP/1.1 200 OK", b"/two")
        assert await asyncio.wait_for(reader.read(), 5) == b""


async def test_the_head_of_a_slow_answer_comes_at_once() -> None:
    RELEASED.clear()
    async with connection() as (reader, writer):
        writer.write(b"GET /slow HTTP/1.1\r\nHost: a\r\n\r\n")
        assert (await told(reader, 0))[0] == b"HTTP/1.1 200 OK"
        RELEASED.set()
        assert await asyncio.wait_for(reader.readexactly(5), 5) == b"/slow"


async def test_a_client_that_waits_to_be_asked_for_its_body_is_asked() -> None:
    async with connection() as (reader, writer):
        writer.write(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n")
        assert await told(reader, 0) == (b"HTTP/1.1 100 Continue", b"")
        writer.write(b"body")
        assert await told(reader, 4) == (b"HTTP/1.1 200 OK", b"body")
