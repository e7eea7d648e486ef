"""Measured durations, written to a real Valkey."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from functools import partial
from pathlib import Path

import pytest
import redis

from stemyard_contract.handover import WorkStage
from stemyard_contract.mirror import PACE_AUDIO, PACE_FETCH, PACE_FINISH, PACE_SLOTS, pace_factor, pace_start
from stemyard_contract.mirror_keys import MirrorKeys
from stemyard_operator.clients.redis import RedisClient
from stemyard_operator.decision.status_change import Span, StatusChange
from stemyard_operator.mirror.throughput import ThroughputLog, measurements
from tests.operator.world import START, World
from tests.support.operator_world import eventually
from tests.support.servers import Server

FETCH, SEPARATE = WorkStage
FACTOR = pace_factor("default", "spleeter-2stems")
START_UP = pace_start("default", "spleeter-2stems")


@pytest.fixture
async def mirror(server: Server) -> AsyncIterator[RedisClient]:
    found = RedisClient(f"redis://127.0.0.1:{server.port}/0", "install-1")
    yield found
    await found.close()


def has_pace(client: redis.Redis, field: str, value: float) -> bool:
    return float(str(client.hget(MirrorKeys("install-1").pace, field) or 0)) == pytest.approx(value)


def scripts_run(client: redis.Redis) -> int:
    return int(client.info("commandstats")["cmdstat_evalsha"]["calls"])


def account(**changes: object) -> StatusChange:
    values = {"separation": World().separation, "profile": "default", "model": "spleeter-2stems", **changes}
    return StatusChange(**values)  # type: ignore[arg-type]


def ran(stage: WorkStage, seconds: float) -> tuple[Span, ...]:
    return (Span(stage, START, START + timedelta(seconds=seconds)),)


def test_what_a_write_says_about_durations() -> None:
    assert measurements(account(stages=ran(FETCH, 12.0))) == {PACE_FETCH: 12.0}
    ended = {"stages": ran(SEPARATE, 45.0), "audio_seconds": 300.0}
    timings = {"start": 1.0, "load": 9.0, "first_block": 14.0, "separate": 30.0, "upload": 2.0}
    assert measurements(account(**ended, timings=timings)) == {
        PACE_AUDIO: 300.0,
        PACE_FINISH: 2.0,
        FACTOR: pytest.approx(0.1),
        START_UP: pytest.approx(13.0),
    }
    assert set(measurements(account(**ended, timings=timings, model="other"))) == {PACE_AUDIO, PACE_FINISH}
    assert measurements(account(**ended)) == {}, "start-up and pace cannot be separated without the pod's timings"
    assert measurements(account(stages=ran(SEPARATE, 45.0), timings=timings)) == {}
    # clocks of pod and cluster differ
    assert measurements(account(**{**ended, "stages": ran(SEPARATE, 31.0)}, timings=timings))[START_UP] == 0.0


async def test_figures_move_towards_what_is_new(server: Server, mirror: RedisClient) -> None:
    pace = ThroughputLog(mirror, slots=3)
    running = asyncio.create_task(pace.run())
    with redis.Redis(port=server.port, decode_responses=True) as client:
        for seconds, expected in ((10.0, 10.0), (20.0, 12.0), (20.0, 13.6)):
            pace.status_written(account(stages=ran(FETCH, seconds)))
            await asyncio.to_thread(eventually, partial(has_pace, client, PACE_FETCH, expected))
        assert has_pace(client, PACE_SLOTS, 3)
    running.cancel()


async def test_measurements_of_one_second_are_written_in_one_call(server: Server, mirror: RedisClient) -> None:
    pace = ThroughputLog(mirror, slots=3)
    running = asyncio.create_task(pace.run())
    with redis.Redis(port=server.port, decode_responses=True) as client:
        client.flushall()
        await mirror.put_pace({PACE_SLOTS: 3}, [(PACE_FETCH, 10.0)])
        before = scripts_run(client)
        for _ in range(2):
            pace.status_written(account(stages=ran(FETCH, 20.0)))
        await asyncio.to_thread(eventually, partial(has_pace, client, PACE_FETCH, 13.6))
        assert scripts_run(client) == before + 1
    running.cancel()


async def test_a_dead_redis_is_no_trouble(tmp_path: Path) -> None:
    pace = ThroughputLog(RedisClient("redis://127.0.0.1:1/0", "install-1"), slots=3)
    running = asyncio.create_task(pace.run())
    for _ in range(1100):
        pace.status_written(account(stages=ran(FETCH, 1.0)))
    await asyncio.sleep(0)
    assert not running.done()
    running.cancel()
