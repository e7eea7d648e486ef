"""When the next attempt of a webhook is due, and how long deliveries are outstanding."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from stemyard_contract.outbox import WebhookStatus
from stemyard_contract.separationjob import SeparationJobStatus
from stemyard_operator.decision.webhook_retries import (
    due_deliveries,
    has_outstanding,
    next_attempt_at,
    seconds_until_next,
)
from stemyard_operator.model.attempt_result import AttemptResult
from tests.operator.world import settings

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
SCHEDULE = (0.0, 10.0, 100.0)


def delivery(number: int, due: float | None = None, **fields: Any) -> WebhookStatus:
    when = None if due is None else NOW + timedelta(seconds=due)
    return WebhookStatus(id=str(UUID(int=number)), url="https://example.com/", next_attempt_at=when, **fields)


def status(*webhooks: WebhookStatus) -> SeparationJobStatus:
    return SeparationJobStatus(webhooks=list(webhooks))


def pause(made: int, message: str = "m", **result: Any) -> float:
    return (next_attempt_at(message, made, AttemptResult("m", NOW, **result), SCHEDULE) - NOW).total_seconds()


def test_the_pause_is_that_of_the_schedule_with_up_to_a_fifth_more() -> None:
    for made, least in ((1, 10), (2, 100)):
        spread = sorted(pause(made, f"m{number}") for number in range(200))
        assert least <= spread[0] < 1.01 * least
        assert 1.19 * least < spread[-1] < 1.2 * least
    assert pause(1) == pause(1) == pytest.approx(10.719667)
    assert pause(1) / 10 != pause(2) / 100, "each attempt has a jitter of its own"
    assert pause(0) == 0


def test_retry_after_lengthens_the_pause_up_to_a_day() -> None:
    assert pause(1, retry_after=5.0) == pause(1)
    assert pause(1, retry_after=500.0) == 500
    assert pause(1, retry_after=10**9) == 24 * 3600


def test_what_is_due_is_delivered_unless_it_is_excluded() -> None:
    now, later, excluded = delivery(1, 0), delivery(2, 0.5), delivery(3, -9)
    done = delivery(4, -9, delivered_at=NOW)
    given_up = delivery(5)
    found = due_deliveries(status(now, later, excluded, done, given_up), {excluded.id}, NOW)
    assert found == (now,)


def test_the_next_is_the_earliest_that_is_not_excluded() -> None:
    webhooks = status(delivery(1, 30), delivery(2, 20), delivery(3, 10), delivery(4, 5, delivered_at=NOW), delivery(5))
    assert seconds_until_next(webhooks, {delivery(3).id}, NOW) == 20
    assert seconds_until_next(status(delivery(1, -30)), (), NOW) == 0
    assert seconds_until_next(status(delivery(5)), (), NOW) is None


def test_a_delivery_is_outstanding_for_as_long_as_the_schedule_takes_and_an_hour() -> None:
    config = settings(webhook_schedule=SCHEDULE)
    whole = 110 * 1.2 + 3600
    assert has_outstanding(status(delivery(1, 1 - whole)), NOW, config)
    assert not has_outstanding(status(delivery(1, -whole)), NOW, config)
    assert has_outstanding(status(delivery(1, -whole), delivery(2, 1 - whole)), NOW, config), "the latest counts"
    assert has_outstanding(status(delivery(1, 9, delivered_at=NOW), delivery(2)), NOW, config) is False
