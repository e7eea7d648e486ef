"""`stemyard mcp` against the whole live service, called by the protocol's own client on both transports."""

import contextlib
import json
import os
import re
import subprocess
import time
import uuid
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import httpx
import httpx2
import pytest
from mcp import Client, StdioServerParameters
from mcp.client.streamable_http import streamable_http_client
from mcp.types import CallToolResult, TextContent

from localcluster.control_plane import ControlPlane
from tests.cli.program import STEMYARD, stemyard
from tests.support.service_world import MISSING, Service, service

TOOLS = {"separate", "status", "wait", "list", "download_links", "cancel", "models"}
HANDSHAKE = {"jsonrpc": "2.0", "id": 1, "method": "tools/list"}
ACCEPT = {"Accept": "application/json, text/event-stream"}


@pytest.fixture(scope="module")
def running(control_plane: ControlPlane, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with service(control_plane, tmp_path_factory.mktemp("service")) as found:
        yield found


@pytest.fixture
def query() -> str:
    return f"Song {uuid.uuid4()}"


def by_stdio(running: Service, folder: Path, key: str = "default", *arguments: str) -> Client:
    own = {"XDG_CONFIG_HOME": str(folder), "STEMYARD_URL": running.url, "STEMYARD_API_KEY": running.key(key)}
    command = StdioServerParameters(command=str(STEMYARD), args=["mcp", *arguments], env=own, cwd=folder)
    return Client(command, read_timeout_seconds=120)


@contextlib.contextmanager
def http_server(running: Service, folder: Path, *arguments: str, key: str = "") -> Iterator[tuple[str, Path]]:
    """Serve HTTP; return the address and the file of what the server prints."""
    environment = {**os.environ, "XDG_CONFIG_HOME": str(folder), "STEMYARD_URL": running.url, "STEMYARD_API_KEY": key}
    printed = folder / "printed"
    command = [str(STEMYARD), "mcp", "--http", "--port", "0", *arguments]
    with printed.open("wb") as log, subprocess.Popen(command, env=environment, stdout=log, stderr=log) as process:
        try:
            deadline = time.monotonic() + 120
            while not (found := re.search(r"http://\S+/mcp", printed.read_text())):
                assert process.poll() is None, printed.read_text()
                assert time.monotonic() < deadline, printed.read_text()
                time.sleep(0.05)
            yield found[0], printed
        finally:
            process.terminate()
            process.wait(30)


@contextlib.asynccontextmanager
async def by_http(url: str, key: str) -> AsyncIterator[Client]:
    async with (
        httpx2.AsyncClient(headers={"Authorization": f"Bearer {key}"}, timeout=120) as http,
        Client(streamable_http_client(url, http_client=http), read_timeout_seconds=120) as client,
    ):
        yield client


async def call(client: Client, tool: str, **arguments: Any) -> dict[str, Any]:
    result = await client.call_tool(tool, arguments)
    assert isinstance(result, CallToolResult)
    assert not result.is_error, result.content
    assert result.structured_content is not None
    found: dict[str, Any] = result.structured_content
    return found


async def refused(client: Client, tool: str, **arguments: Any) -> str:
    """Call a tool that must fail; return what the agent is told."""
    result = await client.call_tool(tool, arguments)
    assert isinstance(result, CallToolResult)
    assert result.is_error
    [content] = result.content
    assert isinstance(content, TextContent)
    assert "-key" not in content.text
    return content.text


async def separated(client: Client, query: str) -> str:
    """Separate a song with the tools alone; return its track id."""
    assert {tool.name for tool in (await client.list_tools()).tools} == TOOLS
    started = await call(client, "separate", query=query, stems=["vocals", "instrumental"])
    assert started["next"] == "Call wait with this track_id."
    seen: list[float] = []

    async def on_progress(progress: float, total: float | None, message: str | None) -> None:
        seen.append(progress)

    arguments = {"track_id": started["track_id"], "timeout_seconds": 100}
    waited = await client.call_tool("wait", arguments, progress_callback=on_progress)
    assert isinstance(waited, CallToolResult)
    assert waited.structured_content is not None
    assert waited.structured_content["status"] == "completed"
    assert seen[-1] == 100
    links = await call(client, "download_links", track_id=started["track_id"])
    assert sorted(links["links"]) == ["instrumental", "vocals"]
    async with httpx.AsyncClient() as http:
        assert [(await http.get(link)).status_code for link in links["links"].values()] == [200, 200]
    listed = await call(client, "list", text=query, status="completed")
    assert [track["track_id"] for track in listed["tracks"]] == [started["track_id"]]
    return str(started["track_id"])


async def test_a_song_is_separated_on_stdio(running: Service, tmp_path: Path, query: str) -> None:
    async with by_stdio(running, tmp_path) as client:
        await separated(client, query)
        offered = await call(client, "models")
        assert "spleeter-2stems" in [model["name"] for model in offered["models"]]
        assert "submit" in offered["scopes"]
        assert offered["sources"]["url"] is True


async def test_a_song_is_separated_over_http_with_the_callers_key(running: Service, tmp_path: Path, query: str) -> None:
    with http_server(running, tmp_path, key=running.key("default")) as (url, printed):
        assert url.startswith("http://127.0.0.1:")
        async with by_http(url, running.key("team-a")) as client:
            track = await separated(client, query)
        async with by_http(url, running.key("team-b")) as other:
            assert (await call(other, "list", text=query))["tracks"] == [], "another caller has other tracks"
        async with by_http(url, running.key("default")) as boss:
            assert (await call(boss, "status", track_id=track))["status"] == "completed"
        assert "-key" not in printed.read_text()


async def test_the_scopes_of_the_key_hold(running: Service, tmp_path: Path, query: str) -> None:
    async with by_stdio(running, tmp_path, "reader") as client:
        said = await refused(client, "separate", query=query)
        assert "(FORBIDDEN)" in said
        assert "scope" in said
        assert (await call(client, "models"))["scopes"] == ["read"]
    with http_server(running, tmp_path, key=running.key("default")) as (url, _):
        async with by_http(url, running.key("reader")) as client:
            assert "(FORBIDDEN)" in await refused(client, "separate", query=query)
        async with by_http(url, "a-wrong-secret") as stranger:
            said = await refused(stranger, "list")
            assert "(UNAUTHENTICATED)" in said
            assert "a-wrong-secret" not in said


async def test_errors_say_what_to_do(running: Service, tmp_path: Path, query: str) -> None:
    async with by_stdio(running, tmp_path) as client:
        assert "exactly one source" in await refused(client, "separate")
        assert "exactly one source" in await refused(client, "separate", query=query, url="https://a.example/b.mp3")
        assert "format: " in await refused(client, "separate", query=query, format="mp5")
        assert "(TRACK_NOT_FOUND)" in await refused(client, "status", track_id=str(uuid.uuid4()))
        failed = (await call(client, "separate", query=MISSING))["track_id"]
        ended = await call(client, "wait", track_id=failed)
        assert (ended["status"], ended["code"]) == ("failed", "SOURCE_NOT_FOUND")
        assert ended["error"]
        assert ended["next"].endswith(".")
        assert "it is failed" in await refused(client, "download_links", track_id=failed)
        assert "timeout_seconds" in await refused(client, "wait", track_id=failed, timeout_seconds=0)


async def test_a_wait_ends_in_time_and_a_track_is_cancelled(running: Service, tmp_path: Path, query: str) -> None:
    async with by_stdio(running, tmp_path) as client:
        with running.held():
            track = (await call(client, "separate", query=query))["track_id"]
            assert (await call(client, "wait", track_id=track, timeout_seconds=1))["status"] == "processing"
            assert (await call(client, "cancel", track_id=track))["cancelled"] is True
        assert (await call(client, "wait", track_id=track))["code"] == "CANCELLED"


async def test_files_are_sent_where_that_is_allowed(running: Service, tmp_path: Path) -> None:
    (tmp_path / "song.mp3").write_bytes(b"ID3" + os.urandom(2000))
    (tmp_path / "song.txt").write_text("secret")
    async with by_stdio(running, tmp_path) as client:
        track = (await call(client, "separate", file="song.mp3"))["track_id"]
        assert (await call(client, "wait", track_id=track))["status"] == "completed"
        assert "audio or video" in await refused(client, "separate", file=str(tmp_path / "song.txt"))
        assert "No such file" in await refused(client, "separate", file="none.mp3")
    with http_server(running, tmp_path) as (url, _):
        async with by_http(url, running.key("team-a")) as remote:
            assert "sends no files" in await refused(remote, "separate", file=str(tmp_path / "song.mp3"))
    with http_server(running, tmp_path, "--files", str(tmp_path)) as (url, _):
        async with by_http(url, running.key("team-a")) as remote:
            sent = (await call(remote, "separate", file="song.mp3"))["track_id"]
            assert (await call(remote, "wait", track_id=sent))["status"] == "completed"
            assert "Only files in the folder" in await refused(remote, "separate", file="/etc/song.mp3")


def ask(url: str, **headers: str) -> httpx.Response:
    return httpx.post(
        url, content=json.dumps(HANDSHAKE), headers={"Content-Type": "application/json", **ACCEPT, **headers}
    )


def test_http_refuses_strangers_and_foreign_names(running: Service, tmp_path: Path) -> None:
    key = {"Authorization": f"Bearer {running.key('default')}"}
    with http_server(running, tmp_path, key=running.key("default")) as (url, printed):
        unknown = ask(url)
        assert unknown.status_code == 401
        assert unknown.headers["WWW-Authenticate"].startswith("Bearer")
        assert ask(url, **key).status_code == 200
        assert ask(url, Host="attacker.example", **key).status_code == 421
        assert ask(url, Origin="https://attacker.example", **key).status_code == 403
        assert httpx.post(url, content=b"x" * (1 << 20), headers={**ACCEPT, **key}).status_code == 413
        assert running.key("default") not in printed.read_text()


async def test_the_hosts_key_is_shared_only_if_told(running: Service, tmp_path: Path) -> None:
    with http_server(running, tmp_path, "--shared-key", key=running.key("reader")) as (url, printed):
        assert "use the configured key" in printed.read_text()
        async with Client(url) as anyone:
            assert (await call(anyone, "models"))["scopes"] == ["read"]
        async with by_http(url, running.key("team-a")) as client:
            assert (await call(client, "models"))["scopes"] == ["read", "submit"], "a caller's own key goes first"


def test_other_addresses_need_a_name(running: Service, tmp_path: Path) -> None:
    here = {"STEMYARD_URL": running.url}
    refused = stemyard("mcp", "--http", "--host", "0.0.0.0", folder=tmp_path, **here)
    assert refused.returncode == 2
    assert "--allowed-host" in refused.stderr
    arguments = ("--host", "0.0.0.0", "--allowed-host", "tools.example.org")
    key = {"Authorization": "Bearer any"}
    with http_server(running, tmp_path, *arguments) as (url, _):
        local = url.replace("0.0.0.0", "127.0.0.1")
        assert ask(local, Host="tools.example.org", Origin="https://tools.example.org", **key).status_code == 200
        assert ask(local, Host="other.example.org", **key).status_code == 421
