"""Each consumer has a queue: attempts at it are limited, a failing one is paused, and neither delays another."""

import asyncio
from collections import Counter
from datetime import UTC, datetime
from typing import Any

import pytest

from stemyard_contract.event_types import EventType
from stemyard_operator.decision.webhook_progress import ProgressWebhook
from stemyard_operator.model.attempt_result import AttemptResult
from stemyard_operator.webhooks.dispatcher import Dispatcher, WebhookTask
from tests.operator.world import settings

Tenant = tuple[str, str | None]
"""Namespace and id of an API key."""
GOOD, BAD = "https://good.example.com/hook", "https://bad.example.com/hook"


class Consumers:
    """Responds for every consumer, and counts the attempts at each, in all and concurrent."""

    def __init__(self, **config: Any) -> None:
        self.dead: set[str] = set()
        self.gate: dict[str, asyncio.Event] = {}
        self.attempts: Counter[str] = Counter()
        self.at_once: Counter[str] = Counter()
        self.most: Counter[str] = Counter()
        self.gone = False
        self.notified: list[str] = []
        self.dispatcher = Dispatcher(settings(**config), self.send, self.notified.append)

    async def send(self, task: WebhookTask) -> AttemptResult | None:
        if self.gone:
            return None
        self.attempts[task.url] += 1
        self.at_once[task.url] += 1
        self.most[task.url] = max(self.most[task.url], self.at_once[task.url])
        try:
            await asyncio.sleep(0)
            if task.url in self.gate:
                await self.gate[task.url].wait()
        finally:
            self.at_once[task.url] -= 1
        return AttemptResult(task.id, datetime.now(UTC), 503 if task.url in self.dead else 200)

    async def idle(self) -> None:
        for _ in range(200):
            await asyncio.sleep(0)

    async def all_results(self, uid: str, count: int) -> None:
        for _ in range(200):
            await self.idle()
            if len(self.dispatcher.results(uid)) == count:
                return
        raise AssertionError(f"{len(self.dispatcher.results(uid))} of {count} results")


def deliveries(url: str, count: int) -> list[WebhookTask]:
    return [WebhookTask(f"uid-{url}-{number}", f"id-{number}", url, "default") for number in range(count)]


async def test_the_result_of_a_delivery_is_kept_until_it_is_recorded() -> None:
    consumers = Consumers()
    [task] = deliveries(GOOD, 1)
    dispatcher = consumers.dispatcher
    dispatcher.enqueue(task)
    assert dispatcher.in_flight(task.uid) == {task.id}
    await consumers.idle()
    assert dispatcher.in_flight(task.uid) == frozenset()
    [result] = dispatcher.results(task.uid)
    assert (result.id, result.delivered) == (task.id, True)
    assert consumers.notified == [task.uid]
    dispatcher.enqueue(task)
    await consumers.idle()
    assert consumers.attempts[GOOD] == 1
    dispatcher.discard_results(task.uid, [task.id])
    assert dispatcher.results(task.uid) == ()


async def test_of_many_results_the_first_and_the_last_are_notified() -> None:
    consumers = Consumers()
    many = [WebhookTask("uid", f"id-{number}", GOOD, "default") for number in range(20)]
    for task in many:
        consumers.dispatcher.enqueue(task)
    await consumers.idle()
    assert consumers.notified == ["uid", "uid"]
    consumers.dispatcher.discard_results("uid", [task.id for task in many])
    consumers.dispatcher.enqueue(many[0])
    await consumers.idle()
    assert consumers.notified == ["uid"] * 3


async def test_a_delivery_is_queued_once() -> None:
    consumers = Consumers()
    [task] = deliveries(GOOD, 1)
    for _ in range(3):
        consumers.dispatcher.enqueue(task)
    await consumers.idle()
    assert consumers.attempts[GOOD] == 1


async def test_a_consumer_gets_a_few_at_a_time_and_others_are_not_delayed() -> None:
    consumers = Consumers(webhook_concurrency_per_target=3)
    consumers.gate[BAD] = asyncio.Event()
    for task in [*deliveries(BAD, 10_000), *deliveries(GOOD, 20)]:
        consumers.dispatcher.enqueue(task)
    await consumers.idle()
    assert consumers.most == {BAD: 3, GOOD: 3}
    assert consumers.attempts == {BAD: 3, GOOD: 20}
    await consumers.dispatcher.close()


async def test_a_new_consumer_is_served_however_many_others_are_busy() -> None:
    consumers = Consumers()
    others = [f"https://consumer-{number}.example.com/hook" for number in range(1024)]
    consumers.gate = {url: asyncio.Event() for url in others}
    for url in [*others, GOOD]:
        consumers.dispatcher.enqueue(WebhookTask("uid", url, url, "default"))
    consumers.dispatcher.enqueue_progress(progress(BAD))
    assert sum(consumers.dispatcher.consumers().values()) == 1026
    for gate in consumers.gate.values():
        gate.set()
    await consumers.all_results("uid", 1025)
    assert consumers.attempts[GOOD] == consumers.attempts[BAD] == 1
    assert consumers.dispatcher.in_flight("uid") == frozenset()


async def test_of_idle_consumers_the_least_recent_are_forgotten() -> None:
    consumers = Consumers()
    consumers.dead.add(BAD)
    for task in deliveries(BAD, 5):
        consumers.dispatcher.enqueue(task)
    await consumers.idle()
    for number in range(1024):
        url = f"https://consumer-{number}.example.com/hook"
        consumers.dispatcher.enqueue(WebhookTask("uid", url, url, "default"))
    await consumers.all_results("uid", 1024)
    consumers.dispatcher.enqueue_progress(progress(BAD))
    await consumers.idle()
    assert consumers.attempts[BAD] == 6


async def test_many_consumers_of_one_namespace_do_not_delay_those_of_another() -> None:
    consumers = Consumers(webhook_concurrency=2)
    many = [f"https://consumer-{number}.example.com/hook" for number in range(100)]
    consumers.gate = {url: asyncio.Event() for url in many}
    for url in many:
        consumers.dispatcher.enqueue(WebhookTask("uid", url, url, "large"))
    consumers.dispatcher.enqueue(WebhookTask("other-uid", GOOD, GOOD, "small"))
    await consumers.idle()
    assert consumers.attempts.total() == 2
    for url in many[:2]:
        consumers.gate[url].set()
    await consumers.idle()
    assert consumers.attempts[GOOD] == 1
    assert consumers.attempts.total() == 5
    await consumers.dispatcher.close()


async def test_a_dead_consumer_is_paused_until_it_responds_again() -> None:
    consumers = Consumers(webhook_concurrency_per_target=1, webhook_breaker_seconds=0.05)
    consumers.dead.add(BAD)
    for task in deliveries(BAD, 100):
        consumers.dispatcher.enqueue(task)
    await consumers.idle()
    assert consumers.attempts[BAD] == 5
    await asyncio.sleep(0.2)
    assert 6 <= consumers.attempts[BAD] < 20
    consumers.dead.clear()
    for _ in range(100):
        await asyncio.sleep(0.02)
        if consumers.attempts[BAD] == 100:
            break
    assert consumers.attempts[BAD] == 100
    await consumers.dispatcher.close()


def progress(url: str, number: int = 0, tenant: Tenant = ("default", None)) -> WebhookTask:
    name = f"progress-{number}"
    event = ProgressWebhook(name, url, EventType.PROGRESS, 1, b"{}")
    return WebhookTask("uid", name, url, tenant[0], event, tenant[1])


async def test_a_progress_event_is_sent_once_and_its_result_is_not_kept() -> None:
    consumers = Consumers()
    consumers.dead.add(BAD)
    for url in (GOOD, BAD):
        consumers.dispatcher.enqueue_progress(progress(url))
    assert consumers.dispatcher.in_flight("uid") == frozenset()
    await consumers.idle()
    assert consumers.attempts == {GOOD: 1, BAD: 1}
    assert consumers.dispatcher.results("uid") == ()
    assert consumers.notified == []


async def test_a_consumer_that_is_dead_or_cannot_keep_up_gets_no_progress_events() -> None:
    consumers = Consumers(webhook_concurrency_per_target=1)
    consumers.dead.add(BAD)
    for number in range(200):
        consumers.dispatcher.enqueue_progress(progress(GOOD, number))
    for task in deliveries(BAD, 5):
        consumers.dispatcher.enqueue(task)
    await consumers.idle()
    await consumers.idle()
    consumers.dispatcher.enqueue_progress(progress(BAD))
    await consumers.idle()
    assert consumers.attempts[BAD] == 5
    assert consumers.attempts[GOOD] == 101
    await consumers.dispatcher.close()


async def test_a_delivery_that_is_no_longer_due_is_requeued_later() -> None:
    consumers = Consumers()
    consumers.gone = True
    [task] = deliveries(GOOD, 1)
    consumers.dispatcher.enqueue(task)
    await consumers.idle()
    assert consumers.dispatcher.in_flight(task.uid) == frozenset()
    assert consumers.dispatcher.results(task.uid) == ()
    assert consumers.notified == []


async def test_a_deleted_separation_is_forgotten() -> None:
    consumers = Consumers(webhook_concurrency_per_target=1)
    consumers.gate[GOOD] = asyncio.Event()
    first, second = deliveries(GOOD, 2)
    for task in (first, second):
        consumers.dispatcher.enqueue(task)
    await consumers.idle()
    for task in (first, second):
        consumers.dispatcher.forget(task.uid)
    consumers.gate[GOOD].set()
    await consumers.idle()
    assert consumers.attempts[GOOD] == 1
    assert consumers.dispatcher.results(first.uid) == ()
    assert consumers.notified == []


async def test_an_attempt_that_raises_has_failed_and_does_not_stop_its_queue(
    caplog: pytest.LogCaptureFixture,
) -> None:
    consumers = Consumers()
    send = consumers.send

    async def breaking(task: WebhookTask) -> AttemptResult | None:
        if task.id in {"id-0", "progress-0"}:
            raise ValueError("broken")
        return await send(task)

    dispatcher = Dispatcher(settings(), breaking, consumers.notified.append)
    first, second = deliveries(GOOD, 2)
    for task in (first, second):
        dispatcher.enqueue(task)
    dispatcher.enqueue_progress(progress(GOOD))
    await consumers.idle()
    assert consumers.attempts[GOOD] == 1
    [failed] = dispatcher.results(first.uid)
    assert (failed.id, failed.status, failed.error, failed.hopeless) == (first.id, 0, "InternalError", False)
    assert dispatcher.in_flight(first.uid) == frozenset()
    assert consumers.notified == [first.uid, second.uid]
    assert dispatcher.results("uid") == ()
    assert "an attempt at a webhook failed" in caplog.text


HOOKS = "https://hooks.example.com"


@pytest.mark.parametrize(
    ("failing", "others"),
    [
        (("mallory", None), ("alice", None)),
        (("api", "mallory"), ("api", "alice")),
        (("api", "mallory"), ("api", None)),
    ],
)
async def test_what_one_tenant_makes_fail_on_a_shared_host_pauses_no_other(failing: Tenant, others: Tenant) -> None:
    consumers = Consumers()
    bad, good = f"{HOOKS}/mallory", f"{HOOKS}/alice"
    consumers.dead.add(bad)
    for number in range(20):
        consumers.dispatcher.enqueue(WebhookTask(f"bad-{number}", f"bad-{number}", bad, failing[0], key=failing[1]))
    await consumers.idle()
    assert consumers.attempts[bad] < 20
    assert consumers.dispatcher.consumers() == {"closed": 0, "open": 1}
    consumers.dispatcher.enqueue(WebhookTask("good", "good", good, others[0], key=others[1]))
    consumers.dispatcher.enqueue_progress(progress(good, tenant=others))
    await consumers.all_results("good", 1)
    assert consumers.attempts[good] == 2
    await consumers.dispatcher.close()


async def test_the_deployments_own_consumer_has_one_queue_for_all_namespaces() -> None:
    consumers = Consumers(webhook_url=BAD)
    consumers.dead.add(BAD)
    for number in range(20):
        consumers.dispatcher.enqueue(WebhookTask("uid", f"id-{number}", BAD, f"namespace-{number}"))
    await consumers.idle()
    assert consumers.attempts[BAD] < 20
    assert consumers.dispatcher.consumers() == {"closed": 0, "open": 1}
    await consumers.dispatcher.close()
