"""A small HTTP server for tests, on a free local port; routes are plain functions."""

import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

Route = Callable[["Exchange"], None]


class Exchange(BaseHTTPRequestHandler):
    """One request and its response."""

    protocol_version = "HTTP/1.1"
    server: "_Server"

    def handle(self) -> None:
        with suppress(ConnectionError):  # clients may disconnect, in some tests on purpose
            super().handle()

    def _serve(self) -> None:
        self.server.owner.route(self)

    do_GET = do_POST = do_PUT = do_HEAD = do_DELETE = _serve  # noqa: N815 - names of the standard library

    @property
    def route_path(self) -> str:
        return urlsplit(self.path).path

    def body(self) -> bytes:
        return self.rfile.read(int(self.headers.get("Content-Length") or 0))

    def answer(self, status: int, body: bytes = b"", **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def answer_chunked(self, blocks: Iterator[bytes]) -> None:
        """Respond without Content-Length, with chunked encoding."""
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for block in blocks:
            self.wfile.write(b"%x\r\n%s\r\n" % (len(block), block))
        self.wfile.write(b"0\r\n\r\n")

    def answer_slowly(self, body: bytes, released: Callable[[], bool], timeout: float = 60) -> None:
        """Send the first half of a body immediately and the second once `released()` is true."""
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[: len(body) // 2])
        deadline = time.monotonic() + timeout
        while not released() and time.monotonic() < deadline:
            time.sleep(0.01)
        self.wfile.write(body[len(body) // 2 :])

    def break_off(self, body: bytes, status: int = 200) -> None:
        """Send Content-Length, and close the connection in the middle of the body."""
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[: len(body) // 2])
        self.wfile.flush()
        self.connection.shutdown(socket.SHUT_RDWR)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - name of the standard library
        return


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    owner: "HttpServer"


class HttpServer:
    """Serves `route` within its context; over TLS with a PEM file of key and certificate."""

    def __init__(self, route: Route, pem: Path | None = None, port: int = 0) -> None:
        self.route = route
        self._server = _Server(("127.0.0.1", port), Exchange)
        self._server.owner = self
        if pem is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(pem)
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)

    @property
    def url(self) -> str:
        host, port = self._server.server_address[:2]
        return f"http://{host!s}:{port}"

    @property
    def port(self) -> int:
        return int(self._server.server_address[1])

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
