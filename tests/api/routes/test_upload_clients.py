"""What stock HTTP clients add to a PUT to an upload link, or cannot set, and what the store makes of it."""

import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest

from tests.api.conftest import kubeconfig_to_nowhere
from tests.api.ratelimit.test_limiter import environment
from tests.support.servers import Api, ObjectStore, api_process, object_store

CLIENTS = Path(__file__).parents[2] / "support/http_clients/uploads"
FILE = b"ID3 12345"
COMMANDS = {
    "Java": ("java", "Upload.java"),
    "Go": ("go", "run", "upload.go"),
    "Node": ("node", "upload.mjs"),
    "curl": ("bash", "with_curl.sh"),
    "requests": (sys.executable, "with_requests.py"),
    "aiohttp": (sys.executable, "with_aiohttp.py"),
}
EXPECTED = {
    "plain": "200",
    "again": "412",
    "stream": "403",
    "charset": "403",
    "length": "200",
}
"""Status by way: exactly the headers of the answer; the same link again; a body without a length, which is sent in
chunks; a type with a charset; Content-Length set by the caller."""
DIFFERENT = {"Java": {"length": "restricted", "expect": "timeout"}, "Go": {"expect": "200"}, "curl": {"expect": "200"}}
DIFFERENT["aiohttp"] = {"expect": "200"}


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ObjectStore]:
    with object_store(tmp_path_factory.mktemp("store")) as found:
        yield found


@pytest.fixture(scope="module")
def api(store: ObjectStore, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    folder = tmp_path_factory.mktemp("api")
    kubeconfig = kubeconfig_to_nowhere(folder)[1]
    limits = {"RATE_LIMIT_SUBMITS_PER_MINUTE": "0", "KUBECONFIG": str(kubeconfig)}
    with api_process(folder, {**environment(None, **limits), **store.environment}) as found:
        yield found


def link(api: Api) -> str:
    described = {"filename": "song.mp3", "size": len(FILE), "content_type": "audio/mpeg"}
    with api.client() as client:
        return str(client.post("/uploads", json=described).raise_for_status().json()["url"])


@pytest.mark.parametrize("name", COMMANDS)
def test_what_a_stock_client_can_send(api: Api, name: str) -> None:
    program, *arguments = COMMANDS[name]
    if shutil.which("curl" if name == "curl" else program) is None:
        pytest.skip(f"{program} is not installed")
    expected = EXPECTED | DIFFERENT.get(name, {})
    # the store refuses a body in chunks unread, so the rest of it may spoil the next request on the same connection
    links = {way: link(api) for way in sorted(expected, key="stream".__eq__)}
    links["again"] = links["plain"]
    command = [program, *arguments, *(f"{way}={url}" for way, url in links.items())]
    ended = subprocess.run(command, cwd=CLIENTS, capture_output=True, text=True, timeout=180, check=False)
    assert ended.returncode == 0, ended.stderr
    assert dict(line.split(" ", 1) for line in ended.stdout.splitlines()) == expected


def test_the_store_says_why_only_in_its_own_words(api: Api) -> None:
    refused = httpx.put(link(api), content=FILE, headers={"Content-Type": "audio/mpeg; charset=utf-8"})
    assert refused.status_code == 403
    assert "<Code>SignatureDoesNotMatch</Code>" in refused.text


@pytest.mark.parametrize(("expect", "continues"), [("100-continue", True), ("100-Continue", False)])
def test_the_bundled_store_knows_expect_in_lower_case_only(api: Api, expect: str, continues: bool) -> None:
    """Java writes 100-Continue, and waits for a response that does not come. RFC 9110 makes it case-insensitive."""
    parts = urlsplit(link(api))
    headers = {
        "Host": parts.netloc,
        "Content-Length": str(len(FILE)),
        "Content-Type": "audio/mpeg",
        "Content-Disposition": "attachment",
        "If-None-Match": "*",
        "Expect": expect,
    }
    head = f"PUT {parts.path}?{parts.query} HTTP/1.1\r\n" + "".join(f"{k}: {v}\r\n" for k, v in headers.items())
    with socket.create_connection((str(parts.hostname), int(parts.port or 80)), timeout=2) as connection:
        connection.sendall(head.encode() + b"\r\n")
        if continues:
            assert connection.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
        else:
            with pytest.raises(TimeoutError):
                connection.recv(100)
            connection.settimeout(20)
        connection.sendall(FILE)
        assert connection.recv(100).startswith(b"HTTP/1.1 200 OK\r\n"), "the file itself is accepted"


@pytest.mark.parametrize("expect", ["100-continue", "100-Continue"])
def test_the_api_knows_expect_in_any_case(api: Api, expect: str) -> None:
    body = b'{"filename": "song.mp3", "size": 9}'
    parts = urlsplit(api.url)
    head = f"POST /uploads HTTP/1.1\r\nHost: {parts.netloc}\r\nX-API-Key: {api.key}\r\nExpect: {expect}\r\n"
    head += f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    with socket.create_connection((str(parts.hostname), int(parts.port or 80)), timeout=20) as connection:
        connection.sendall(head.encode())
        assert connection.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
        connection.sendall(body)
        assert connection.recv(100).startswith(b"HTTP/1.1 200 OK\r\n")
