"""Lists of all SeparationJobs take turns, so that no key takes the memory and the time of all others with them."""

import asyncio
from typing import Any

import pytest

from stemyard_api.clients import kubernetes
from stemyard_api.clients.kubernetes import KubernetesClient, Resource
from stemyard_api.errors import UnavailableError


class Cluster(KubernetesClient):
    """Three pages of resources; counts the lists that are read."""

    def __init__(self, *, fails: bool = False) -> None:
        super().__init__(None, "songs")  # type: ignore[arg-type] # nothing is called
        self.under_way = self.most = 0
        self.release = asyncio.Event()
        self.release.set()
        self.fails = fails

    async def page(self, token: str | None) -> tuple[list[Resource], str | None]:
        if token is None:
            self.under_way += 1
            self.most = max(self.most, self.under_way)
        await self.release.wait()
        await asyncio.sleep(0)
        if self.fails:
            self.under_way -= 1
            raise UnavailableError
        number = int(token or 0)
        self.under_way -= number == 2
        return [{"number": number}], None if number == 2 else str(number + 1)


async def scan(cluster: Cluster) -> list[Any]:
    return [item["number"] async for item in cluster.items()]


async def test_few_lists_are_read_at_once() -> None:
    cluster = Cluster()
    assert await asyncio.gather(*(scan(cluster) for _ in range(60))) == [[0, 1, 2]] * 60
    assert cluster.most == 2


async def test_a_list_that_fails_makes_room() -> None:
    cluster = Cluster(fails=True)
    found = await asyncio.gather(*(scan(cluster) for _ in range(10)), return_exceptions=True)
    assert all(isinstance(one, UnavailableError) for one in found)
    assert cluster.most == 2


async def test_a_list_does_not_wait_for_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kubernetes, "_TURN_SECONDS", 0.05)
    cluster = Cluster()
    cluster.release.clear()
    slow = [asyncio.create_task(scan(cluster)) for _ in range(2)]
    await asyncio.sleep(0)
    with pytest.raises(UnavailableError, match="all separations at once"):
        await scan(cluster)
    cluster.release.set()
    assert await asyncio.gather(*slow) == [[0, 1, 2]] * 2
