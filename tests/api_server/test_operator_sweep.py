"""The sweep before a real API server and a real store: what belongs to nobody goes, after a day, and nothing else."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from localcluster.control_plane import ControlPlane
from stemyard_operator.clients.kubernetes import KubernetesClient
from stemyard_operator.clients.s3 import ObjectStoreClient
from stemyard_operator.maintenance.sweeper import Sweeper
from tests.operator.world import settings
from tests.support.operator_world import INSTALL, World, world

DAY = 86_400.0
STRAY = "stems/music.gone/0123/vocals.mp3"


class Counted:
    """Records what the metrics would count."""

    def __init__(self) -> None:
        self.sweeps: list[tuple[int, int, bool]] = []

    def swept(self, *, orphans: int, removed: int, stopped: bool) -> None:
        self.sweeps.append((orphans, removed, stopped))


class Sweeping:
    """A sweeper with a clock of its own, over everything real."""

    def __init__(self, running: World, cluster: KubernetesClient, **changes: Any) -> None:
        values = {key.lower(): value for key, value in running.store.environment.items()}
        given = {"stemyard_install_id": INSTALL, "pod_namespace": running.namespace, **values, **changes}
        self.objects = ObjectStoreClient(settings(**given))
        self.metrics = Counted()
        self.clock = time.time()
        self.sweeper = Sweeper(settings(**given), cluster, self.objects, lambda: None, self.metrics, lambda: self.clock)

    async def day(self, days: float = 1) -> tuple[int, int, bool]:
        """Let time pass, then sweep; return what was counted."""
        self.clock += days * DAY
        await self.sweeper.once()
        return self.metrics.sweeps[-1]


@pytest.fixture
def running(control_plane: ControlPlane, tmp_path: Path) -> Iterator[World]:
    with world(control_plane, tmp_path) as found:
        yield found


def put(running: World, *keys: str) -> None:
    client = running.store.client()
    for key in keys:
        client.put_object(Bucket=running.store.bucket, Key=key, Body=b"x")
    client.close()


def events(running: World) -> dict[str, str]:
    return {one["reason"]: one["message"] for one in running.plane.api.get(running.path("events"))["items"]}


async def test_a_sweep_takes_what_two_listings_a_day_apart_agree_on(running: World, cluster: KubernetesClient) -> None:
    with running.operating(SWEEP_SECONDS="0"):
        running.create("kept")
        running.separate("kept")
    mine = running.objects("stems/")
    put(running, f"{INSTALL}/{STRAY}", f"another/{STRAY}")
    for dry_run in (True, False):
        sweeping = Sweeping(running, cluster, sweep_dry_run=dry_run)
        assert await sweeping.day(0 if dry_run else 1) == (1, 0 if dry_run else 1, False)
        assert await sweeping.sweeper.once() == pytest.approx(DAY)
        if dry_run:
            assert len(sweeping.metrics.sweeps) == 1
            assert await sweeping.day(0.9) == (1, 0, False)
            assert len(sweeping.metrics.sweeps) == 1
        await sweeping.objects.close()
    assert running.objects("stems/") == mine
    client = running.store.client()
    assert client.head_object(Bucket=running.store.bucket, Key=f"another/{STRAY}")["ContentLength"] == 1
    client.close()


async def test_an_empty_listing_stops_it_until_it_is_forced(running: World, cluster: KubernetesClient) -> None:
    put(running, *(f"{INSTALL}/{STRAY.replace('gone', f'gone-{number}')}" for number in range(3)))
    sweeping = Sweeping(running, cluster)
    assert (await sweeping.day(0))[2]
    assert await sweeping.day() == (3, 0, True)
    assert "no SeparationJob was listed" in events(running)["SweepStopped"]
    tomorrow = sweeping.clock + DAY
    forced = Sweeping(running, cluster, sweep_force=time.strftime("%Y-%m-%d", time.gmtime(tomorrow)))
    forced.clock = tomorrow
    assert await forced.day(0) == (3, 3, False)
    assert running.objects("stems/") == []
    for one in (sweeping, forced):
        await one.objects.close()


async def test_a_completed_one_whose_stems_are_gone_is_deleted(running: World, cluster: KubernetesClient) -> None:
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
