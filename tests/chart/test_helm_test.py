"""`helm test`'s own program, against a server that speaks the API's protocol."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from charts.helm import CHART
from tests.support.tls import tls_before

CLIP = CHART / "files/test/clip.mp3"
PROGRAM = CHART / "files/test/separate.py"


@dataclass
class Service:
    """An API with its store: one track, which ends as it is told to."""

    ends: dict[str, Any] = field(default_factory=dict)
    stem: bytes = b"stem"
    asked: list[str] = field(default_factory=list)
    uploaded: bytes = b""
    failures: int = 0
    keys: set[str] = field(default_factory=set)
    """API keys that were sent."""
    url: str = ""

    def answer(self, method: str, path: str, body: bytes) -> tuple[int, bytes]:
        self.asked.append(f"{method} {path}")
        if self.failures:
            self.failures -= 1
            return 503, b""
        if method == "PUT":
            self.uploaded = body
        result = {f"{stem}_url": f"{self.url}/{stem}.mp3" for stem in ("vocals", "instrumental")}
        documents = {
            "POST /uploads": {
                "upload_id": "u",
                "url": f"{self.url}/slot?X-Amz-Signature=secret",
                "headers": {"A": "b"},
            },
            "POST /separate-audio": {"track_id": "t"},
            "GET /job/t": {"status": "completed", "phase": "Completed", "progress": 100, "result": result} | self.ends,
        }
        document = documents.get(f"{method} {path}")
        return 200, json.dumps(document).encode() if document else self.stem if method == "GET" else b""


@pytest.fixture
def service() -> Iterator[Service]:
    told = Service()

    class Handler(BaseHTTPRequestHandler):
        def handle_one(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            if key := self.headers.get("X-API-Key"):
                told.keys.add(key)
            status, answer = told.answer(self.command, self.path, body)
            self.send_response(status)
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        do_GET = do_POST = do_PUT = do_DELETE = handle_one  # noqa: N815 - the names that http.server calls

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        told.url = f"http://127.0.0.1:{server.server_address[1]}"
        thread = Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        yield told
        server.shutdown()
        thread.join()


def run(service: Service, **variables: str) -> subprocess.CompletedProcess[str]:
    key = {} if "STEMYARD_API_KEY_FILE" in variables else {"STEMYARD_API_KEY": "k"}
    own = {"STEMYARD_URL": service.url, "CLIP": str(CLIP), "TIMEOUT_SECONDS": "20", **key, **variables}
    environment = {"PATH": os.environ["PATH"], **own}
    command = [sys.executable, str(PROGRAM)]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)


def test_it_separates_the_clip_and_leaves_nothing(service: Service) -> None:
    done = run(service)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-3:] == ["vocals: 4 bytes", "instrumental: 4 bytes", "passed"]
    assert service.uploaded == CLIP.read_bytes()
    assert service.asked[-1] == "DELETE /job/t"


def test_the_key_may_be_a_file(service: Service, tmp_path: Path) -> None:
    (tmp_path / "key").write_text("k2\n")
    assert run(service, STEMYARD_API_KEY_FILE=str(tmp_path / "key")).returncode == 0
    assert service.keys == {"k2"}


def test_the_authority_of_the_store_is_trusted(service: Service, tmp_path: Path) -> None:
    with tls_before(int(service.url.rpartition(":")[2]), tmp_path) as door:
        service.url = f"https://127.0.0.1:{door.port}"
        done = run(service, CA_FILE=str(door.authority))
        assert done.returncode == 0, done.stderr
        assert run(service).returncode == 1


def test_a_pod_that_is_ending_does_not_fail_it(service: Service) -> None:
    service.failures = 2
    assert run(service).returncode == 0


@pytest.mark.parametrize(
    ("ends", "stem", "said"),
    [
        ({"status": "failed", "code": "OUT_OF_MEMORY", "error": "too small"}, b"stem", "OUT_OF_MEMORY: too small"),
        ({}, b"", "vocals is empty"),
    ],
)
def test_what_went_wrong_is_its_last_line(service: Service, ends: dict[str, Any], stem: bytes, said: str) -> None:
    service.ends, service.stem = ends, stem
    done = run(service)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == f"failed: {said}"


def test_no_signature_is_shown(service: Service) -> None:
    service.failures = 10**6
    done = run(service)
    assert done.returncode == 1
    assert "secret" not in done.stderr
