"""A webhook consumer with configurable behaviour that records what it receives."""

import json
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Self

from tests.support.http_server import Exchange, HttpServer


@dataclass(frozen=True)
class Received:
    """One received attempt."""

    at: float
    path: str
    headers: Mapping[str, str]
    body: bytes
    number: int
    """Number of earlier attempts with this id."""

    @property
    def id(self) -> str:
        return self.headers["webhook-id"]

    @property
    def payload(self) -> dict[str, Any]:
        return dict(json.loads(self.body))


Behaviour = Callable[[Exchange, Received], None]


def ok(exchange: Exchange, _: Received) -> None:
    exchange.answer(200)


def status(code: int, **headers: str) -> Behaviour:
    return lambda exchange, _: exchange.answer(code, b"", **headers)


def first(times: int, bad: Behaviour, then: Behaviour = ok) -> Behaviour:
    """Use `bad` for the first attempts of each message, then `then`."""
    return lambda exchange, got: (bad if got.number < times else then)(exchange, got)


def hang(seconds: float) -> Behaviour:
    def wait(exchange: Exchange, _: Received) -> None:
        time.sleep(seconds)
        exchange.close_connection = True

    return wait


def break_off(exchange: Exchange, _: Received) -> None:
    """Close in the middle of the headers."""
    exchange.wfile.write(b"HTTP/1.1 200 OK\r\nContent-")
    exchange.wfile.flush()
    exchange.close_connection = True


def slow(seconds: float) -> Behaviour:
    """Respond successfully after a delay."""

    def wait(exchange: Exchange, _: Received) -> None:
        time.sleep(seconds)
        exchange.answer(200)

    return wait


def endless(exchange: Exchange, _: Received) -> None:
    """Respond successfully with an endless body."""

    def blocks() -> Any:
        while True:
            yield b"x" * 65536

    exchange.answer_chunked(blocks())


class Receiver:
    """Serves a behaviour for each path; others get 200."""

    def __init__(self, port: int = 0) -> None:
        self.behaviours: dict[str, Behaviour] = {}
        self.received: list[Received] = []
        self._lock = threading.Lock()
        self._server = HttpServer(self._route, port=port)

    @property
    def port(self) -> int:
        return self._server.port

    def url(self, path: str = "/") -> str:
        return self._server.url + path

    def at(self, path: str) -> list[Received]:
        return [one for one in list(self.received) if one.path == path]

    def of(self, track: str) -> list[Received]:
        return [one for one in list(self.received) if one.payload["track_id"] == track]

    def __enter__(self) -> Self:
        self._server.__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        self._server.__exit__(None, None, None)

    def _route(self, exchange: Exchange) -> None:
        body, headers = exchange.body(), dict(exchange.headers.items())
        if len(body) < int(headers.get("Content-Length", "0")):
            return  # the sender was killed during the request
        with self._lock:
            before = sum(one.headers.get("webhook-id") == headers.get("webhook-id") for one in self.received)
            got = Received(time.time(), exchange.route_path, headers, body, before)
            self.received.append(got)
        self.behaviours.get(exchange.route_path, ok)(exchange, got)
