"""Liveness and readiness follow work done."""

from stemyard_operator.health import Health


def test_liveness_needs_an_event_or_an_ended_resync_within_six_minutes() -> None:
    now = 1000.0
    health = Health(120, lambda: now)
    health.worked()
    assert health.alive
    assert not health.ready
    now += 359
    assert health.alive
    now += 2
    assert not health.alive
    health.worked()
    assert health.alive


def test_readiness_needs_a_complete_resync_not_long_ago() -> None:
    now = 1000.0
    health = Health(120, lambda: now)
    health.synced()
    assert health.ready
    now += 361
    health.worked()
    assert health.alive
    assert not health.ready
