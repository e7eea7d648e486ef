"""A desk and an object store for the separator's tests: implements the desk's protocol and records uploads in order."""

import hashlib
import json
import secrets
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

from stemyard_contract.handover import (
    DESK_FINISHED_PATH,
    DESK_LINKS_PATH,
    DESK_PROGRESS_PATH,
    Assignment,
    Finished,
    Link,
    Links,
    LinksRequest,
    Progress,
)
from stemyard_contract.leasing import DESK_LEASE_PATH, LeaseRequest
from tests.support.http_server import Exchange, HttpServer

TOKEN = "eyJhbGciOiJSUzI1NiJ9.test.token"
PREFIX = "install/room/track/token/"
SMALL = 1 << 16
SIGNATURE = "X-Amz-Signature=feedfacefeedface"


@dataclass
class Fault:
    """Responds with `status` to the next `times` requests whose path contains `path`; -1 means all."""

    path: str
    status: int
    times: int = -1


@dataclass
class DeskDouble:
    """Stores files by their logical name; the first `break_offs` downloads of large files break in the middle."""

    files: dict[str, bytes] = field(default_factory=dict)
    order: list[str] = field(default_factory=list)
    progress: list[Progress] = field(default_factory=list)
    finished: list[Finished] = field(default_factory=list)
    finished_after: list[str] = field(default_factory=list)
    """The file that was uploaded last before each of these."""
    faults: list[Fault] = field(default_factory=list)
    break_offs: int = 0
    hold_back: tuple[str, Callable[[], bool]] = ("", lambda: True)
    """A file and a condition for sending its second half."""
    ranges: list[str | None] = field(default_factory=list)
    token: str = TOKEN
    """The token that is accepted; requests with another one get 401."""
    expired_links: int = 0
    """Links to be issued next that the store refuses, as if they had expired."""
    asked: list[list[str]] = field(default_factory=list)
    """Files of each request for links that was answered with links."""
    songs: list[Assignment] = field(default_factory=list)
    """Songs to be leased, in order."""
    leases: list[LeaseRequest] = field(default_factory=list)
    """Requests of workers."""
    lost: set[str] = field(default_factory=set)
    """uids of songs that the worker does not hold any more."""
    _issued: dict[str, dict[str, Any]] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __enter__(self) -> Self:
        self._server = HttpServer(self._route).__enter__()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._server.__exit__(kind, error, at)

    @property
    def url(self) -> str:
        return self._server.url

    def json(self, name: str) -> dict[str, Any]:
        content = json.loads(self.files[name])
        assert isinstance(content, dict)
        return content

    def sha256(self, name: str) -> str:
        return hashlib.sha256(self.files[name]).hexdigest()

    def _route(self, exchange: Exchange) -> None:
        with self._lock:
            fault = next((each for each in self.faults if each.path in exchange.path and each.times), None)
            if fault is not None:
                fault.times -= 1
        body = exchange.body()
        if fault is not None:
            return exchange.answer(fault.status)
        if exchange.command == "POST":
            return self._desk(exchange, body)
        return self._store(exchange, body)

    def _desk(self, exchange: Exchange, body: bytes) -> None:
        if exchange.headers.get("Authorization") != f"Bearer {self.token}":
            return exchange.answer(401)
        if exchange.route_path == DESK_LEASE_PATH:
            return self._lease(exchange, LeaseRequest.model_validate_json(body))
        if self.lost and (json.loads(body).get("separation") or {}).get("uid") in self.lost:
            return exchange.answer(409)
        if exchange.route_path == DESK_PROGRESS_PATH:
            self.progress.append(Progress.model_validate_json(body))
            return exchange.answer(204)
        if exchange.route_path == DESK_FINISHED_PATH:
            self.finished.append(Finished.model_validate_json(body))
            self.finished_after.append(self.order[-1])
            return exchange.answer(204)
        if exchange.route_path != DESK_LINKS_PATH:
            return exchange.answer(404)
        return exchange.answer(200, self._links(LinksRequest.model_validate_json(body)).dump().encode())

    def _lease(self, exchange: Exchange, request: LeaseRequest) -> None:
        with self._lock:
            self.leases.append(request)
            song = self.songs.pop(0) if self.songs and request.wanted else None
        if song is None:
            time.sleep(0.05)
            return exchange.answer(204)
        return exchange.answer(200, song.dump().encode())

    def _links(self, request: LinksRequest) -> Links:
        self.asked.append([file.file for file in request.files])
        links = []
        for file in request.files:
            signed = {"Content-Type": file.content_type} if file.content_type else {}
            nonce, folder = secrets.token_hex(8), f"{request.separation.uid}/" if request.separation else ""
            if self.expired_links:
                self.expired_links -= 1
            else:
                self._issued[nonce] = {
                    "file": folder + file.file,
                    "method": file.method,
                    "bytes": file.bytes,
                    "headers": signed,
                }
            url = f"{self.url}/store/{file.file}?nonce={nonce}&{SIGNATURE}"
            links.append(
                Link(file=file.file, method=file.method, key=PREFIX + folder + file.file, url=url, headers=signed)
            )
        return Links(links=links)

    def _send(self, exchange: Exchange, content: bytes) -> None:
        range_header = exchange.headers.get("Range")
        self.ranges.append(range_header)
        start = int(range_header.removeprefix("bytes=").rstrip("-")) if range_header else 0
        if self.break_offs and len(content) > SMALL:
            self.break_offs -= 1
            return exchange.break_off(content[start:], 206 if range_header else 200)
        name, released = self.hold_back
        if self.files.get(name) is content:
            return exchange.answer_slowly(content[start:], released)
        return exchange.answer(206 if range_header else 200, content[start:])

    def _store(self, exchange: Exchange, body: bytes) -> None:
        nonce = exchange.path.partition("nonce=")[2].partition("&")[0]
        issued = self._issued.get(nonce)
        if issued is None or exchange.command != issued["method"]:
            return exchange.answer(403)
        if exchange.command == "GET":
            content = self.files.get(issued["file"])
            return exchange.answer(404) if content is None else self._send(exchange, content)
        lengths_agree = len(body) == issued["bytes"] == int(exchange.headers["Content-Length"])
        if not lengths_agree or any(exchange.headers.get(name) != value for name, value in issued["headers"].items()):
            return exchange.answer(403)
        with self._lock:
            self.files[issued["file"]] = body
            self.order.append(issued["file"])
        return exchange.answer(200)
