"""The API server's time, from the dates of its responses."""

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from stemyard_operator.clients.server_clock import ServerClock

NOW = datetime(2026, 11, 25, 20, 0, tzinfo=UTC)


def clock(ahead: timedelta) -> ServerClock:
    """Return the clock of a machine whose own clock is ahead."""
    found = ServerClock()
    found.local_now = lambda: NOW + ahead
    return found


@pytest.mark.parametrize("ahead", [timedelta(hours=-3), timedelta(), timedelta(seconds=2), timedelta(days=400)])
def test_the_clock_follows_the_api_server(ahead: timedelta) -> None:
    found = clock(ahead)
    found.observe(format_datetime(NOW, usegmt=True))
    assert abs(found.now() - NOW) <= timedelta(seconds=2)


def test_delayed_responses_do_not_change_the_clock() -> None:
    found = clock(timedelta())
    found.observe(format_datetime(NOW - timedelta(seconds=1), usegmt=True))
    assert found.now() == NOW


def test_a_corrected_clock_is_used_again() -> None:
    found = clock(timedelta(hours=1))
    found.observe(format_datetime(NOW, usegmt=True))
    found.local_now = lambda: NOW
    found.observe(format_datetime(NOW, usegmt=True))
    assert found.now() == NOW


@pytest.mark.parametrize("bad", ["", "soon", "Wed, 99 Nov 2026 20:00:00 GMT", "Wed, 25 Nov 2026 20:00:00"])
def test_invalid_dates_are_ignored(bad: str) -> None:
    found = clock(timedelta())
    found.observe(bad)
    assert found.now() == NOW
