"""Real servers for tests, each a process on a free port of this machine: Valkey, an S3 store, and our own API."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import boto3
import httpx
from botocore.config import Config
from mypy_boto3_s3 import S3Client

from localcluster.control_plane import free_port
from localcluster.folders import here
from localcluster.tools import path_of

_READY_SECONDS = 120.0
"""Generous: on a busy machine a Python process may take half a minute to start."""


@dataclass
class Server:
    """A process that listens on a port; `stop` and `start` may be called again and again."""

    name: str
    command: list[str]
    port: int
    folder: Path
    environment: Mapping[str, str] = field(default_factory=dict)
    process: subprocess.Popen[bytes] | None = None

    @property
    def log(self) -> Path:
        return self.folder / f"{self.name}-{self.port}.log"

    def launch(self) -> None:
        """Start it without waiting for it."""
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                self.command, cwd=self.folder, env={**os.environ, **self.environment}, stdout=log, stderr=log
            )

    def start(self) -> None:
        self.launch()
        self.wait_until(self.listens)

    def stop(self, sent: signal.Signals = signal.SIGKILL) -> int:
        assert self.process is not None
        self.process.send_signal(sent)
        try:
            return self.process.wait(timeout=30)
        except subprocess.TimeoutExpired:
            self.process.send_signal(signal.SIGABRT)  # with PYTHONFAULTHANDLER, Python then logs where it is
            self.process.wait(timeout=30)
            raise RuntimeError(f"{self.name} did not end:\n{self.log.read_text()[-4000:]}") from None

    def listens(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def wait_until(self, ready: Callable[[], bool]) -> None:
        deadline = time.monotonic() + _READY_SECONDS
        while not ready():
            assert self.process is not None
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"{self.name} did not start:\n{self.log.read_text()[-2000:]}")
            time.sleep(0.03)

    @contextlib.contextmanager
    def running(self) -> Iterator["Server"]:
        try:
            self.start()
            yield self
        finally:
            if self.process is not None and self.process.poll() is None:
                self.stop()


def valkey(folder: Path, user: str = "", password: str = "") -> Server:
    """A Valkey server without persistence; if a user is given, only that user may connect."""
    port = free_port()
    program = str(path_of("valkey-server", here()))
    options = ["--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
    if user:
        options += ["--user", user, "on", f">{password}", "~*", "&*", "+@all", "--user", "default", "off"]
    return Server("valkey", [program, *options], port, folder)


@dataclass(frozen=True)
class ObjectStore:
    """A real S3 server over a folder, with one bucket."""

    server: Server
    bucket: str = "stemyard"
    access_key: str = "test-access-key"
    secret_key: str = "test-secret-key"

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.port}"

    @property
    def environment(self) -> dict[str, str]:
        """Environment variables that configure the parts for this store."""
        return {
            "S3_ENDPOINT_URL": self.url,
            "S3_REGION": "us-east-1",
            "R2_BUCKET": self.bucket,
            "R2_ACCESS_KEY_ID": self.access_key,
            "R2_SECRET_ACCESS_KEY": self.secret_key,
        }

    def let_everybody_read(self) -> None:
        """Make the stems public, as a public domain should."""
        statement = {"Effect": "Allow", "Principal": "*", "Action": "s3:GetObject"}
        policy = {"Statement": [{**statement, "Resource": f"arn:aws:s3:::{self.bucket}/*/stems/*"}]}
        client = self.client()
        client.put_bucket_policy(Bucket=self.bucket, Policy=json.dumps(policy))
        client.close()

    def client(self) -> S3Client:
        return boto3.client(
            "s3",
            endpoint_url=self.url,
            region_name="us-east-1",
            aws_access_key_id=self.access_key,
            aws_secret_access_key=self.secret_key,
            config=Config(s3={"addressing_style": "path"}, retries={"total_max_attempts": 1}),
        )


@contextlib.contextmanager
def object_store(folder: Path) -> Iterator[ObjectStore]:
    """Run versitygw with an empty bucket."""
    port = free_port()
    (folder / "objects").mkdir()
    # S3 and R2 keep connections; versitygw does so only where it is told to
    options = ["--port", f"127.0.0.1:{port}", "--quiet", "--keep-alive"]
    command = [str(path_of("versitygw", here())), *options, "posix", "objects"]
    keys = {"ROOT_ACCESS_KEY": ObjectStore.access_key, "ROOT_SECRET_KEY": ObjectStore.secret_key}
    with Server("versitygw", command, port, folder, keys).running() as server:
        store = ObjectStore(server)
        client = store.client()
        client.create_bucket(Bucket=store.bucket)
        client.close()
        yield store


@dataclass(frozen=True)
class Api:
    """Our API as its own process."""

    server: Server
    key: str

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.port}"

    @property
    def health_url(self) -> str:
        return f"http://127.0.0.1:{self.server.environment['HEALTH_PORT']}"

    def client(self) -> httpx.Client:
        return httpx.Client(base_url=self.url, headers={"X-API-Key": self.key}, timeout=30.0)


@contextlib.contextmanager
def api_process(folder: Path, environment: Mapping[str, str], key: str = "test-key") -> Iterator[Api]:
    """Run `python -m stemyard_api` with this environment until the block ends."""
    port = free_port()
    settings = {"PORT": str(port), "API_SECRET_KEY": key, **environment, "HEALTH_PORT": str(free_port())}
    settings["PYTHONFAULTHANDLER"] = "1"
    with Server("api", [sys.executable, "-m", "stemyard_api"], port, folder, settings).running() as server:
        api = Api(server, key)
        with api.client() as client:
            server.wait_until(lambda: client.get("/livez").status_code == 200)
        yield api
