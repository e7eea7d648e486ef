"""Sends webhooks in the background, with a queue for each tenant's consumers, so that a failing one delays no other."""

import asyncio
import logging
import time
from collections import OrderedDict, deque
from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final

from stemyard_contract.address_guard import origin_of
from stemyard_operator.circuit_breaker import CircuitBreaker
from stemyard_operator.config.webhook_settings import WebhookSettings
from stemyard_operator.decision.webhook_progress import ProgressWebhook
from stemyard_operator.model.attempt_result import AttemptResult
from stemyard_operator.webhooks.fair_slots import FairSlots

_CONSUMERS_KEPT: Final = 1024
"""Consumers whose circuit breaker is kept while no webhook is queued for them."""
_PROGRESS_QUEUE_LIMIT: Final = 100
"""Queue length of a consumer from which progress events are dropped; terminal events never are."""
_REQUEUE_SECONDS: Final = 2.0
"""When to reconcile again after a delivery that could not be attempted."""
log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class WebhookTask:
    """A webhook to attempt: a delivery of the outbox, or an event of a run's progress."""

    uid: str
    """uid of the SeparationJob."""
    id: str
    """The `webhook-id`."""
    url: str
    namespace: str
    """Namespace of the SeparationJob."""
    progress: ProgressWebhook | None = None
    key: str | None = None
    """Id of the API key that requested it."""


@dataclass(slots=True)
class _ConsumerQueue:
    breaker: CircuitBreaker
    waiting: deque[WebhookTask] = field(default_factory=deque)
    running: int = 0
    timer: asyncio.TimerHandle | None = None


class Dispatcher:
    """Queues tasks and keeps the results of deliveries until they are recorded in the status.

    Each tenant has a queue and a circuit breaker of its own for every origin that it names: on a host that many share,
    such as one that routes by path, what one of them makes fail pauses only its own. The tenants share the concurrent
    attempts.

    Nothing here is durable: after a crash, deliveries are still pending in the SeparationJob. `send` returns None if
    the task is no longer due. `on_result` is called with the uid of a SeparationJob that has results to record.
    """

    def __init__(
        self,
        settings: WebhookSettings,
        send: Callable[[WebhookTask], Awaitable[AttemptResult | None]],
        on_result: Callable[[str], None],
    ) -> None:
        self._settings = settings
        self._send = send
        self._on_result = on_result
        self._slots = FairSlots(settings.webhook_concurrency)
        self._queues: OrderedDict[tuple[str, str], _ConsumerQueue] = OrderedDict()
        """By tenant and origin, the least recently used first."""
        self._in_flight: dict[str, set[str]] = {}
        self._results: dict[str, dict[str, AttemptResult]] = {}
        self._oldest_result: dict[str, float] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def enqueue(self, delivery: WebhookTask) -> None:
        """Queue a delivery, unless it is in flight or its result is not recorded yet."""
        if any(delivery.id in by_uid.get(delivery.uid, ()) for by_uid in (self._in_flight, self._results)):
            return
        queue = self._queue(delivery)
        queue.waiting.append(delivery)
        self._in_flight.setdefault(delivery.uid, set()).add(delivery.id)
        self._start_attempts(queue)

    def enqueue_progress(self, event: WebhookTask) -> None:
        """Queue a progress event for one attempt; drop it if its consumer fails or cannot keep up."""
        queue = self._queue(event)
        if queue.breaker.closed and len(queue.waiting) < _PROGRESS_QUEUE_LIMIT:
            queue.waiting.append(event)
            self._start_attempts(queue)

    def in_flight(self, uid: str) -> frozenset[str]:
        """Return the ids of deliveries that are queued or being attempted."""
        return frozenset(self._in_flight.get(uid, ()))

    def results(self, uid: str) -> tuple[AttemptResult, ...]:
        """Return the results that are not recorded yet."""
        return tuple(self._results.get(uid, {}).values())

    def results_age(self, uid: str) -> float:
        """Return the age of the oldest result in seconds."""
        return time.monotonic() - self._oldest_result[uid] if uid in self._oldest_result else 0.0

    def discard_results(self, uid: str, ids: Collection[str]) -> None:
        """Drop results that have been recorded."""
        left = {key: value for key, value in self._results.get(uid, {}).items() if key not in ids}
        self._results.pop(uid, None)
        self._oldest_result.pop(uid, None)
        if left:
            self._results[uid], self._oldest_result[uid] = left, time.monotonic()

    def forget(self, uid: str) -> None:
        """Drop the state of a deleted SeparationJob; attempts in flight may still arrive."""
        for by_uid in (self._in_flight, self._results, self._oldest_result):
            by_uid.pop(uid, None)

    def consumers(self) -> dict[str, int]:
        """Return how many consumers have webhooks queued or in flight, by the state of their circuit breaker."""
        busy = [queue for queue in self._queues.values() if queue.running or queue.waiting]
        closed = sum(queue.breaker.closed for queue in busy)
        return {"closed": closed, "open": len(busy) - closed}

    async def close(self) -> None:
        """Stop; attempts in flight are cancelled and will be made again by the next leader."""
        for queue in self._queues.values():
            if queue.timer is not None:
                queue.timer.cancel()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _tenant(self, task: WebhookTask) -> str:
        """Return whose a webhook is: an API key's, else its namespace's; "" for the deployment's own."""
        if task.key is not None:
            return f"{task.namespace}/{task.key}"
        return "" if task.url == self._settings.webhook_url else task.namespace

    def _queue(self, task: WebhookTask) -> _ConsumerQueue:
        try:
            origin = origin_of(task.url)
        except ValueError:
            origin = task.url
        name = self._tenant(task), origin
        queue = self._queues.get(name)
        if queue is None:
            self._drop_idle()  # first, as the new queue is idle until its caller adds to it
            breaker = CircuitBreaker(self._settings.webhook_breaker_seconds, time.monotonic)
            queue = self._queues[name] = _ConsumerQueue(breaker)
        self._queues.move_to_end(name)
        return queue

    def _drop_idle(self) -> None:
        """Make room for one more consumer by forgetting the idle ones that were used least recently."""
        idle = [name for name, queue in self._queues.items() if not queue.running and not queue.waiting]
        for name in idle[: max(0, len(self._queues) + 1 - _CONSUMERS_KEPT)]:
            del self._queues[name]

    def _start_attempts(self, queue: _ConsumerQueue) -> None:
        """Start as many attempts as the consumer's circuit breaker and concurrency limit permit."""
        seconds = queue.breaker.seconds_open
        if seconds > 0:
            if queue.timer is None and queue.waiting:
                queue.timer = asyncio.get_running_loop().call_later(seconds, self._resume, queue)
            return
        limit = self._settings.webhook_concurrency_per_target if queue.breaker.closed else 1
        while queue.waiting and queue.running < limit:
            queue.running += 1
            attempt = asyncio.get_running_loop().create_task(self._attempt(queue, queue.waiting.popleft()))
            self._tasks.add(attempt)
            attempt.add_done_callback(self._tasks.discard)

    def _resume(self, queue: _ConsumerQueue) -> None:
        queue.timer = None
        self._start_attempts(queue)

    async def _attempt(self, queue: _ConsumerQueue, task: WebhookTask) -> None:
        result = None
        try:
            if task.progress is not None or task.id in self._in_flight.get(task.uid, ()):
                async with self._slots.slot(self._tenant(task)):
                    result = await self._send(task)
        except Exception:
            # counts as a failed attempt, so that a bug neither stops the consumer's queue nor repeats without end
            log.exception("an attempt at a webhook failed", extra={"uid": task.uid, "webhook": task.id})
            result = AttemptResult(task.id, datetime.now(UTC), error="InternalError")
        finally:
            queue.running -= 1
        if result is not None:
            (queue.breaker.record_success if result.answered else queue.breaker.record_failure)()
        if task.progress is None:
            self._finish(task, result)
        self._start_attempts(queue)

    def _finish(self, task: WebhookTask, result: AttemptResult | None) -> None:
        ids = self._in_flight.get(task.uid)
        if ids is None or task.id not in ids:
            return
        ids.discard(task.id)
        if not ids:
            del self._in_flight[task.uid]
        if result is None:
            asyncio.get_running_loop().call_later(_REQUEUE_SECONDS, self._on_result, task.uid)
            return
        first = task.uid not in self._results
        self._results.setdefault(task.uid, {})[task.id] = result
        self._oldest_result.setdefault(task.uid, time.monotonic())
        if first or not ids:
            # the listener waits for further results after the first, and need not be notified of each
            self._on_result(task.uid)
