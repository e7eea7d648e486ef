"""Head and body of a response are sent together, upgrades are ignored, and HTTP/1.1 is otherwise unchanged."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, cast

import pytest
import uvicorn
from starlette.types import Receive, Scope, Send

from stemyard_api.connections import ConnectionLimits, Connections
from stemyard_api.protocol import CoalescingTransport, Protocol


class Recorded:
    """A transport that records every write."""

    def __init__(self) -> None:
        self.writes: list[bytes] = []
        self.closing = False

    def is_closing(self) -> bool:
        return self.closing

    def write(self, data: bytes) -> None:
        self.writes.append(data)

    def close(self) -> None:
        self.writes.append(b"closed")


@pytest.fixture
def recorded() -> Recorded:
    return Recorded()


def joined(recorded: Recorded) -> CoalescingTransport:
    return CoalescingTransport(cast(asyncio.Transport, recorded), asyncio.get_running_loop())


async def test_head_and_body_are_sent_together(recorded: Recorded) -> None:
    transport = joined(recorded)
    for body in (b"one", b"two"):
        transport.write(b"HTTP/1.1 200 OK\r\n\r\n")
        transport.write(body)
    await asyncio.sleep(0)
    assert recorded.writes == [b"HTTP/1.1 200 OK\r\n\r\none", b"HTTP/1.1 200 OK\r\n\r\ntwo"]


async def test_a_head_without_a_body_is_sent_at_once(recorded: Recorded) -> None:
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


async def test_nothing_is_written_to_a_connection_that_is_closing(recorded: Recorded) -> None:
    transport = joined(recorded)
    transport.write(b"HTTP/1.1 200 OK\r\n\r\n")
    recorded.closing = True  # uvloop raises an error on a write
    transport.write(b"body")
    transport.write(b"HTTP/1.1 200 OK\r\n\r\n")
    await asyncio.sleep(0)
    assert recorded.writes == []


async def answer(scope: Scope, receive: Receive, send: Send) -> None:
    """Respond with the request's body, else its path; `/slow` sends the body after a pause."""
    parts = [message := await receive()]
    while message["more_body"]:
        parts.append(message := await receive())
    body = b"".join(part["body"] for part in parts) or scope["path"].encode()
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % len(body))]})
    if scope["path"] == "/slow":
        await RELEASED.wait()
    await send({"type": "http.response.body", "body": body})


RELEASED = asyncio.Event()


@asynccontextmanager
async def serving(
    limits: ConnectionLimits | None = None, app: Any = answer
) -> AsyncIterator[tuple[int, set[Protocol]]]:
    """The port of uvicorn, serving as the API does, and its open connections."""
    made = cast(Any, partial(Protocol, Connections(limits or ConnectionLimits())))
    config = uvicorn.Config(app, http=made, ws="none", log_config=None, access_log=False, server_header=False)
    config.load()
    state = uvicorn.server.ServerState()

    def protocol() -> asyncio.Protocol:
        return cast(Any, config.http_protocol_class)(config=config, server_state=state, app_state={})  # type: ignore[no-any-return] # its type is not told

    server = await asyncio.get_running_loop().create_server(protocol, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1], cast(set[Protocol], state.connections)
    finally:
        server.close()
        await server.wait_closed()


@asynccontextmanager
async def connection() -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """A connection to it."""
    async with serving() as (port, _):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        try:
            yield reader, writer
        finally:
            writer.close()


async def told(reader: asyncio.StreamReader, length: int) -> tuple[bytes, bytes]:
    head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 5)
    return head.split(b"\r\n")[0], await asyncio.wait_for(reader.readexactly(length), 5)


async def test_pipelined_requests_are_answered_in_order() -> None:
    async with connection() as (reader, writer):
        writer.write(b"GET /one HTTP/1.1\r\nHost: a\r\n\r\nGET /two HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        assert await told(reader, 4) == (b"HTTP/1.1 200 OK", b"/one")
        assert await told(reader, 4) == (b"HTTP/1.1 200 OK", b"/two")
        assert await asyncio.wait_for(reader.read(), 5) == b""


async def test_a_client_that_leaves_is_noticed_by_the_request_that_is_answered() -> None:
    seen: list[str] = []

    async def wait(_scope: Scope, receive: Receive, send: Send) -> None:
        seen.append((await receive())["type"])
        await send({"type": "http.response.start", "status": 200, "headers": []})
        seen.append((await receive())["type"])

    async with serving(app=wait) as (port, connections):
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET /one HTTP/1.1\r\nHost: a\r\n\r\nGET /two HTTP/1.1\r\nHost: a\r\n\r\n")
        while not seen:  # noqa: ASYNC110 - of the app
            await asyncio.sleep(0.01)
        writer.transport.abort()
        async with asyncio.timeout(5):
            while connections or len(seen) < 2:  # noqa: ASYNC110 - uvicorn's set
                await asyncio.sleep(0.01)
    assert seen == ["http.request", "http.disconnect"]


async def test_the_head_of_a_slow_response_is_sent_at_once() -> None:
    RELEASED.clear()
    async with connection() as (reader, writer):
        writer.write(b"GET /slow HTTP/1.1\r\nHost: a\r\n\r\n")
        assert (await told(reader, 0))[0] == b"HTTP/1.1 200 OK"
        RELEASED.set()
        assert await asyncio.wait_for(reader.readexactly(5), 5) == b"/slow"


async def test_expect_100_continue_is_answered() -> None:
    async with connection() as (reader, writer):
        writer.write(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n")
        assert await told(reader, 0) == (b"HTTP/1.1 100 Continue", b"")
        writer.write(b"body")
        assert await told(reader, 4) == (b"HTTP/1.1 200 OK", b"body")


H2C = b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAEAAEAAAAIAAAAB\r\n"
WEBSOCKET = b"Connection: keep-alive, upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: bm9uY2U=\r\n"
LENGTH = b"Content-Length: 4\r\n\r\nbody"
CHUNKED = b"Transfer-Encoding: chunked\r\n\r\n2\r\nbo\r\n2\r\ndy\r\n0\r\n\r\n"


@pytest.mark.parametrize("step", [1, 7, 1000])
@pytest.mark.parametrize("body", [LENGTH, CHUNKED])
@pytest.mark.parametrize("offer", [H2C, WEBSOCKET])
async def test_an_offered_upgrade_is_ignored(offer: bytes, body: bytes, step: int) -> None:
    request = b"POST /up?a=b HTTP/1.1\r\nHost: a\r\n" + offer + body
    sent = request + b"GET /next HTTP/1.1\r\nHost: a\r\n" + offer + b"\r\n"
    async with connection() as (reader, writer):
        for start in range(0, len(sent), step):
            writer.write(sent[start : start + step])
            await asyncio.sleep(0)
        assert await told(reader, 4) == (b"HTTP/1.1 200 OK", b"body")
        assert await told(reader, 5) == (b"HTTP/1.1 200 OK", b"/next")


async def headers(scope: Scope, receive: Receive, send: Send) -> None:
    """Respond with the headers of the request, once its body has arrived."""
    while (await receive())["more_body"]:
        pass
    body = b" ".join(name + b"=" + value for name, value in scope["headers"])
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % len(body))]})
    await send({"type": "http.response.body", "body": body})


@pytest.mark.parametrize("step", [1, 1000])
@pytest.mark.parametrize("offer", [b"", H2C])
async def test_trailers_are_not_headers(offer: bytes, step: int) -> None:
    request = b"POST / HTTP/1.1\r\nHost: a\r\n" + offer + CHUNKED[:-2] + b"Host: b\r\nX-API-Key: other\r\n\r\n"
    sent = request + b"GET / HTTP/1.1\r\nHost: c\r\nX-Next: d\r\n\r\n"
    async with serving(app=headers) as (port, _):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for start in range(0, len(sent), step):
            writer.write(sent[start : start + step])
            await asyncio.sleep(0)
        head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 5)
        length = int(head.split(b"content-length: ")[1].split(b"\r\n")[0])
        first = await asyncio.wait_for(reader.readexactly(length), 5)
        assert first.startswith(b"host=a")
        assert b"other" not in first
        assert b"host=b" not in first
        assert await told(reader, 15) == (b"HTTP/1.1 200 OK", b"host=c x-next=d")
        writer.close()


async def test_close_beside_an_upgrade_closes() -> None:
    async with connection() as (reader, writer):
        writer.write(b"POST / HTTP/1.1\r\nHost: a\r\nConnection: upgrade, close\r\nUpgrade: h2c\r\n" + LENGTH)
        assert await told(reader, 4) == (b"HTTP/1.1 200 OK", b"body")
        assert await asyncio.wait_for(reader.read(), 5) == b""


async def test_a_tunnel_is_refused() -> None:
    async with connection() as (reader, writer):
        writer.write(b"CONNECT a:443 HTTP/1.1\r\nHost: a\r\n\r\n")
        assert (await told(reader, 0))[0] == b"HTTP/1.1 400 Bad Request"


NO_HOST = {
    "no Host": b"",
    "two": b"Host: a\r\nHost: a\r\n",
    "two with an offered upgrade": b"Host: a\r\nHost: b\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n",
    "a list": b"Host: a, b.example\r\n",
    "a path": b"Host: a/b\r\n",
    "a user": b"Host: user@a\r\n",
    "a port that is no number": b"Host: a:http\r\n",
    "an open bracket": b"Host: [::1\r\n",
    "a space": b"Host: a b\r\n",
    "longer than names can be": b"Host: " + b"a" * 301 + b"\r\n",
    "no ASCII": "Host: ä\r\n".encode(),
}


@pytest.mark.parametrize("headers", NO_HOST.values(), ids=NO_HOST)
async def test_a_request_without_exactly_one_host_is_refused(headers: bytes) -> None:
    async with connection() as (reader, writer):
        writer.write(b"GET / HTTP/1.1\r\n" + headers + b"\r\nGET /next HTTP/1.1\r\nHost: a\r\n\r\n")
        response = await asyncio.wait_for(reader.read(), 5)
        assert response.startswith(b"HTTP/1.1 400 Bad Request")
        assert b"Host" in response
        assert response.count(b"HTTP/1.1") == 1


@pytest.mark.parametrize("host", [b"", b"a_b.example", b"a:5500", b"a:", b"127.0.0.1", b"[::1]:5500", b"a%20b"])
async def test_any_host_is_taken(host: bytes) -> None:
    async with connection() as (reader, writer):
        writer.write(b"GET / HTTP/1.1\r\nHost: " + host + b"\r\n\r\n")
        assert await told(reader, 1) == (b"HTTP/1.1 200 OK", b"/")


async def test_http_1_0_needs_no_host() -> None:
    async with connection() as (reader, writer):
        writer.write(b"GET / HTTP/1.0\r\n\r\n")
        assert (await told(reader, 1))[1] == b"/"
