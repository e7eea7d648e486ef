"""A track's queue position, read from a real Valkey as the operator writes it."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from stemyard_api.clients.redis import RedisClient as ApiRedisClient
from stemyard_api.clients.redis import RedisUnavailableError
from stemyard_api.services.estimates import QueueReader, QueueState
from stemyard_contract.mirror import PACE_FETCH, PACE_SLOTS
from stemyard_contract.mirror_keys import MirrorKeys
from stemyard_operator.clients.redis import RedisClient
from tests.api import tracks
from tests.support.servers import Server, valkey

KEYS = MirrorKeys("install-1")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with valkey(tmp_path_factory.mktemp("valkey")).running() as found:
        yield found


async def test_position_and_throughput_are_read_in_one_call(server: Server) -> None:
    url = f"redis://127.0.0.1:{server.port}/0"
    mirror, store = RedisClient(url, "install-1"), ApiRedisClient(url, KEYS)
    for number, priority in enumerate([0, 5, 0]):
        name = f"music.song-{number}"
        await mirror.put(tracks.record(track_id=name, name=name, uid=name, created=1e9 + number, priority=priority))
    await mirror.put_pace({PACE_SLOTS: 2}, [(PACE_FETCH, 12.5)])
    reader = QueueReader(store)
    found = await asyncio.gather(*(reader.state_of(f"music.song-{number}") for number in range(20)))
    assert found[1] == QueueState(1, {PACE_SLOTS: 2.0, PACE_FETCH: 12.5})
    assert [state.position for state in found[:4]] == [2, 1, 3, None]
    with redis.Redis(port=server.port) as watcher:
        # the operator's script sorts them in, the API looks once for all
        assert watcher.info("commandstats")["cmdstat_zrange"]["calls"] == 1
    await mirror.close()
    await store.close()


async def test_without_redis_there_is_no_estimate(tmp_path: Path) -> None:
    store = ApiRedisClient("redis://127.0.0.1:1/0", KEYS)
    with pytest.raises(RedisUnavailableError):
        await QueueReader(store).state_of("music.song")
    await store.close()
