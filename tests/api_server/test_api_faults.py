"""The API while a backend fails under load: there is no 500, and no accepted request is lost."""

import contextlib
import signal
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from localcluster.control_plane import ControlPlane
from stemyard_contract.identity import cache_key
from stemyard_contract.separationjob import Output, Source, Stem
from tests.support.api_load import Ask, Load, load
from tests.support.api_world import World, eventually, published, services, world
from tests.support.kv_server import ACCOUNT, NAMESPACE, TOKEN, KvServer
from tests.support.servers import Api, api_process


@pytest.fixture(scope="module")
def running(control_plane: ControlPlane, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with world(control_plane, tmp_path_factory.mktemp("faults")) as found:
        yield found


@dataclass(frozen=True)
class Songs:
    """A completed track and a running one; both are in the mirror."""

    query: str
    done: str
    working: str


@pytest.fixture
def songs(running: World) -> Songs:
    query = f"Done {uuid.uuid4()}"
    with running.apis[0].client() as client:
        done = new(client, query).json()["track_id"]
        working = new(client).json()["track_id"]
    stems = [Stem.VOCALS, Stem.INSTRUMENTAL]
    key = cache_key(Source(search_query=query), "spleeter-2stems", stems, Output())
    running.report(done, {**published(track=done), "cacheKey": key})
    running.report(working, {"run": 1, "startedAt": "2026-01-02T03:04:06Z"})
    return Songs(query, done, working)


def new(client: httpx.Client, query: str | None = None) -> httpx.Response:
    return client.post("/separate-audio", json={"search_query": query or f"New {uuid.uuid4()}"})


def everything(songs: Songs) -> dict[str, Ask]:
    return {
        "done": lambda client: client.get(f"/job/{songs.done}"),
        "working": lambda client: client.get(f"/job/{songs.working}"),
        "cached": lambda client: new(client, songs.query),
        "new": new,
    }


@contextlib.contextmanager
def loaded(songs: Songs, *apis: Api) -> Iterator[Load]:
    with ExitStack() as stack:
        clients = [stack.enter_context(api.client()) for api in apis]
        yield stack.enter_context(load(clients, everything(songs)))


def more(found: Load, name: str, status: int, count: int = 20) -> None:
    """Wait until a request has had this status so many more times."""
    wanted = found.seen(name, status) + count
    eventually(lambda: found.seen(name, status) >= wanted, seconds=60)


def all_there(running: World, found: Load) -> None:
    names = {item["metadata"]["name"] for item in running.plane.api.get(running.path())["items"]}
    assert {f"sep-{track}" for track in found.accepted} <= names
    assert found.accepted


def test_redis_stops_and_restarts(running: World, songs: Songs) -> None:
    with loaded(songs, *running.apis) as found:
        for name, status in (("done", 200), ("working", 200), ("cached", 200), ("new", 202)):
            more(found, name, status)
        running.valkey.stop()
        for name, status in (("done", 200), ("working", 200), ("cached", 200), ("new", 202)):
            more(found, name, status)
        running.valkey.start()
        for api in running.apis:
            eventually(lambda api=api: bool(services(api)["redis_operational"]))  # type: ignore[misc]
        # what only the mirror knows is answered again
        resource = running.resource(songs.done)
        running.mirror(
            resource | {"metadata": resource["metadata"] | {"name": "x", "namespace": "elsewhere", "labels": {}}}
        )
        with running.apis[0].client() as client:
            eventually(lambda: client.get("/job/elsewhere.x").status_code == 200)
        more(found, "new", 202)
    assert found.wrong == []
    assert found.of("done") == found.of("working") == found.of("cached") == {200}
    assert found.of("new") == {202}
    all_there(running, found)


def test_the_api_server_stops_and_restarts(running: World, songs: Songs) -> None:
    apiserver = next(daemon for daemon in running.plane.daemons() if daemon.name == "kube-apiserver")
    with loaded(songs, *running.apis) as found:
        more(found, "new", 202)
        apiserver.stop(grace=2.0)
        try:
            more(found, "new", 503)
            for name in ("done", "working", "cached"):
                more(found, name, 200)
            with running.apis[0].client() as client:
                refused = new(client)
                assert (refused.status_code, refused.json()["code"]) == (503, "UNAVAILABLE")
                assert int(refused.headers["retry-after"]) > 0
        finally:
            running.plane.start()
        more(found, "new", 202)
    assert found.wrong == []
    assert found.of("done") == found.of("working") == found.of("cached") == {200}
    assert found.of("new") == {202, 503}
    all_there(running, found)


def test_cloudflare_kv_fails_and_recovers(running: World, songs: Songs, tmp_path: Path) -> None:
    kv = KvServer(failing=True)
    environment = {name: value for name, value in running.apis[0].server.environment.items() if name != "REDIS_URL"}
    del environment["PORT"]
    with kv.serving() as server:
        environment |= {
            "CLOUDFLARE_ACCOUNT_ID": ACCOUNT,
            "CLOUDFLARE_API_TOKEN": TOKEN,
            "CLOUDFLARE_KV_NAMESPACE_ID": NAMESPACE,
            "CLOUDFLARE_API_URL": f"{server.url}/client/v4",
            "RATE_LIMIT_SUBMITS_PER_MINUTE": "600",
        }
        with api_process(tmp_path, environment) as api, loaded(songs, api) as found:
            more(found, "new", 202)
            assert not services(api)["rate_limiting_operational"]
            kv.failing = False
            eventually(lambda: bool(services(api)["rate_limiting_operational"]), seconds=30)
            more(found, "new", 202)
            kv.failing = True
            more(found, "cached", 200)
    assert found.wrong == []
    assert found.of("done") == found.of("working") == {200}
    assert found.of("new") <= {202, 429}
    assert found.of("cached") <= {200, 429}
    all_there(running, found)


def test_the_object_store_stops(running: World, songs: Songs) -> None:
    with loaded(songs, *running.apis) as found:
        more(found, "done", 200)
        running.store.server.stop()
        try:
            for name, status in (("done", 200), ("working", 200), ("cached", 200), ("new", 202)):
                more(found, name, status)
            with running.apis[0].client() as client:
                upload = client.post("/uploads", json={"filename": "a.mp3", "size": 9, "content_type": "audio/mpeg"})
                assert upload.status_code in {200, 201}, upload.text
                refused = client.post("/separate-audio", json={"upload_id": upload.json()["upload_id"]})
                assert (refused.status_code, refused.json()["code"]) == (503, "UNAVAILABLE")
        finally:
            running.store.server.start()
    assert found.wrong == []
    assert found.of("done") == found.of("working") == found.of("cached") == {200}
    all_there(running, found)


def test_sigterm_drains(running: World, songs: Songs, tmp_path: Path) -> None:
    environment = dict(running.apis[0].server.environment)
    del environment["PORT"]
    answers: dict[str, httpx.Response] = {}
    with api_process(tmp_path, environment) as api, loaded(songs, api) as found:

        def keep(name: str, path: str) -> Callable[[], None]:
            def ask() -> None:
                with api.client() as client:
                    answers[name] = client.get(path)

            return ask

        threads = [
            threading.Thread(target=keep("stream", f"/job/{songs.working}/events")),
            threading.Thread(target=keep("wait", f"/job/{songs.working}/wait?timeout=60")),
        ]
        for thread in threads:
            thread.start()
        eventually(lambda: "stemyard_api_event_streams 1.0" in httpx.get(f"{api.health_url}/metrics").text)
        more(found, "done", 200)
        started = time.monotonic()
        assert api.server.stop(signal.SIGTERM) in {0, -signal.SIGTERM}
        found.end()
        for thread in threads:
            thread.join(timeout=30)
    assert time.monotonic() - started < 15  # far from the 20 s after which uvicorn gives up
    assert found.wrong == []
    assert found.of("done") | found.of("working") | found.of("cached") <= {200, 0}
    assert answers["stream"].text.rstrip().splitlines()[-1].startswith("retry: ")
    assert (answers["wait"].status_code, answers["wait"].json()["status"]) == (200, "processing")
    all_there(running, found)
