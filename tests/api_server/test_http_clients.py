"""Stock HTTP clients upload, request, read and follow a separation: Java, Go, Node, Python, and curl offering h2c."""

import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from localcluster.control_plane import ControlPlane
from tests.support.api_world import World, world

CLIENTS = Path(__file__).parents[1] / "support/http_clients"
COMMANDS = {
    "Java": ("java", "Client.java"),
    "Go": ("go", "run", "client.go"),
    "Node": ("node", "client.mjs"),
    "curl": ("bash", "with_curl.sh"),
    "requests": (sys.executable, "with_requests.py"),
    "aiohttp": (sys.executable, "with_aiohttp.py"),
}


@pytest.fixture(scope="module")
def running(control_plane: ControlPlane, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with world(control_plane, tmp_path_factory.mktemp("world")) as found:
        yield found


@pytest.mark.parametrize("name", COMMANDS)
def test_a_stock_client_uploads_requests_and_follows(running: World, name: str) -> None:
    program, *arguments = COMMANDS[name]
    if shutil.which("curl" if name == "curl" else program) is None:
        pytest.skip(f"{program} is not installed")
    api = running.apis[0]
    command = [program, *arguments, api.url, api.key]
    ended = subprocess.run(command, cwd=CLIENTS, capture_output=True, text=True, timeout=120, check=False)
    assert ended.returncode == 0, ended.stderr
    source = running.resource(ended.stdout.strip())["spec"]["source"]
    assert source["upload"]["owner"] == "default"
