"""The sweep with a real API server and a real store: it removes only objects orphaned for a day."""

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import yaml
from aiohttp import web
from aiohttp.test_utils import TestServer

from localcluster.control_plane import ControlPlane
from stemyard_operator.clients.kubernetes import KubernetesClient
from stemyard_operator.clients.s3 import ObjectStoreClient
from stemyard_operator.maintenance.orphans import SweepState
from stemyard_operator.maintenance.sweeper import Sweeper
from tests.api_server.conftest import CRD_FILE, install_crd
from tests.api_server.test_crd import manifest
from tests.api_server.test_operator_definition import lenient
from tests.operator.world import settings
from tests.support.operator_world import INSTALL, World, world

DAY = 86_400.0
TRACKS = [f"6ba7b810-9dad-51d1-80b4-00c04fd430c{number}" for number in range(3)]
"""Tracks of the API."""


class Counted:
    """Records what the metrics would count."""

    def __init__(self) -> None:
        self.sweeps: list[tuple[int, int, bool]] = []
        self.unwatched = self.refused = 0
        self.failing = asyncio.Event()

    def swept(self, *, orphans: int, removed: int, stopped: bool, unwatched: int, refused: int) -> None:
        self.sweeps.append((orphans, removed, stopped))
        self.unwatched, self.refused = unwatched, refused

    def sweep_failed(self) -> None:
        self.failing.set()


class Sweeping:
    """A sweeper with its own clock, over real clients."""

    def __init__(self, running: World, cluster: KubernetesClient, **changes: Any) -> None:
        values = {key.lower(): value for key, value in running.store.environment.items()}
        given = {"stemyard_install_id": INSTALL, "pod_namespace": running.namespace, **values, **changes}
        self.objects = ObjectStoreClient(settings(**given))
        self.metrics = Counted()
        self.clock = time.time()
        self.sweeper = Sweeper(settings(**given), cluster, self.objects, lambda: None, self.metrics, lambda: self.clock)

    async def day(self, days: float = 1) -> tuple[int, int, bool]:
        """Advance the clock, then sweep; return the counts."""
        self.clock += days * DAY
        await self.sweeper.once()
        return self.metrics.sweeps[-1]


@pytest.fixture
def running(control_plane: ControlPlane, tmp_path: Path) -> Iterator[World]:
    with world(control_plane, tmp_path) as found:
        yield found


def put(running: World, *keys: str, body: bytes = b"x") -> None:
    client = running.store.client()
    for key in keys:
        client.put_object(Bucket=running.store.bucket, Key=key, Body=body)
    client.close()


def stray(running: World, number: int = 0) -> str:
    """A key of a track without a SeparationJob."""
    return f"{INSTALL}/stems/{running.namespace}.gone-{number}/0123/vocals.mp3"


def found_a_day_ago(running: World, *keys: str) -> None:
    """Store the state of a sweep a day ago that took the prefixes of these keys for orphans."""
    state = SweepState(at=time.time() - DAY, orphans=[key.rpartition("/")[0] + "/" for key in keys])
    put(running, f"{INSTALL}/sweep.json", body=state.model_dump_json().encode())


class Proxy:
    """A proxy before the store that can answer with an HTML page, or refuse to delete some keys or list uploads."""

    def __init__(self, running: World) -> None:
        self._store = running.store.url
        self.page = ""
        self.locked = "none"
        self.unlisted: tuple[int, str] | None = None

    async def answer(self, request: web.Request) -> web.Response:
        if self.page:
            return web.Response(text=self.page, content_type="text/html")
        if self.unlisted is not None and "uploads" in request.query:
            status, code = self.unlisted
            return web.Response(status=status, text=f"<Error><Code>{code}</Code></Error>")
        if request.method == "DELETE" and self.locked in request.path:
            return web.Response(status=403, text="<Error><Code>AccessDenied</Code></Error>")
        async with (
            aiohttp.ClientSession(auto_decompress=False) as session,
            session.request(
                request.method, self._store + request.raw_path, headers=request.headers, data=await request.read()
            ) as response,
        ):
            return web.Response(status=response.status, headers=response.headers, body=await response.read())


@contextlib.asynccontextmanager
async def proxied(running: World) -> AsyncIterator[tuple[Proxy, str]]:
    """Yield a proxy and its URL."""
    proxy, application = Proxy(running), web.Application()
    application.router.add_route("*", "/{rest:.*}", proxy.answer)
    async with TestServer(application) as server:
        yield proxy, str(server.make_url("/"))


def events(running: World) -> dict[str, str]:
    return {one["reason"]: one["message"] for one in running.plane.api.get(running.path("events"))["items"]}


async def test_a_sweep_removes_objects_orphaned_for_a_day(running: World, cluster: KubernetesClient) -> None:
    with running.operating(SWEEP_SECONDS="0"):
        running.create("kept")
        running.separate("kept")
    mine = running.objects("stems/")
    other = stray(running).replace(INSTALL, "another", 1)
    put(running, stray(running), other)
    for dry_run in (True, False):
        sweeping = Sweeping(running, cluster, sweep_dry_run=dry_run)
        assert await sweeping.day(0 if dry_run else 1) == (1, 0 if dry_run else 1, False)
        assert await sweeping.sweeper.once() == pytest.approx(DAY)
        if dry_run:
            assert sweeping.metrics.sweeps == [(1, 0, False)] * 2, "known again after a restart"
            assert await sweeping.day(0.9) == (1, 0, False)
        await sweeping.objects.close()
    assert running.objects("stems/") == mine
    client = running.store.client()
    assert client.head_object(Bucket=running.store.bucket, Key=other)["ContentLength"] == 1
    client.close()


async def test_a_sweep_in_the_future_is_none(running: World, cluster: KubernetesClient) -> None:
    """A clock that was wrong for a moment neither ends the sweeps nor confirms what it found."""
    running.create()
    put(running, stray(running))
    sweeping = Sweeping(running, cluster)
    state = SweepState(at=time.time() + 1000 * DAY, orphans=[stray(running).rpartition("/")[0] + "/"])
    put(running, f"{INSTALL}/sweep.json", body=state.model_dump_json().encode())
    await sweeping.day(0)
    assert running.objects("stems") == [stray(running)]
    await sweeping.day()
    await sweeping.objects.close()
    assert running.objects("stems") == []


async def test_an_empty_listing_stops_the_sweep_until_it_is_forced(running: World, cluster: KubernetesClient) -> None:
    put(running, *(stray(running, number) for number in range(3)))
    sweeping = Sweeping(running, cluster)
    assert (await sweeping.day(0))[2]
    assert await sweeping.day() == (3, 0, True)
    later = Sweeping(running, cluster)
    later.clock = sweeping.clock
    assert await later.day(0.5) == (3, 0, True), "what stopped it is still so after a restart"
    assert "no SeparationJob was listed" in events(running)["SweepStopped"]
    tomorrow = sweeping.clock + DAY
    forced = Sweeping(running, cluster, sweep_force=time.strftime("%Y-%m-%d", time.gmtime(tomorrow)))
    forced.clock = tomorrow
    assert await forced.day(0) == (3, 3, False)
    assert running.objects("stems/") == []
    for one in (sweeping, later, forced):
        await one.objects.close()


async def test_a_completed_separation_without_stems_is_deleted(running: World, cluster: KubernetesClient) -> None:
    with running.operating(SWEEP_SECONDS="0"):
        for name in ("kept", "hollow"):
            running.create(name)
            running.separate(name)
    client = running.store.client()
    client.delete_object(Bucket=running.store.bucket, Key=running.objects(f"stems/{running.namespace}.hollow/")[0])
    client.close()
    sweeping = Sweeping(running, cluster)
    await sweeping.day(0)
    left = running.plane.api.get(running.path("separationjobs"))["items"]
    assert len(left) == 2, "what has only just ended is not missed yet"
    await sweeping.day()
    left = running.plane.api.get(running.path("separationjobs"))["items"]
    assert [one["metadata"]["name"] for one in left] == ["kept"]
    await sweeping.objects.close()


@pytest.fixture
def lenient_world(tmp_path: Path) -> Iterator[World]:
    """A separate cluster whose CRD accepts URLs that the types do not."""
    with ControlPlane(tmp_path / "plane") as plane:
        install_crd(plane, lenient(yaml.safe_load(CRD_FILE.read_text())))
        with world(plane, tmp_path) as found:
            yield found


async def test_unreadable_separations_keep_their_objects_and_do_not_stop_the_sweep(
    lenient_world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    lenient_world.create("readable")
    unreadable = manifest({"source": {"url": "https://example.com/a\u3000b"}}, "unreadable")
    lenient_world.plane.api.post(lenient_world.path("separationjobs"), unreadable)
    own = [f"{INSTALL}/{room}/{lenient_world.namespace}.unreadable/0123/x" for room in ("work", "stems")]
    put(lenient_world, *own, stray(lenient_world))
    found_a_day_ago(lenient_world, *own, stray(lenient_world))
    monkeypatch.setenv("KUBECONFIG", lenient_world.environment["KUBECONFIG"])
    cluster = await KubernetesClient.connect()
    sweeping = Sweeping(lenient_world, cluster)
    assert await sweeping.day(0) == (1, 1, False)
    assert lenient_world.objects("stems/") + lenient_world.objects("work/") == own[::-1]
    await sweeping.objects.close()
    await cluster.close()


async def test_namespaces_that_are_no_longer_watched_keep_their_results(
    running: World, cluster: KubernetesClient
) -> None:
    """Neither its own tracks, nor those of the API from when that namespace was the API's."""
    running.create("song")
    moved, stayed, unknown = (f"{INSTALL}/stems/{track}/0123/" for track in TRACKS)
    put(running, moved + "manifest.json", body=json.dumps({"asked": {"namespace": "left", "name": "x"}}).encode())
    put(running, stayed + "manifest.json", body=json.dumps({"asked": {"namespace": running.namespace}}).encode())
    rooms = [f"{INSTALL}/{room}/left.song/0123/x" for room in ("work", "stems")]
    put(running, *rooms)
    found_a_day_ago(running, *rooms, moved + "x", stayed + "x")
    sweeping = Sweeping(running, cluster)
    assert await sweeping.day(0) == (2, 1, False)
    assert sweeping.metrics.unwatched == 2
    assert running.objects("stems/") == [moved + "manifest.json", rooms[1]]
    assert running.objects("work/") == [rooms[0]]
    await sweeping.objects.close()
    put(running, unknown + "vocals.mp3")
    found_a_day_ago(running, moved + "x", unknown + "x")
    elsewhere = Sweeping(running, cluster, api_namespace="left")
    assert await elsewhere.day(0) == (0, 0, False), "the API's namespace is not watched"
    await elsewhere.objects.close()


async def test_html_pages_instead_of_listings_do_not_end_the_leader(running: World, cluster: KubernetesClient) -> None:
    with running.operating(SWEEP_SECONDS="0"):
        running.create()
        running.separate()
    stored = running.objects("stems/")
    async with proxied(running) as (proxy, url):
        sweeping = Sweeping(running, cluster, s3_endpoint_url=url)
        for proxy.page in ("<html><body>maintenance</body></html>", "<html><br>"):
            sweeping.metrics.failing.clear()
            running_sweep = asyncio.create_task(sweeping.sweeper.run())
            await asyncio.wait_for(sweeping.metrics.failing.wait(), 60)
            await asyncio.sleep(0)
            assert not running_sweep.done()
            running_sweep.cancel()
        proxy.page = ""
        assert await sweeping.day(0) == (0, 0, False)
        await sweeping.objects.close()
    assert running.objects("stems/") == stored
    assert len(running.plane.api.get(running.path("separationjobs"))["items"]) == 1


async def test_one_locked_object_does_not_keep_the_other_orphans(running: World, cluster: KubernetesClient) -> None:
    running.create("song")
    keys = [f"{INSTALL}/uploads/{owner}/0123/source" for owner in ("a", "locked", "z")]
    put(running, *keys)
    found_a_day_ago(running, *keys)
    async with proxied(running) as (proxy, url):
        proxy.locked = "/locked/"
        sweeping = Sweeping(running, cluster, s3_endpoint_url=url)
        assert await sweeping.day(0) == (3, 2, False)
        assert sweeping.metrics.refused == 1
        assert running.objects("uploads/") == [keys[1]]
        proxy.locked = "none"
        assert await sweeping.day() == (1, 1, False)
        assert sweeping.metrics.refused == 0
        await sweeping.objects.close()


def begin_upload(running: World, upload_id: str, install_id: str = INSTALL) -> str:
    """Begin an upload in parts and send one, as a client that then disappears; return its prefix."""
    prefix = f"{install_id}/uploads/default/{upload_id}/"
    put(running, prefix + "multipart.json")
    client, bucket = running.store.client(), running.store.bucket
    store_id = client.create_multipart_upload(Bucket=bucket, Key=prefix + "source")["UploadId"]
    client.upload_part(Bucket=bucket, Key=prefix + "source", UploadId=store_id, PartNumber=1, Body=b"part")
    client.close()
    return prefix


def uploads_in_parts(running: World) -> list[str]:
    client = running.store.client()
    found = client.list_multipart_uploads(Bucket=running.store.bucket).get("Uploads", [])
    client.close()
    return sorted(upload["Key"].rpartition("/")[0] + "/" for upload in found)


async def test_an_upload_in_parts_is_kept_for_a_day_then_aborted(running: World, cluster: KubernetesClient) -> None:
    running.create("song")
    theirs, ours = begin_upload(running, "0123", "another"), begin_upload(running, "0123")
    for days in (0, 1):
        sweeping = Sweeping(running, cluster)
        assert await sweeping.day(days) == (0, 0, False)
        assert uploads_in_parts(running) == [theirs, ours]
        await sweeping.objects.close()
    dry = Sweeping(running, cluster, sweep_dry_run=True)
    assert await dry.day(2) == (1, 0, False), "its record is an orphan now"
    assert uploads_in_parts(running) == [theirs, ours]
    await dry.objects.close()
    sweeping = Sweeping(running, cluster)
    assert await sweeping.day(3) == (1, 1, False)
    assert uploads_in_parts(running) == [theirs]
    assert running.objects("uploads/") == []
    await sweeping.objects.close()


@pytest.mark.parametrize(("status", "code"), [(501, "NotImplemented"), (403, "AccessDenied")])
async def test_a_store_that_lists_no_uploads_in_parts_is_swept_otherwise(
    running: World, cluster: KubernetesClient, status: int, code: str
) -> None:
    running.create("song")
    put(running, stray(running))
    found_a_day_ago(running, stray(running))
    async with proxied(running) as (proxy, url):
        proxy.unlisted = status, code
        sweeping = Sweeping(running, cluster, s3_endpoint_url=url)
        assert await sweeping.day(0) == (1, 1, False)
        await sweeping.objects.close()
    assert running.objects("stems/") == []
