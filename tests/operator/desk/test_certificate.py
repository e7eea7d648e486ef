"""TLS to the desk: its server as the operator runs it, and the separator's own client, over real handshakes."""

import asyncio
import shutil
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from aiohttp import web

from localcluster.certificates import Authority
from localcluster.control_plane import free_port
from stemyard_contract.failures import FailureCode
from stemyard_contract.handover import DESK_LINKS_PATH, LinkRequest
from stemyard_operator.desk.certificate import RenewedCertificate
from stemyard_operator.errors import ConfigurationError
from stemyard_operator.http_server import serving
from stemyard_separator.errors import PublishError
from stemyard_separator.http import HttpClient, HttpError
from stemyard_separator.transfer.deadline import StageDeadline
from stemyard_separator.transfer.desk import DeskClient

LINK = {"file": "audio.flac", "method": "PUT", "key": "k", "url": "https://store/k", "headers": {}}


@dataclass
class Issuer:
    """Issues pairs of one authority into the folder of the desk."""

    authority: Authority
    desk: Path

    def renew(self, *, address: str = "127.0.0.1") -> None:
        pair = self.authority.for_server(f"desk-{len(list(self.authority.folder.iterdir()))}", [address], ["desk"])
        for source, name in ((pair.certificate, "tls.crt"), (pair.key, "tls.key")):
            # as the kubelet: the files are replaced, not written to
            shutil.copy(source, self.desk / f".{name}")
            (self.desk / f".{name}").replace(self.desk / name)


def issuer(folder: Path, name: str = "authority") -> Issuer:
    authority, desk = Authority(folder / name), folder / "desk"
    authority.create()
    desk.mkdir(exist_ok=True)
    return Issuer(authority, desk)


@pytest.fixture
def issued(tmp_path: Path) -> Issuer:
    made = issuer(tmp_path)
    made.renew()
    return made


@contextmanager
def running(folder: Path) -> Iterator[tuple[str, Callable[[], int]]]:
    """A desk that grants every link, as the operator serves it; and how many requests it has answered."""
    answered = 0

    async def links(_: web.Request) -> web.Response:
        nonlocal answered
        answered += 1
        return web.json_response({"links": [LINK]})

    application = web.Application()
    application.router.add_post(DESK_LINKS_PATH, links)
    port, loop, stop = free_port(), asyncio.new_event_loop(), asyncio.Event()

    async def serve(started: asyncio.Event) -> None:
        async with serving(application, port, RenewedCertificate(folder).context):
            started.set()
            await stop.wait()

    started = asyncio.Event()
    task = loop.create_task(serve(started))
    loop.run_until_complete(asyncio.wait_for(started.wait(), 10))
    thread = threading.Thread(target=loop.run_until_complete, args=(task,))
    thread.start()
    try:
        yield f"https://127.0.0.1:{port}", lambda: answered
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join(10)
        loop.close()


def trusting(folder: Path, *authorities: Authority) -> Path:
    """The folder of a separator that trusts these."""
    folder.mkdir(exist_ok=True)
    for number, authority in enumerate(authorities):
        shutil.copy(authority.certificate, folder / f"{number}.crt")
    return folder


@contextmanager
def client(url: str, folder: Path, cas: Path | None, seconds: float = 1.0) -> Iterator[DeskClient]:
    token, http = folder / "token", HttpClient(ca_dir=cas)
    token.write_text("token")
    try:
        yield DeskClient(url, token, http, StageDeadline(time.monotonic() + seconds))
    finally:
        http.close()


def ask(desk: DeskClient) -> str:
    return desk.links([LinkRequest(file="audio.flac", method="PUT", bytes=1)])[0].key


def serial(url: str, authority: Authority) -> bytes:
    """The certificate that a new handshake gets."""
    address = ("127.0.0.1", int(url.rpartition(":")[2]))
    return ssl.get_server_certificate(address, ca_certs=str(authority.certificate), timeout=10).encode()


def test_a_separator_that_trusts_the_authority_is_served(issued: Issuer, tmp_path: Path) -> None:
    cas = trusting(tmp_path / "cas", issued.authority)
    with running(issued.desk) as (url, answered), client(url, tmp_path, cas) as desk:
        assert ask(desk) == "k"
        assert answered() == 1


@pytest.mark.parametrize("trusts", ["nothing", "a stranger"])
def test_a_separator_sends_its_token_to_no_other(issued: Issuer, tmp_path: Path, trusts: str) -> None:
    stranger = issuer(tmp_path, "stranger").authority
    cas = trusting(tmp_path / "cas", stranger) if trusts == "a stranger" else None
    with running(issued.desk) as (url, answered), client(url, tmp_path, cas) as desk:
        with pytest.raises(PublishError) as refused:
            ask(desk)
        assert refused.value.code is FailureCode.DESK_UNREACHABLE
        assert answered() == 0


def test_a_certificate_of_another_name_is_refused(issued: Issuer, tmp_path: Path) -> None:
    issued.renew(address="127.0.0.2")
    cas = trusting(tmp_path / "cas", issued.authority)
    with running(issued.desk) as (url, answered), client(url, tmp_path, cas) as desk:
        with pytest.raises(PublishError):
            ask(desk)
        assert answered() == 0


def test_the_desk_is_not_spoken_to_without_tls(issued: Issuer) -> None:
    with running(issued.desk) as (url, answered):
        with pytest.raises(HttpError):
            HttpClient().post_json(url.replace("https:", "http:") + DESK_LINKS_PATH, "{}", "token", 5)
        assert answered() == 0


def test_a_renewed_certificate_is_served_without_a_restart(issued: Issuer, tmp_path: Path) -> None:
    cas = trusting(tmp_path / "cas", issued.authority)
    with running(issued.desk) as (url, _), client(url, tmp_path, cas) as desk:
        assert ask(desk) == "k"
        before = serial(url, issued.authority)
        issued.renew()
        after = serial(url, issued.authority)
        assert after != before
        assert after.strip() in (issued.desk / "tls.crt").read_bytes()
        assert ask(desk) == "k", "connections that are open are kept"
        with client(url, tmp_path, cas) as later:
            assert ask(later) == "k"


def test_a_pair_that_does_not_match_is_not_served(issued: Issuer) -> None:
    """Between the renewal of the one file and the other's, the last good pair is served."""
    with running(issued.desk) as (url, _):
        before, key = serial(url, issued.authority), (issued.desk / "tls.key").read_bytes()
        issued.renew()
        own = (issued.desk / "tls.key").read_bytes()
        (issued.desk / "tls.key").write_bytes(key)
        assert serial(url, issued.authority) == before
        (issued.desk / "tls.key").unlink()
        assert serial(url, issued.authority) == before
        (issued.desk / "tls.key").write_bytes(own)
        assert serial(url, issued.authority) != before


def test_a_running_separator_trusts_an_authority_that_is_added(issued: Issuer, tmp_path: Path) -> None:
    cas = trusting(tmp_path / "cas", issued.authority)
    with running(issued.desk) as (url, _), client(url, tmp_path, cas, seconds=20) as desk:
        later = issuer(tmp_path, "later")
        later.renew()
        trusting(cas, issued.authority, later.authority)
        assert ask(desk) == "k"


def test_an_authority_that_cannot_be_read_is_an_error_that_may_pass(issued: Issuer, tmp_path: Path) -> None:
    cas = trusting(tmp_path / "cas", issued.authority)
    http = HttpClient(ca_dir=cas)
    (cas / "9.crt").write_text("not a certificate")
    with pytest.raises(HttpError, match="CA"):
        http.post_json("https://127.0.0.1:9", "{}", "token", 1)


@pytest.mark.parametrize("lacking", ["tls.crt", "tls.key"])
def test_an_operator_without_its_certificate_does_not_start(issued: Issuer, lacking: str) -> None:
    (issued.desk / lacking).unlink()
    with pytest.raises(ConfigurationError, match=f"DESK_TLS_DIR .*{lacking}"):
        RenewedCertificate(issued.desk)
