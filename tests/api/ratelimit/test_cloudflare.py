"""Rate limits through Cloudflare KV: approximate, within a process's share, and restored with KV."""

from collections.abc import Iterator

import pytest

from stemyard_api.clients.cloudflare_kv import CloudflareKvClient, KvUnavailableError
from stemyard_api.ratelimit.cloudflare import KvCounts
from tests.api.settings_for_tests import settings
from tests.support.http_server import HttpServer
from tests.support.kv_server import ACCOUNT, NAMESPACE, TOKEN, KvServer


@pytest.fixture
def store() -> KvServer:
    return KvServer()


@pytest.fixture
def server(store: KvServer) -> Iterator[HttpServer]:
    with store.serving() as running:
        yield running


def kv(server: HttpServer, token: str = TOKEN) -> CloudflareKvClient:
    return CloudflareKvClient(
        settings(
            cloudflare_api_url=f"{server.url}/client/v4",
            cloudflare_account_id=ACCOUNT,
            cloudflare_api_token=token,
            cloudflare_kv_namespace_id=NAMESPACE,
        )
    )


async def test_values_are_written_listed_and_read(server: HttpServer, store: KvServer) -> None:
    store.page = 2
    client = kv(server)
    for number in range(5):
        await client.write(f"a:{number}/x y", f"välue {number}", 60)
    assert sorted(await client.keys("a:")) == [f"a:{number}/x y" for number in range(5)]
    assert await client.keys("b:") == []
    assert await client.read("a:3/x y") == "välue 3"
    assert await client.read("a:9") is None
    # one connection was used for all of it
    assert len(store.peers) == 1
    with pytest.raises(KvUnavailableError, match="429"):
        await client.write("a:0/x y", "again", 60)
    with pytest.raises(KvUnavailableError, match="400"):
        await client.write("c", "short", 59)
    await client.close()


async def test_a_wrong_token_or_a_failing_server_is_unavailable(server: HttpServer, store: KvServer) -> None:
    wrong, right = kv(server, "wrong"), kv(server)
    with pytest.raises(KvUnavailableError):
        await wrong.keys("")
    store.failing = True
    with pytest.raises(KvUnavailableError):
        await right.read("a")
    await wrong.close()
    await right.close()


class Clock:
    now = 5000.0

    def __call__(self) -> float:
        return self.now


async def test_each_process_admits_what_the_others_leave(server: HttpServer) -> None:
    client, clock = kv(server), Clock()
    first, second, third = (KvCounts(client, "stemyard:main", clock) for _ in range(3))
    assert first.share_of("k", 60) == 60
    first.record("k", 10)
    second.record("k", 45)
    for kv_counts in (first, second, third):
        await kv_counts.exchange()
    assert third.share_of("k", 60) == 20  # 60 - 10 - 45 is less than a third
    clock.now += 2
    assert third.share_of("other", 60) == 60
    await client.close()


async def test_an_idle_process_writes_nothing_and_old_counts_expire(server: HttpServer, store: KvServer) -> None:
    client, clock = kv(server), Clock()
    idle, busy = KvCounts(client, "stemyard:main", clock), KvCounts(client, "stemyard:main", clock)
    await idle.exchange()
    assert [method for method, _ in store.calls] == ["GET"]
    busy.record("k", 50)
    await busy.exchange()
    await idle.exchange()
    assert idle.share_of("k", 60) == 30
    clock.now += 181
    await idle.exchange()
    assert idle.share_of("k", 60) == 60
    await client.close()


async def test_a_process_always_gets_an_equal_share(server: HttpServer, store: KvServer) -> None:
    store.stale_seconds = 3600.0
    client = kv(server)
    first, second = KvCounts(client, "stemyard:main"), KvCounts(client, "stemyard:main")
    first.record("k", 60)
    await first.exchange()
    await second.exchange()
    # nobody has seen anything yet: up to the limit for each process, as documented
    assert second.share_of("k", 60) == 60
    await client.close()
