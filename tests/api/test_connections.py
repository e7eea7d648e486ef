"""Limits of connections: sizes, times and numbers."""

import asyncio
import json
import resource
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack, asynccontextmanager
from ipaddress import ip_network
from pathlib import Path

import httpx
import pytest
from starlette.types import Receive, Scope, Send

from stemyard_api.connections import PIPELINE_LIMIT, UNFINISHED_BYTES, ConnectionLimits, Connections
from stemyard_api.protocol import Protocol
from tests.api.test_protocol import LENGTH, answer, serving, told
from tests.support.servers import Api, api_process

GET = b"GET / HTTP/1.1\r\nHost: a\r\n"
KIB = 1024


class Client:
    """One connection, from both ends."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, server: Protocol) -> None:
        self.reader, self._writer, self.server = reader, writer, server

    async def send(self, data: bytes) -> None:
        self._writer.write(data)
        await asyncio.sleep(0.05)  # until it has arrived

    def expire(self, seconds: float) -> None:
        self.server.expire(asyncio.get_running_loop().time() + seconds)

    async def everything(self) -> bytes:
        """Return all that is left to read, once the server has closed the connection."""
        return await asyncio.wait_for(self.reader.read(), 5)


@asynccontextmanager
async def client(limits: ConnectionLimits | None = None, **options: object) -> AsyncIterator[Client]:
    async with serving(limits, **options) as (port, connections):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        while not connections:  # noqa: ASYNC110 - uvicorn's set
            await asyncio.sleep(0)
        try:
            yield Client(reader, writer, next(iter(connections)))
        finally:
            writer.close()


def check_refusal(response: bytes, status: int, code: str) -> None:
    head, _, body = response.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 %d " % status)
    assert b"content-type: application/problem+json" in head
    assert b"connection: close" in head
    assert json.loads(body)["code"] == code


LARGE = {
    "one header": [GET + b"A: " + b"a" * 65 * KIB],
    "a URL": [b"GET /" + b"a" * 65 * KIB],
    "complete headers": [GET + b"".join(b"A%d: %s\r\n" % (number, b"a" * KIB) for number in range(65)) + b"\r\n"],
    "many headers": [GET + b"A: a\r\n" * 101 + b"\r\n"],
    "in parts": [GET + b"A: ", *[b"a" * KIB] * 65],
}


@pytest.mark.parametrize("parts", LARGE.values(), ids=LARGE.keys())
async def test_large_headers_are_refused(parts: list[bytes]) -> None:
    async with client() as one:
        await one.send(b"")
        for part in parts:
            one._writer.write(part)
        check_refusal(await one.everything(), 431, "HEADERS_TOO_LARGE")


async def test_headers_up_to_the_limit_pass() -> None:
    async with client() as one:
        await one.send(GET + b"A: " + b"a" * 60 * KIB + b"\r\n" + b"B: b\r\n" * 90 + b"\r\n")
        assert await told(one.reader, 1) == (b"HTTP/1.1 200 OK", b"/")
        await one.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 204800\r\n\r\n" + b"a" * 204800)
        assert await told(one.reader, 204800) == (b"HTTP/1.1 200 OK", b"a" * 204800)


@pytest.mark.parametrize("sent", [b"G", GET, GET + b"A: a\r\n", GET + b"Content-Length: 4\r\n\r\nbo"])
async def test_an_unfinished_request_is_ended(sent: bytes) -> None:
    async with client() as one:
        await one.send(sent)
        one.expire(19)
        await one.send(b"")
        assert not one.server.transport.is_closing()
        one.expire(31)
        check_refusal(await one.everything(), 408, "REQUEST_TIMEOUT")


async def test_trickling_does_not_extend_the_time() -> None:
    async with client(ConnectionLimits(header_seconds=0.2)) as one:
        await one.send(GET)
        for _ in range(5):
            await one.send(b"A: a\r\n")
        one.expire(0)
        check_refusal(await one.everything(), 408, "REQUEST_TIMEOUT")


@pytest.mark.parametrize("used", [False, True])
@pytest.mark.parametrize("sent", [b"", b"\r\n\r\n"])
async def test_an_idle_connection_is_closed(used: bool, sent: bytes) -> None:
    async with client() as one:
        if used:
            await one.send(GET + b"\r\n")
            await told(one.reader, 1)
        await one.send(sent)
        one.expire(74)
        assert not one.server.transport.is_closing()
        one.expire(76)
        assert await one.everything() == b""


async def test_a_response_under_way_has_no_time_limit() -> None:
    ready = asyncio.Event()

    async def slow(scope: Scope, receive: Receive, send: Send) -> None:
        await ready.wait()
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    async with client(app=slow) as one:
        await one.send(GET + LENGTH)
        one.expire(86400)
        ready.set()
        assert (await told(one.reader, 0))[0] == b"HTTP/1.1 204 No Content"


async def test_a_client_that_does_not_read_is_ended() -> None:
    async def endless(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        while not gone.is_set():
            await send({"type": "http.response.body", "body": b"a" * 65536, "more_body": True})

    gone = asyncio.Event()
    async with client(app=endless) as one:
        await one.send(GET + b"\r\n")
        one.expire(59)
        assert not one.server.transport.is_closing()
        gone.set()
        one.expire(61)
        await one.send(b"")
        assert one.server.transport.is_closing()


async def test_an_early_response_does_not_keep_an_unfinished_body() -> None:
    async def hasty(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 401, "headers": [(b"content-length", b"0")]})
        await send({"type": "http.response.body", "body": b""})

    async with client(app=hasty) as one:
        await one.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\nbo")
        assert (await told(one.reader, 0))[0] == b"HTTP/1.1 401 Unauthorized"
        one.expire(31)
        assert await one.everything() == b""


async def test_a_refused_request_holds_no_memory() -> None:
    async def idle(scope: Scope, receive: Receive, send: Send) -> None:
        await asyncio.Event().wait()

    async with client(app=idle) as one:
        await one.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\nbody")
        cycle = one.server.cycle
        assert cycle.body == b"body"
        one.expire(31)
        assert not cycle.body
        assert cycle.disconnected
        check_refusal(await one.everything(), 408, "REQUEST_TIMEOUT")


@pytest.mark.parametrize("offer", [b"", b"Connection: Upgrade\r\nUpgrade: h2c\r\n"])
async def test_of_too_many_pipelined_requests_the_first_are_answered(offer: bytes) -> None:
    released = asyncio.Event()

    async def slow(scope: Scope, receive: Receive, send: Send) -> None:
        await released.wait()
        await answer(scope, receive, send)

    async with client(app=slow) as one:
        for _ in range(3):
            await one.send((GET + offer + b"\r\n") * 100)
        one.expire(31)  # what was not taken is no request that takes too long
        released.set()
        responses = (await one.everything()).split(b"HTTP/1.1 200 OK")[1:]
        assert len(responses) == PIPELINE_LIMIT + 1
        # the client learns that the others were not taken (RFC 9112, 9.6)
        assert [b"connection: close" in response for response in responses] == [False] * PIPELINE_LIMIT + [True]


@pytest.mark.parametrize(
    ("limits", "room"),
    [
        (ConnectionLimits(), UNFINISHED_BYTES // 4),
        (ConnectionLimits(per_address=0), UNFINISHED_BYTES),
        (ConnectionLimits(proxies=(ip_network("127.0.0.0/8"),)), UNFINISHED_BYTES),
    ],
    ids=["of one address", "of any", "of a proxy"],
)
async def test_unfinished_requests_are_limited_together(limits: ConnectionLimits, room: int) -> None:
    async with serving(limits) as (port, connections):
        opened = []
        for _ in range(room // (60 * KIB) + 1):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            opened.append(writer)
            writer.write(GET + b"A: " + b"a" * 60 * KIB)
            await writer.drain()
        check_refusal(await asyncio.wait_for(reader.read(), 5), 503, "UNAVAILABLE")
        for writer in opened:
            writer.close()
        while connections:  # noqa: ASYNC110 - uvicorn's set
            await asyncio.sleep(0.01)
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(GET + b"\r\n")
        assert (await told(reader, 1))[0] == b"HTTP/1.1 200 OK"
        writer.close()


@pytest.mark.parametrize("limits", [ConnectionLimits(total=2), ConnectionLimits(per_address=2)])
async def test_connections_are_limited(limits: ConnectionLimits) -> None:
    async with serving(limits) as (port, _):
        opened = [await asyncio.open_connection("127.0.0.1", port) for _ in range(3)]
        check_refusal(await asyncio.wait_for(opened[2][0].read(), 5), 503, "UNAVAILABLE")
        opened[0][1].close()
        opened[2][1].close()
        await asyncio.sleep(0.05)
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(GET + b"\r\n")
        assert (await told(reader, 1))[0] == b"HTTP/1.1 200 OK"
        writer.close()
        opened[1][1].close()


def test_unfinished_requests_of_one_address_leave_room_for_others() -> None:
    connections = Connections(ConnectionLimits())
    quarter = UNFINISHED_BYTES // 4
    assert connections.hold("2001:db8::1", quarter)
    assert not connections.hold("2001:db8::2", 1)  # the same customer
    assert connections.hold("10.0.0.1", quarter)
    connections.hold("2001:db8::2", -1)
    connections.hold("2001:db8::1", -quarter)
    assert connections.hold("2001:db8::2", quarter)
    assert connections.hold("10.0.0.2", quarter)
    assert connections.hold("10.0.0.3", quarter)
    assert not connections.hold("10.0.0.4", 1)  # in all


def test_one_customer_of_ipv6_has_many_addresses() -> None:
    connections = Connections(ConnectionLimits(per_address=1))
    assert connections.opened("2001:db8::1")
    assert not connections.opened("2001:db8::2")
    assert connections.opened("2001:db8:0:1::1")


def test_a_proxy_has_no_limit_of_its_own() -> None:
    limits = ConnectionLimits(per_address=1, total=3, proxies=(ip_network("10.0.0.0/8"),))
    connections = Connections(limits)
    assert [connections.opened("10.1.2.3") for _ in range(4)] == [True, True, True, False]


ENVIRONMENT = {"STEMYARD_INSTALL_ID": "main", "STEMYARD_NAMESPACE": "stemyard"}
POST = b"POST /separate-audio HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: 1000000\r\n"


def flood(port: int, parts: Iterator[bytes]) -> socket.socket:
    """Open a connection and send until all is sent or the server closes it."""
    opened = socket.create_connection(("127.0.0.1", port), timeout=5)
    try:
        for part in parts:
            opened.sendall(part)
    except OSError:
        pass
    return opened


def repeated(first: bytes, part: bytes, times: int) -> Callable[[], Iterator[bytes]]:
    def parts() -> Iterator[bytes]:
        yield first
        for _ in range(times):
            yield part

    return parts


CHUNKED = b"POST /batch HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n"

ATTACKS = {
    "106 MiB of small headers": (1, repeated(GET, b"a:\r\n" * 32768, 848)),
    "a header of 64 MiB": (1, repeated(GET + b"A: ", b"a" * 131072, 512)),
    "a URL of 64 MiB": (1, repeated(b"GET /", b"a" * 131072, 512)),
    "106 MiB of small trailers": (1, repeated(CHUNKED + b"0\r\n", b"a:\r\n" * 32768, 848)),
    "trailers of 64 MiB": (1, repeated(CHUNKED + b"0\r\nA: ", b"a" * 131072, 512)),
    "a chunk extension of 64 MiB": (1, repeated(CHUNKED + b"2;", b"a" * 131072, 512)),
    "idle connections": (2000, repeated(b"", b"", 0)),
    "half headers": (2000, repeated(GET + b"A: ", b"a" * 60 * KIB, 1)),
    "many half headers": (2000, repeated(GET, b"a:\r\n" * 99, 1)),
    "half bodies": (2000, repeated(POST + b"\r\n", b"a" * 60 * KIB, 1)),
    "half bodies with a key": (2000, repeated(POST + b"X-API-Key: hunter2\r\n\r\n", b"a" * 60 * KIB, 1)),
    "pipelined requests": (50, repeated(b"", (GET + b"\r\n") * 7000, 4)),
    "responses that nobody reads": (50, repeated(b"", b"GET /openapi.json HTTP/1.1\r\nHost: a\r\n\r\n", 1000)),
}


@pytest.mark.parametrize("name", ATTACKS)
def test_memory_is_bounded(nowhere: str, tmp_path: Path, name: str) -> None:
    count, parts = ATTACKS[name]
    allowed, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    try:
        with (
            api_process(
                tmp_path,
                {**ENVIRONMENT, "MAX_CONNECTIONS_PER_ADDRESS": "0", "RATE_LIMIT_SUBMITS_PER_MINUTE": "0"},
                "hunter2",
            ) as api,
            ExitStack() as opened,
        ):
            for _ in range(count):
                opened.enter_context(flood(api.server.port, parts()))
            assert httpx.get(f"{api.url}/livez", timeout=30).status_code == 200
            used = peak(api)
            print(f"{name}: at most {used:.0f} MiB")
            assert used < 200
            assert "Traceback" not in api.server.log.read_text()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, most))


def peak(api: Api) -> float:
    """Return the maximum resident memory of a process in MiB."""
    assert api.server.process is not None
    lines = Path(f"/proc/{api.server.process.pid}/status").read_text().splitlines()
    [line] = [line for line in lines if line.startswith("VmHWM")]
    return int(line.split()[1]) / 1024
