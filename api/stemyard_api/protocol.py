"""Protocol: uvicorn's HTTP/1.1, with head and body of a response in one packet, without upgrades, and within limits.

uvicorn writes head and body separately, and each write is a system call: a tenth of the time of a fast request.
It also loses the body of a request that offers an upgrade, such as the h2c that Java's HttpClient offers by default;
a server may ignore the offer (RFC 9110, 7.8). It limits neither the size of headers nor the time that a client may
take to send a request or to read a response; the server calls `expire` of each connection once a second.
"""

import asyncio
import json
import math
import re
from enum import Enum, auto
from functools import lru_cache
from typing import Any, Final, cast

import httptools
from uvicorn._types import ASGI3Application
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

from stemyard_api.connections import HEADER_BYTES, HEADER_COUNT, PIPELINE_LIMIT, Connections
from stemyard_api.errors import PROBLEM_TYPE, problem_document
from stemyard_contract.failures import FailureCode

_HEAD: Final = b"HTTP/1.1 "
_NO_CONNECTION: Final = "Too many connections, or too many unfinished requests; close idle connections or try again."
_NOT_HTTP: Final = "The request is not valid HTTP/1.1."
_HOST: Final = re.compile(rb"([\w.~%!$&'()*+,;=-]*|\[[\w.:~]+\])(:[0-9]*)?")
"""A name or an address, and perhaps a port (RFC 3986, 3.2.2)."""
_HOST_BYTES: Final = 300
"""A name has at most 255 bytes (RFC 1035, 2.3.4)."""
_ONE_HOST: Final = "Send exactly one Host header, with a host name or an address, and perhaps a port."
_HEADERS: Final = (
    f"The request line and headers may have at most {HEADER_BYTES} bytes and {HEADER_COUNT} headers; send fewer."
)
_TOO_SLOW: Final = "The request was not received in time; send it at once."


class _Stage(Enum):
    """What the client is to send next."""

    IDLE = auto()
    HEAD = auto()
    BODY = auto()


class _RefusedError(Exception):
    """The request has been refused; the parser must stop."""


class _Dropped(list[tuple[bytes, bytes]]):
    """Takes the trailers of a request and keeps none.

    uvicorn appends them to the headers, where one could replace the API key or the Content-Encoding. A trailer must not
    be taken for a header (RFC 9110, 6.5.1), and nothing here reads any.
    """

    def append(self, _trailer: tuple[bytes, bytes]) -> None:
        """Keep nothing."""


_IDLE, _RECEIVING_HEAD, _RECEIVING_BODY = _Stage
"""Looked up several times for each request, for which members of the class are slow."""
_DROPPED: Final = _Dropped()


class CoalescingTransport:
    """A transport that delays the head of a response until its body, at most for this iteration of the event loop."""

    __slots__ = ("_held", "_loop", "_transport")

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self._transport, self._loop, self._held = transport, loop, b""

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - any attribute of a transport
        return getattr(self._transport, name)

    def write(self, data: bytes) -> None:
        """Write, or delay the head of a response; nothing while the connection closes, where uvloop raises an error."""
        if self._transport.is_closing():
            return
        if self._held:
            data, self._held = self._held + data, b""
        elif data.startswith(_HEAD):
            self._held = data
            self._loop.call_soon(self._flush)
            return
        self._transport.write(data)

    def is_closing(self) -> bool:
        """Return whether the transport is closing; called for each request, for which `__getattr__` is slow."""
        return self._transport.is_closing()

    def close(self) -> None:
        """Write delayed data, and close."""
        self._flush()
        self._transport.close()

    def _flush(self) -> None:
        if self._held:
            held, self._held = self._held, b""
            if not self._transport.is_closing():  # the client may have left meanwhile
                self._transport.write(held)


class Protocol(HttpToolsProtocol):
    """One connection."""

    def __init__(self, connections: Connections, **settings: Any) -> None:  # noqa: ANN401 - uvicorn's
        super().__init__(**settings)
        self._shared, self._limits = connections, connections.limits
        self._stage = _IDLE
        self._received = 0
        """Bytes received since the current head began, with what came before it in the same packet, or since the last
        packet with a part of the body."""
        self._packet = 0
        self._held = 0
        self._deadline = self._write_deadline = math.inf
        self._answering: RequestResponseCycle | None = None
        """The request that the application answers; `cycle` is the last one that was received."""
        self._deaf = False
        """Whether what is received is dropped, because the connection ends with the last request that was taken."""

    @property
    def _host(self) -> str:
        return self.client[0] if self.client is not None else "unknown"

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # as uvicorn declares it
        """Wrap the transport, and count the connection."""
        super().connection_made(cast(asyncio.Transport, CoalescingTransport(transport, self.loop)))
        self._within(self._limits.idle_seconds)
        if not self._shared.opened(self._host):
            self._refuse(503, FailureCode.UNAVAILABLE, _NO_CONNECTION)

    def connection_lost(self, exc: Exception | None) -> None:
        """End the connection; uvicorn tells only the last request that was received."""
        self._release()
        self._shared.closed(self._host)
        super().connection_lost(exc)
        if self._answering is not None and not self._answering.response_complete:
            self._answering.disconnected = True
            self._answering.message_event.set()

    def data_received(self, data: bytes) -> None:
        """Parse received bytes, within the limits."""
        if self._deaf:
            return
        self._packet = len(data)
        self._received += len(data)
        self._parse(data)
        if self._stage is not _IDLE and not self.transport.is_closing():
            self._check_unfinished(len(data))

    def pause_writing(self) -> None:
        """Limit the time until the client reads on."""
        self._write_deadline = self.loop.time() + self._limits.write_seconds
        super().pause_writing()

    def resume_writing(self) -> None:
        """End the time limit."""
        self._write_deadline = math.inf
        super().resume_writing()

    def expire(self, now: float) -> None:
        """End the connection if the client has exceeded a time limit; called once a second with the loop's time."""
        if now >= self._write_deadline or (now >= self._deadline and self.transport.is_closing()):
            self.transport.abort()  # the client does not even read
        elif now >= self._deadline:
            if self._stage is _IDLE:
                self._close()
            else:
                self._refuse(408, FailureCode.REQUEST_TIMEOUT, _TOO_SLOW)

    # Parser callbacks
    def on_message_begin(self) -> None:
        """Begin a request."""
        super().on_message_begin()
        self._stage, self._received = _RECEIVING_HEAD, self._packet
        self._within(self._limits.header_seconds)

    def on_headers_complete(self) -> None:
        """Start the request, unless it is refused, or the parser stops here because of an upgrade."""
        large = self._received > HEADER_BYTES and self._head_bytes() > HEADER_BYTES
        if large or len(self.headers) > HEADER_COUNT:
            self._refuse(431, FailureCode.HEADERS_TOO_LARGE, _HEADERS)
            raise _RefusedError
        if self.parser.should_upgrade():
            return
        if not self._names_host():
            self._refuse(400, FailureCode.INVALID_REQUEST, _ONE_HOST)
            raise _RefusedError
        if len(self.pipeline) >= PIPELINE_LIMIT:
            self._take_no_more()
            raise _RefusedError
        super().on_headers_complete()
        self.headers = _DROPPED
        self._stage, self._received = _RECEIVING_BODY, 0
        self._within(self._limits.body_seconds)

    def on_body(self, body: bytes) -> None:
        """Take a part of the body."""
        super().on_body(body)
        self._received = 0

    def on_message_complete(self) -> None:
        """End the request, unless the parser stops here because of an upgrade."""
        if self.parser.should_upgrade():
            return
        super().on_message_complete()
        self._stage = _IDLE
        self._release()
        self._within(self._limits.idle_seconds if self.cycle.response_complete else math.inf)

    def on_response_complete(self) -> None:
        """Start a request that waits; else wait for the next one, or for the rest of this one.

        `expire` ends idle connections, so that no timer is set for each request as uvicorn does.
        """
        self.server_state.total_requests += 1
        closing = self.transport.is_closing()
        if not closing:
            self.flow.resume_reading()
            if self.pipeline:
                self._start_asgi_task(*self.pipeline.pop())
        if self.cycle.response_complete:
            if self.cycle.body:
                self.cycle.body = bytearray()  # what the application did not read
            self._release()
        if closing:
            self._within(self._limits.write_seconds)
        elif self._stage is _IDLE and self.cycle.response_complete:
            self._within(self._limits.idle_seconds)

    def _parse(self, data: bytes) -> None:
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as stop:
            self._parse_without_upgrade(data[stop.args[0] :])
        except httptools.HttpParserError:
            if not self._deaf:
                self._refuse(400, FailureCode.INVALID_REQUEST, _NOT_HTTP)

    def _take_no_more(self) -> None:
        """Close the connection after the response to the last request that was taken; the client repeats the rest."""
        self._deaf, self._stage = True, _IDLE
        self.cycle.keep_alive = False
        self._release()
        self._within(math.inf)

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: ASGI3Application) -> None:
        self._answering = cycle
        super()._start_asgi_task(cycle, app)

    def _parse_without_upgrade(self, rest: bytes) -> None:
        """Parse the current request's head without its Upgrade headers, and the rest of the data."""
        method = self.parser.get_method()
        if method == b"CONNECT":  # the parser treats it as an upgrade too, and it has no path to serve
            self._refuse(400, FailureCode.INVALID_REQUEST, _NOT_HTTP)
            return
        lines = [b"%s %s HTTP/%s" % (method, self.url, self.parser.get_http_version().encode())]
        lines += [b"%s: %s" % header for header in self.headers if header[0] != b"upgrade"]
        self.parser = httptools.HttpRequestParser(self)
        self.parser.set_dangerous_leniencies(lenient_data_after_close=True)
        self._parse(b"\r\n".join([*lines, b"", rest]))

    def _check_unfinished(self, size: int) -> None:
        """Refuse the unfinished request if its head or trailers, or all unfinished requests together, are too large."""
        if self._received > HEADER_BYTES:
            self._refuse(431, FailureCode.HEADERS_TOO_LARGE, _HEADERS)
        elif self._stage is _RECEIVING_HEAD or not self.cycle.response_complete:  # the rest of that body is discarded
            self._held += size
            if not self._shared.hold(self._host, size):
                self._refuse(503, FailureCode.UNAVAILABLE, _NO_CONNECTION)

    def _names_host(self) -> bool:
        """Return whether the Host header is as required (RFC 9112, 3.2); HTTP/1.0 knows none."""
        hosts = [value for name, value in self.headers if name == b"host"]
        if len(hosts) != 1:
            return not hosts and self.parser.get_http_version() == "1.0"
        return len(hosts[0]) <= _HOST_BYTES and _is_host(hosts[0])

    def _head_bytes(self) -> int:
        return len(self.url) + sum(len(name) + len(value) + len(b": \r\n") for name, value in self.headers)

    def _within(self, seconds: float) -> None:
        self._deadline = self.loop.time() + seconds

    def _release(self) -> None:
        if self._held:
            self._shared.hold(self._host, -self._held)
            self._held = 0

    def _close(self) -> None:
        self._within(self._limits.write_seconds)
        self.transport.close()

    def _refuse(self, status: int, code: FailureCode, detail: str) -> None:
        """Close the connection, with a problem document unless that would become part of another response."""
        if self.transport.is_closing():
            return
        cycle = self.cycle
        reading = self._stage is _RECEIVING_BODY
        silent = cycle is not None and (cycle.response_started if reading else not cycle.response_complete)
        if not self.pipeline and not silent:
            self.transport.write(_refusal(status, code, detail))
        if reading:
            # the application may notice much later, and would keep what has been received until then
            cycle.disconnected, cycle.body = True, bytearray()
            cycle.message_event.set()
        self._close()


@lru_cache(maxsize=64)  # nearly all requests name the same few
def _is_host(value: bytes) -> bool:
    return _HOST.fullmatch(value) is not None


def _refusal(status: int, code: FailureCode, detail: str) -> bytes:
    body = json.dumps(problem_document(code, status, detail)).encode()
    lines = [b"content-type: " + PROBLEM_TYPE.encode(), b"content-length: %d" % len(body), b"connection: close"]
    if status == 503:
        lines.append(b"retry-after: 5")
    return STATUS_LINE[status] + b"\r\n".join([*lines, b"", body])
