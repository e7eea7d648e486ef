"""Records reach a real Valkey in batches, what just happened first, also over a slow link."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import redis

from stemyard_contract.activity import LISTED
from stemyard_contract.mirror import MirrorRecord
from stemyard_contract.mirror_keys import MirrorKeys
from stemyard_operator.clients.redis import RedisClient
from stemyard_operator.informer.cluster_cache import ClusterCache
from stemyard_operator.mirror.writer import MirrorWriter
from stemyard_operator.namespaces import Namespaces
from tests.operator.world import NAMESPACE, SPEC
from tests.support.servers import Server

KEYS = MirrorKeys("install-1")
ONE_WAY_SECONDS = 0.02
TRACKS = 1000


@contextlib.asynccontextmanager
async def slow_link(port: int) -> AsyncIterator[int]:
    """Relay connections to a port, with a delay each way; yield the port of the near end."""

    async def relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        loop = asyncio.get_running_loop()
        while data := await reader.read(65536):
            loop.call_later(ONE_WAY_SECONDS, writer.write, data)

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", port)
        try:
            await asyncio.gather(relay(reader, far_writer), relay(far_reader, writer))
        finally:
            far_writer.close()
            writer.close()

    near = await asyncio.start_server(accept, "127.0.0.1")
    try:
        yield near.sockets[0].getsockname()[1]
    finally:
        near.close()


@contextlib.asynccontextmanager
async def writing(
    port: int, cluster_cache: ClusterCache, namespaces: Namespaces | None = None
) -> AsyncIterator[MirrorWriter]:
    mirror = RedisClient(f"redis://127.0.0.1:{port}/0", "install-1")
    writer = MirrorWriter(mirror, cluster_cache, lambda: True, NAMESPACE, namespaces or Namespaces([]))
    running = asyncio.create_task(writer.run())
    try:
        yield writer
    finally:
        running.cancel()
        await asyncio.wait([running])
        await mirror.close()


def separation(number: int, version: int = 1) -> dict[str, Any]:
    metadata = {
        "namespace": NAMESPACE,
        "name": f"song-{number}",
        "uid": f"uid-{number}",
        "resourceVersion": str(version),
        "generation": 1,
        "creationTimestamp": "2026-11-22T12:00:00Z",
    }
    return {"metadata": metadata, "spec": SPEC}


def cached(number: int) -> ClusterCache:
    cluster_cache = ClusterCache(NAMESPACE)
    for one in range(number):
        cluster_cache.apply(separation(one))
    return cluster_cache


def version_of(client: redis.Redis, number: int) -> int | None:
    text = client.get(KEYS.record(f"{NAMESPACE}.song-{number}"))
    return MirrorRecord.model_validate_json(str(text)).resource_version if text else None


async def until(holds: Callable[[], bool], seconds: float = 20) -> float:
    """Wait until a condition holds; return the seconds it took."""
    begun = time.monotonic()
    while not holds():
        assert time.monotonic() - begun < seconds
        await asyncio.sleep(0.01)
    return time.monotonic() - begun


async def test_what_happens_goes_before_what_is_written_again(server: Server, client: redis.Redis) -> None:
    cluster_cache = cached(TRACKS)
    last = TRACKS - 1
    async with slow_link(server.port) as port, writing(port, cluster_cache) as writer:
        begun = time.monotonic()
        writer.write_all()
        cluster_cache.apply(separation(last, version=2))
        writer.changed(f"uid-{last}")
        await until(lambda: version_of(client, last) == 2)
        assert int(client.zcard(KEYS.tracks)) < TRACKS / 2
        await until(lambda: writer.behind == 0)
        # one by one it would take 40 s
        assert time.monotonic() - begun < TRACKS * 2 * ONE_WAY_SECONDS / 4
    assert client.zcard(KEYS.tracks) == TRACKS
    assert writer.lag == 0


async def test_a_redis_that_has_lost_its_scripts_gets_them_again(server: Server, client: redis.Redis) -> None:
    cluster_cache = cached(3)
    async with writing(server.port, cluster_cache) as writer:
        writer.write_all()
        await until(lambda: client.zcard(KEYS.tracks) == 3)
        client.script_flush()
        writer.deleted(separation(0))
        cluster_cache.apply(separation(1, version=5))
        writer.changed("uid-1")
        await until(lambda: client.zcard(KEYS.tracks) == 2 and version_of(client, 1) == 5)


async def test_a_record_that_redis_refuses_holds_up_no_other(server: Server, client: redis.Redis) -> None:
    cluster_cache = cached(3)
    client.lpush(KEYS.version(f"{NAMESPACE}.song-1"), "not a hash")
    async with writing(server.port, cluster_cache) as writer:
        writer.write_all()
        await until(lambda: client.zcard(KEYS.tracks) == 2)
        await until(lambda: writer.behind == 1)
        client.delete(KEYS.version(f"{NAMESPACE}.song-1"))
        await until(lambda: writer.behind == 0)


async def test_records_of_a_namespace_that_cannot_be_read_stay(server: Server, client: redis.Redis) -> None:
    cluster_cache, namespaces = cached(1), Namespaces([NAMESPACE])
    async with writing(server.port, cached(2)) as before:
        before.write_all()
        await until(lambda: client.zcard(KEYS.tracks) == 2)
    async with writing(server.port, cluster_cache, namespaces) as writer:
        await writer.check()
        assert client.zcard(KEYS.tracks) == 2
        namespaces.listed(NAMESPACE)
        await writer.check()
        assert client.zcard(KEYS.tracks) == 1


async def test_lists_are_stated_to_be_complete_when_everything_is_written(server: Server, client: redis.Redis) -> None:
    cluster_cache = cached(3)
    cluster_cache.apply({**separation(4), "spec": {"source": {"searchQuery": 7}}})  # it is never mirrored
    async with writing(server.port, cluster_cache) as writer:
        await writer.check(60)
        assert not client.exists(KEYS.tracks_divided)  # a new leader has not written all
        writer.write_all()
        await until(lambda: writer.behind == 0)
        await writer.check(60)
        await until(lambda: writer.behind == 0)
        await writer.check(60)
        assert 100 < client.ttl(KEYS.tracks_divided) <= 150
        await until(lambda: writer.behind == 0)
        client.flushall()
        await writer.check(60)
        assert not client.exists(KEYS.tracks_divided)
        await until(lambda: writer.behind == 0)
        await writer.check(60)
        assert client.get(KEYS.tracks_divided) == LISTED
    assert client.zcard(KEYS.activity) == 3
    assert client.zcard(KEYS.tracks_of_namespace(NAMESPACE)) == 3
