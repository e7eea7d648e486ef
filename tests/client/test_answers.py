"""Answers of a server that wishes its user ill: what is read of them is bounded."""

import asyncio
import gzip
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from stemyard_client import (
    ApiError,
    AsyncClient,
    Client,
    ConnectionFailedError,
    InvalidAnswerError,
    Job,
    Retries,
    StemyardError,
    TransferError,
    answers,
)
from tests.support.http_server import Exchange, HttpServer, Route

MIB = 1 << 20
Read = Callable[[str], Job]


def plainly(url: str) -> Job:
    with Client(url, "key", retries=Retries(attempts=1)) as client:
        return client.job("t1")


def asynchronously(url: str) -> Job:
    async def run() -> Job:
        async with AsyncClient(url, "key", retries=Retries(attempts=1)) as client:
            return await client.job("t1")

    return asyncio.run(run())


@pytest.fixture(params=[plainly, asynchronously])
def read(request: pytest.FixtureRequest) -> Read:
    found: Read = request.param
    return found


def job(spaces: int) -> bytes:
    return b" " * spaces + b'{"status": "completed", "track_id": "t1"}'


def endless(exchange: Exchange) -> None:
    def blocks() -> Iterator[bytes]:
        while True:
            yield b" " * MIB

    exchange.answer_chunked(blocks())


def dripping(exchange: Exchange) -> None:
    def drops() -> Iterator[bytes]:
        for _ in range(40):
            yield b" "
            time.sleep(0.1)
        yield job(0)

    exchange.answer_chunked(drops())


def test_a_compressed_answer_is_read(read: Read) -> None:
    body = gzip.compress(job(MIB))
    with HttpServer(lambda exchange: exchange.answer(200, body, Content_Encoding="gzip")) as server:
        assert read(server.url).status == "completed"


@pytest.mark.parametrize(
    "route",
    [endless, lambda exchange: exchange.answer(200, gzip.compress(job(64 * MIB)), Content_Encoding="gzip")],
)
def test_a_large_answer_is_refused(read: Read, route: Route) -> None:
    with HttpServer(route) as server, pytest.raises(InvalidAnswerError, match="more than 32 MiB"):
        read(server.url)


def test_an_answer_that_does_not_end_times_out(read: Read, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(answers, "_SECONDS", 0.5)
    with HttpServer(dripping) as server, pytest.raises(ConnectionFailedError, match="has not arrived"):
        read(server.url)


DEEP = b"[" * 100_000
NOT_A_JOB = [b"<html>", b"", b"null", b"[]", b"{}", DEEP, b'{"status": "new", "track_id": "t1"}']


@pytest.mark.parametrize("body", NOT_A_JOB)
def test_a_success_that_is_no_job_is_an_error_of_the_client(read: Read, body: bytes) -> None:
    with (
        HttpServer(lambda exchange: exchange.answer(200, body)) as server,
        pytest.raises(InvalidAnswerError, match="check the URL") as raised,
    ):
        read(server.url)
    assert (raised.value.code, raised.value.retryable) == ("invalid_answer", False)


@pytest.mark.parametrize("body", [*NOT_A_JOB, b'{"errors": 5, "request_id": 7}', b'{"errors": ["x", null]}'])
def test_a_refusal_in_any_form_is_an_error_of_the_api(read: Read, body: bytes) -> None:
    with HttpServer(lambda exchange: exchange.answer(422, body)) as server, pytest.raises(ApiError) as raised:
        read(server.url)
    assert (raised.value.status, raised.value.fields) == (422, {})


@pytest.mark.parametrize("body", [b"[]", b"{}", b"<html>", b'{"ids": 5}'])
def test_other_answers_are_checked_too(body: bytes) -> None:
    def route(exchange: Exchange) -> None:
        exchange.body()
        exchange.answer(200, body)

    with HttpServer(route) as server, Client(server.url, "key") as client:
        for call in (lambda: client.redeliver("t1"), lambda: client.test_webhook(track_id="t1"), client.capabilities):
            with pytest.raises(InvalidAnswerError):
                call()


@pytest.mark.parametrize(
    "event",
    [
        b"snapshot\ndata: []",
        b"snapshot\ndata: " + DEEP,
        b'snapshot\ndata: {"status": "new"}',
        b"progress\ndata: 5",
    ],
)
def test_a_stream_of_something_else_is_given_up_for_polling(event: bytes) -> None:
    def route(exchange: Exchange) -> None:
        if exchange.route_path.endswith("/events"):
            exchange.answer(200, b"retry: 1\nevent: " + event + b"\n\n", Content_Type="text/event-stream")
        else:
            exchange.answer(200, job(0))

    with HttpServer(route) as server, Client(server.url, "key") as client:
        assert [found.status for found in client.follow("t1", 20)][-1] == "completed"


@pytest.mark.parametrize("link", ["http://[::1/v.mp3", "http://\\u0000/v.mp3", "", "http://host:99999/v.mp3"])
def test_a_link_that_is_none_is_refused(link: str, tmp_path: Path) -> None:
    body = f'{{"status": "completed", "track_id": "t1", "result": {{"vocals_url": "{link}"}}}}'.encode()
    with (
        HttpServer(lambda exchange: exchange.answer(200, body)) as server,
        Client(server.url, "key", retries=Retries(attempts=1)) as client,
        pytest.raises(StemyardError),
    ):
        client.download("t1", tmp_path)


@pytest.mark.parametrize("size", ["\u00b2", "9" * 5000, "-1"])
def test_a_size_that_is_none_is_refused(size: str, tmp_path: Path) -> None:
    def route(exchange: Exchange) -> None:
        if exchange.route_path.endswith(".mp3"):
            exchange.answer(206, b"data", Content_Range=f"bytes 0-3/{size}")
        else:
            link = f"{server.url}/v.mp3"
            result = f'{{"status": "completed", "track_id": "t1", "result": {{"vocals_url": "{link}"}}}}'
            exchange.answer(200, result.encode())

    with (
        HttpServer(route) as server,
        Client(server.url, "key", retries=Retries(attempts=1)) as client,
        pytest.raises(TransferError),
    ):
        client.download("t1", tmp_path)
