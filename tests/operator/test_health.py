"""Liveness and readiness depend on completed work."""

import httpx
import pytest

from localcluster.control_plane import free_port
from stemyard_operator.health import Health
from stemyard_operator.http_server import serving
from stemyard_operator.namespaces import Namespaces


class Clock:
    """Seconds that a test moves."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def namespaces(clock: Clock) -> Namespaces:
    return Namespaces(["ours", "theirs"], clock)


def test_liveness_needs_an_event_or_an_ended_resync_within_six_minutes(clock: Clock, namespaces: Namespaces) -> None:
    health = Health(120, namespaces, clock)
    health.worked()
    assert health.alive
    assert not health.ready
    clock.now += 359
    assert health.alive
    clock.now += 2
    assert not health.alive
    health.worked()
    assert health.alive


def test_readiness_needs_one_namespace_listed_not_long_ago(clock: Clock, namespaces: Namespaces) -> None:
    health = Health(120, namespaces, clock)
    namespaces.failed("theirs", "403 Forbidden", refused=True)
    assert not health.ready
    namespaces.listed("ours")
    assert health.ready
    clock.now += 361
    namespaces.failed("theirs", "403 Forbidden", refused=True)
    health.worked()
    assert health.alive
    assert not health.ready


async def test_the_probe_says_which_namespace_cannot_be_read(clock: Clock, namespaces: Namespaces) -> None:
    health, port = Health(120, namespaces, clock), free_port()
    namespaces.listed("ours")
    namespaces.failed("theirs", "403 Forbidden: no", refused=True)
    async with serving(health.application(), port), httpx.AsyncClient() as client:
        answer = await client.get(f"http://127.0.0.1:{port}/readyz")
    assert (answer.status_code, answer.text) == (200, "ok\nnamespace theirs: list: 403 Forbidden: no")
