"""Attempts at a real consumer: requests, classification of responses, and refused addresses."""

import ssl
import subprocess
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from localcluster.control_plane import free_port
from stemyard_operator.clients.webhook_http import Resolve, WebhookHttpClient, WebhookResponse
from tests.operator.world import settings
from tests.support.http_server import Exchange, HttpServer
from tests.support.webhook_receiver import Received, Receiver, break_off, endless, hang, slow, status

BODY = b'{"a": "\\u00fc"}'


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as found:
        yield found


@asynccontextmanager
async def sending(resolver: Resolve | None = None, **config: Any) -> AsyncIterator[WebhookHttpClient]:
    more = {"resolve": resolver} if resolver else {}
    sender = WebhookHttpClient(settings(**{"webhook_timeout_seconds": 2, **config}), **more)
    try:
        yield sender
    finally:
        await sender.close()


async def post(url: str, **config: Any) -> WebhookResponse:
    async with sending(**{"webhook_url": url, **config}) as sender:
        return await sender.post(url, {"webhook-id": "1", "Content-Type": "application/json"}, BODY)


async def test_body_and_headers_arrive_unchanged(receiver: Receiver) -> None:
    assert await post(receiver.url("/hook?a=b%20c")) == WebhookResponse(200)
    [got] = receiver.received
    assert got.body == BODY
    assert got.headers["webhook-id"] == "1"
    assert got.headers["Host"] == f"127.0.0.1:{receiver.port}"


@pytest.mark.parametrize(
    ("behaviour", "expected"),
    [
        (status(204), WebhookResponse(204)),
        (status(500), WebhookResponse(500)),
        (status(410), WebhookResponse(410)),
        (status(503, Retry_After="7"), WebhookResponse(503, None, 7.0)),
        (status(503, Retry_After="soon"), WebhookResponse(503)),
        (status(200, Retry_After="Mon, 01 Jan 99999999999999999 00:00:00 GMT"), WebhookResponse(200)),
        (status(503, Retry_After="Mon, 01 Jan 2024 00:00:00 +99999999999999999999"), WebhookResponse(503)),
        (status(429, Retry_After="Wed, 21 Oct 2015 07:28:00 GMT"), WebhookResponse(429, None, 0.0)),
        (status(302, Location="/elsewhere"), WebhookResponse(302, "Redirected")),
        (break_off, WebhookResponse(error="NoAnswer")),
        (hang(2.5), WebhookResponse(error="Timeout")),
        (slow(0.5), WebhookResponse(200)),
        (endless, WebhookResponse(200)),
    ],
)
async def test_responses_are_classified(receiver: Receiver, behaviour: Any, expected: WebhookResponse) -> None:
    receiver.behaviours["/hook"] = behaviour
    assert await post(receiver.url("/hook")) == expected
    assert [one.path for one in receiver.received] == ["/hook"]


async def test_a_refused_connection_is_an_error() -> None:
    assert await post(f"http://127.0.0.1:{free_port()}/") == WebhookResponse(error="ConnectFailed")
    assert await post("https://no-such-host.invalid/") == WebhookResponse(error="NameNotFound")


async def test_the_response_body_is_not_awaited(receiver: Receiver) -> None:
    def dripping(exchange: Any, _: Any) -> None:
        def drops() -> Iterator[bytes]:
            while True:
                yield b"x"
                time.sleep(0.2)

        exchange.answer_chunked(drops())

    receiver.behaviours["/hook"] = dripping
    assert await post(receiver.url("/hook"), webhook_timeout_seconds=30) == WebhookResponse(200)


async def test_the_deployments_consumer_keeps_its_connection(receiver: Receiver) -> None:
    ports: set[int] = set()

    def note(exchange: Exchange, _: Received) -> None:
        ports.add(exchange.client_address[1])
        exchange.answer(200)

    receiver.behaviours["/hook"] = note
    url = receiver.url("/hook")
    async with sending(webhook_url=url) as sender:
        for _ in range(3):
            assert (await sender.post(url, {}, BODY)).status == 200
    assert len(ports) == 1


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1", "localhost", "2130706433", "0x7f000001", "0177.0.0.1", "127.1", "[::ffff:127.0.0.1]", "[::1]"],
)
async def test_private_addresses_are_refused(receiver: Receiver, host: str) -> None:
    open_rules = {"webhook_allow_http": True, "webhook_ports": (receiver.port,), "webhook_url": None}
    answer = await post(f"http://{host}:{receiver.port}/hook", **open_rules)
    assert answer.error in {"AddressRefused", "NameNotFound"}
    assert receiver.received == []


async def test_a_refused_url_is_permanent_and_a_name_at_a_refused_address_is_not(receiver: Receiver) -> None:
    url = receiver.url("/hook")
    refused = WebhookResponse(error="AddressRefused", hopeless=True)
    assert await post(url, webhook_url=None) == refused
    open_rules = {"webhook_allow_http": True, "webhook_ports": (receiver.port,)}
    assert await post(url, webhook_url=None, **open_rules) == refused
    assert await post(f"http://localhost:{receiver.port}/hook", webhook_url=None, **open_rules) == refused
    resolver, _ = rebinding("127.0.0.1")
    async with sending(resolver, webhook_url=None, **open_rules) as sender:
        answer = await sender.post(f"http://rebind.example.com:{receiver.port}/hook", {}, BODY)
        assert answer == WebhookResponse(error="AddressRefused")
    assert receiver.received == []


@pytest.mark.parametrize(
    "host", ["a..b.example.com", ".example.com", f"{'a' * 64}.example.com", "\u2603.example.com", "a\0b.example.com"]
)
@pytest.mark.parametrize("proxied", [False, True])
async def test_a_host_that_is_no_name_is_refused_for_good(receiver: Receiver, host: str, proxied: bool) -> None:
    config = {"webhook_proxy_url": receiver.url("")} if proxied else {}
    resolver, _ = rebinding("93.184.216.34")
    async with sending(resolver, webhook_url=None, **config) as sender:
        refused = WebhookResponse(error="AddressRefused", hopeless=True)
        assert await sender.post(f"https://{host}/hook", {}, BODY) == refused
    assert receiver.received == []


async def test_only_the_deployments_exact_url_is_trusted(receiver: Receiver) -> None:
    async with sending(webhook_url=receiver.url("/hook"), webhook_allow_http=True) as sender:
        assert (await sender.post(receiver.url("/admin"), {}, BODY)).error == "AddressRefused"
    async with sending(webhook_allowed_origins=receiver.url("")) as sender:
        assert (await sender.post(receiver.url("/any"), {}, BODY)).status == 200
    assert [one.path for one in receiver.received] == ["/any"]


def rebinding(*answers: str) -> tuple[Callable[[str, int], Any], list[str]]:
    """A resolver whose result changes with each call."""
    left, resolved = list(answers), []

    async def resolve(host: str, _: int) -> list[str]:
        resolved.append(host)
        return [left.pop(0)]

    return resolve, resolved


async def test_the_checked_address_is_the_connected_address(receiver: Receiver) -> None:
    resolver, resolved = rebinding("127.0.0.1", "198.51.100.1")
    origin = f"http://rebinding.example.com:{receiver.port}"
    async with sending(resolver, webhook_allowed_origins=origin) as sender:
        assert (await sender.post(f"{origin}/hook", {}, BODY)).status == 200
    assert resolved == ["rebinding.example.com"]
    [got] = receiver.received
    assert got.headers["Host"] == f"rebinding.example.com:{receiver.port}"


async def test_a_name_that_resolves_to_a_private_address_later_is_refused(receiver: Receiver) -> None:
    resolver, resolved = rebinding("127.0.0.1", "::1")
    url = f"http://rebinding.example.com:{receiver.port}/hook"
    async with sending(resolver, webhook_allow_http=True, webhook_ports=(receiver.port,)) as sender:
        for _ in range(2):
            assert (await sender.post(url, {}, BODY)).error == "AddressRefused"
    assert len(resolved) == 2
    assert receiver.received == []


def certificate(folder: Path, host: str) -> Path:
    pem = folder / "server.pem"
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", f"/CN={host}"]
    more = ["-addext", f"subjectAltName=DNS:{host}", "-keyout", str(pem), "-out", str(pem) + ".crt"]
    subprocess.run([*command, *more], check=True, capture_output=True)
    pem.write_text(pem.read_text() + Path(str(pem) + ".crt").read_text())
    return pem


async def test_the_certificate_is_verified_by_host_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pem = certificate(tmp_path, "consumer.example.com")
    monkeypatch.setenv("SSL_CERT_FILE", str(pem) + ".crt")
    assert ssl.get_default_verify_paths().openssl_cafile_env == "SSL_CERT_FILE"

    def route(exchange: Exchange) -> None:
        exchange.body()
        exchange.answer(200)

    with HttpServer(route, pem) as server:
        for host, expected in (
            ("consumer.example.com", WebhookResponse(200)),
            ("other.example.com", WebhookResponse(error="TlsFailed")),
        ):
            origin = f"https://{host}:{server.port}"
            resolver, _ = rebinding("127.0.0.1")
            async with sending(resolver, webhook_allowed_origins=origin) as sender:
                assert await sender.post(f"{origin}/hook", {}, BODY) == expected


async def test_a_proxy_gets_the_host_name(receiver: Receiver) -> None:
    url = "http://consumer.example.com/hook"
    async with sending(webhook_url=url, webhook_proxy_url=receiver.url("")) as sender:
        assert (await sender.post(url, {}, BODY)).status == 200
        assert (await sender.post("https://10.0.0.1/hook", {}, BODY)).error == "AddressRefused"
    [got] = receiver.received
    assert got.headers["Host"] == "consumer.example.com"
