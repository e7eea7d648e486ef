"""The process: its start-up errors, its port, and its end on SIGTERM."""

import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from localcluster.control_plane import free_port
from tests.support.api_world import eventually
from tests.support.servers import api_process, valkey

ENVIRONMENT = {"STEMYARD_INSTALL_ID": "main", "STEMYARD_NAMESPACE": "stemyard"}


def run(environment: dict[str, str], folder: Path) -> subprocess.CompletedProcess[str]:
    kept = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    command = [sys.executable, "-m", "stemyard_api"]
    return subprocess.run(
        command, cwd=folder, env={**kept, **environment}, capture_output=True, text=True, timeout=60, check=False
    )


def test_it_refuses_to_start_without_a_key(tmp_path: Path) -> None:
    ended = run({**ENVIRONMENT, "REDIS_URL": "redis://:hunter2@cache:6379"}, tmp_path)
    assert ended.returncode == 2
    assert "API_SECRET_KEY is not set" in ended.stderr
    assert "Traceback" not in ended.stderr
    assert "hunter2" not in ended.stderr + ended.stdout


def test_it_refuses_to_start_without_a_key_of_a_secret(tmp_path: Path) -> None:
    """The last line, which becomes the termination message, names the key."""
    listed = {
        "STEMYARD_SECRET_VARIABLES": "API_SECRET_KEY=api-key,R2_ACCESS_KEY_ID=bucket",
        "API_SECRET_KEY": "hunter2",
    }
    ended = run({**ENVIRONMENT, **listed}, tmp_path)
    assert ended.returncode == 2
    [said] = ended.stderr.splitlines()
    assert "R2_ACCESS_KEY_ID is empty: the Secret bucket does not exist or has no key R2_ACCESS_KEY_ID" in said
    assert "hunter2" not in said


def test_it_refuses_to_start_without_a_cluster(tmp_path: Path) -> None:
    ended = run({**ENVIRONMENT, "API_SECRET_KEY": "k"}, tmp_path)
    assert ended.returncode != 0
    assert "no Kubernetes cluster" in ended.stdout


def test_it_ends_if_its_port_is_taken(nowhere: str, tmp_path: Path) -> None:
    """At once, although it is just about to connect to Redis."""
    with valkey(tmp_path).running() as cache:
        taken = {
            "PORT": str(cache.port),
            "HEALTH_PORT": str(free_port()),
            "REDIS_URL": f"redis://127.0.0.1:{cache.port}",
        }
        ended = run({**ENVIRONMENT, "API_SECRET_KEY": "k", "KUBECONFIG": os.environ["KUBECONFIG"], **taken}, tmp_path)
    assert ended.returncode != 0
    assert "address already in use" in ended.stdout
    assert "does not end" not in ended.stdout


@pytest.mark.parametrize("insecure", [False, True])
def test_it_serves_its_port_and_ends_on_sigterm(nowhere: str, tmp_path: Path, insecure: bool) -> None:
    key = {"STEMYARD_INSECURE_DEV": "true"} if insecure else {}
    with api_process(tmp_path, {**ENVIRONMENT, **key}, "" if insecure else "hunter2") as api:
        response = httpx.get(f"{api.url}/nothing?token=hunter2", headers={"X-API-Key": "hunter2"})
        assert response.status_code == 404
        assert "server" not in response.headers
        assert httpx.get(f"{api.url}/nothing").status_code == (404 if insecure else 401)
        api.server.stop(signal.SIGTERM)
        lines = [json.loads(line) for line in api.server.log.read_text().splitlines()]
    accesses = [line for line in lines if line["logger"] == "stemyard_api.access"]
    assert [(line["path"], line["status"]) for line in accesses] == [
        ("/nothing", 404),
        ("/nothing", 404 if insecure else 401),
    ]
    assert not any("hunter2" in json.dumps(line) for line in lines)


def test_metrics_and_probes_have_a_port_of_their_own(nowhere: str, tmp_path: Path) -> None:
    with api_process(tmp_path, {**ENVIRONMENT, "MAX_CONNECTIONS": "1"}, "hunter2") as api:
        with socket.create_connection(("127.0.0.1", api.server.port)):
            for method in ("GET", "HEAD"):
                answers = [
                    httpx.request(method, f"{api.health_url}{path}") for path in ("/metrics", "/livez", "/readyz")
                ]
                assert [answer.status_code for answer in answers] == [200, 200, 503]
            assert httpx.get(f"{api.health_url}/health").status_code == 404
        for headers, status in (({}, 401), ({"X-API-Key": "hunter2"}, 404)):
            eventually(lambda: httpx.get(f"{api.url}/livez").status_code == 200)
            assert httpx.get(f"{api.url}/metrics", headers=headers).status_code == status
