"""Lanes: a consumer gets a few attempts at a time, a dead one is left alone, and neither delays another."""

import asyncio
from collections import Counter
from datetime import UTC, datetime
from typing import Any

import pytest

from stemyard_contract.event_types import EventType
from stemyard_operator.decision.webhook_progress import ProgressWebhook
from stemyard_operator.model.attempt_result import AttemptResult
from stemyard_operator.webhooks.dispatcher import Breaker, Dispatcher, QueuedDelivery, QueuedProgress
from tests.operator.world import settings

GOOD, BAD = "https://good.example.com/hook", "https://bad.example.com/hook"


class Consumers:
    """Answers for every consumer, and counts how many of each are asked at once."""

    def __init__(self, **config: Any) -> None:
        self.dead: set[str] = set()
        self.gate: dict[str, asyncio.Event] = {}
        self.asked: Counter[str] = Counter()
        self.at_once: Counter[str] = Counter()
        self.most: Counter[str] = Counter()
        self.gone = False
        self.told: list[str] = []
        self.dispatcher = Dispatcher(settings(**config), self.send, self.told.append)

    async def send(self, parcel: QueuedDelivery | QueuedProgress) -> AttemptResult | None:
        if self.gone:
            return None
        self.asked[parcel.url] += 1
        self.at_once[parcel.url] += 1
        self.most[parcel.url] = max(self.most[parcel.url], self.at_once[parcel.url])
        try:
            await asyncio.sleep(0)
            if parcel.url in self.gate:
                await self.gate[parcel.url].wait()
        finally:
            self.at_once[parcel.url] -= 1
        return AttemptResult(parcel.id, datetime.now(UTC), 503 if parcel.url in self.dead else 200)

    async def idle(self) -> None:
        for _ in range(200):
            await asyncio.sleep(0)


def parcels(url: str, count: int) -> list[QueuedDelivery]:
    return [QueuedDelivery(f"uid-{url}-{number}", f"id-{number}", url) for number in range(count)]


async def test_what_came_of_a_parcel_is_kept_until_it_is_recorded() -> None:
    consumers = Consumers()
    [parcel] = parcels(GOOD, 1)
    dispatcher = consumers.dispatcher
    dispatcher.take(parcel)
    assert dispatcher.in_hand(parcel.uid) == {parcel.id}
    await consumers.idle()
    assert dispatcher.in_hand(parcel.uid) == frozenset()
    [result] = dispatcher.results(parcel.uid)
    assert (result.id, result.delivered) == (parcel.id, True)
    assert consumers.told == [parcel.uid]
    dispatcher.take(parcel)
    await consumers.idle()
    assert consumers.asked[GOOD] == 1
    dispatcher.recorded(parcel.uid, [parcel.id])
    assert dispatcher.results(parcel.uid) == ()


async def test_of_many_results_the_first_and_the_last_are_news() -> None:
    consumers = Consumers()
    many = [QueuedDelivery("uid", f"id-{number}", GOOD) for number in range(20)]
    for parcel in many:
        consumers.dispatcher.take(parcel)
    await consumers.idle()
    assert consumers.told == ["uid", "uid"]
    consumers.dispatcher.recorded("uid", [parcel.id for parcel in many])
    consumers.dispatcher.take(many[0])
    await consumers.idle()
    assert consumers.told == ["uid"] * 3


async def test_a_parcel_is_in_hand_once() -> None:
    consumers = Consumers()
    [parcel] = parcels(GOOD, 1)
    for _ in range(3):
        consumers.dispatcher.take(parcel)
    await consumers.idle()
    assert consumers.asked[GOOD] == 1


async def test_a_consumer_gets_a_few_at_a_time_and_others_are_not_delayed() -> None:
    consumers = Consumers(webhook_concurrency_per_target=3)
    consumers.gate[BAD] = asyncio.Event()
    for parcel in [*parcels(BAD, 10_000), *parcels(GOOD, 20)]:
        consumers.dispatcher.take(parcel)
    await consumers.idle()
    assert consumers.most == {BAD: 3, GOOD: 3}
    assert consumers.asked == {BAD: 3, GOOD: 20}
    await consumers.dispatcher.close()


async def test_a_dead_consumer_is_left_alone_until_it_answers_again() -> None:
    consumers = Consumers(webhook_concurrency_per_target=1, webhook_breaker_seconds=0.05)
    consumers.dead.add(BAD)
    for parcel in parcels(BAD, 100):
        consumers.dispatcher.take(parcel)
    await consumers.idle()
    assert consumers.asked[BAD] == 5
    await asyncio.sleep(0.2)
    assert 6 <= consumers.asked[BAD] < 20
    consumers.dead.clear()
    for _ in range(100):
        await asyncio.sleep(0.02)
        if consumers.asked[BAD] == 100:
            break
    assert consumers.asked[BAD] == 100
    await consumers.dispatcher.close()


def news(url: str, number: int = 0) -> QueuedProgress:
    return QueuedProgress("uid", ProgressWebhook(f"news-{number}", url, EventType.PROGRESS, 1, b"{}"))


async def test_a_notice_is_sent_once_and_nothing_is_kept_of_it() -> None:
    consumers = Consumers()
    consumers.dead.add(BAD)
    for url in (GOOD, BAD):
        consumers.dispatcher.tell(news(url))
    assert consumers.dispatcher.in_hand("uid") == frozenset()
    await consumers.idle()
    assert consumers.asked == {GOOD: 1, BAD: 1}
    assert consumers.dispatcher.results("uid") == ()
    assert consumers.told == []


async def test_a_consumer_that_is_dead_or_cannot_keep_up_gets_no_notices() -> None:
    consumers = Consumers(webhook_concurrency_per_target=1)
    consumers.dead.add(BAD)
    for number in range(200):
        consumers.dispatcher.tell(news(GOOD, number))
    for parcel in parcels(BAD, 5):
        consumers.dispatcher.take(parcel)
    await consumers.idle()
    await consumers.idle()
    consumers.dispatcher.tell(news(BAD))
    await consumers.idle()
    assert consumers.asked[BAD] == 5
    assert consumers.asked[GOOD] == 101
    await consumers.dispatcher.close()


async def test_what_is_not_due_any_more_says_so_later() -> None:
    consumers = Consumers()
    consumers.gone = True
    [parcel] = parcels(GOOD, 1)
    consumers.dispatcher.take(parcel)
    await consumers.idle()
    assert consumers.dispatcher.in_hand(parcel.uid) == frozenset()
    assert consumers.dispatcher.results(parcel.uid) == ()
    assert consumers.told == []


async def test_a_deleted_separation_is_forgotten() -> None:
    consumers = Consumers(webhook_concurrency_per_target=1)
    consumers.gate[GOOD] = asyncio.Event()
    first, second = parcels(GOOD, 2)
    for parcel in (first, second):
        consumers.dispatcher.take(parcel)
    await consumers.idle()
    for parcel in (first, second):
        consumers.dispatcher.forget(parcel.uid)
    consumers.gate[GOOD].set()
    await consumers.idle()
    assert consumers.asked[GOOD] == 1
    assert consumers.dispatcher.results(first.uid) == ()
    assert consumers.told == []


async def test_a_parcel_that_breaks_does_not_end_its_lane(caplog: pytest.LogCaptureFixture) -> None:
    consumers = Consumers()
    send = consumers.send

    async def breaking(parcel: QueuedDelivery | QueuedProgress) -> AttemptResult | None:
        if parcel.id == "id-0":
            raise ValueError("broken")
        return await send(parcel)

    dispatcher = Dispatcher(settings(), breaking, consumers.told.append)
    for parcel in parcels(GOOD, 2):
        dispatcher.take(parcel)
    await consumers.idle()
    assert consumers.asked[GOOD] == 1
    assert "could not be attempted" in caplog.text


def test_a_breaker_opens_after_failures_in_a_row_and_waits_longer_each_time() -> None:
    now = 100.0
    breaker = Breaker(10.0, lambda: now)
    for _ in range(4):
        breaker.told(well=False)
    assert breaker.closed
    waits = []
    for _ in range(6):
        breaker.told(well=False)
        waits.append(breaker.wait)
    assert waits == [1, 2, 4, 8, 10, 10]
    assert not breaker.closed
    now += 10
    assert breaker.wait == 0
    breaker.told(well=True)
    assert breaker.closed
    breaker.told(well=False)
    assert breaker.closed
