"""A rate-limited work queue: each key once, never two workers on one key, delays, retries with backoff."""

import asyncio
import heapq
import logging
import random
from collections import deque
from collections.abc import Awaitable, Callable, Hashable
from itertools import count
from typing import Final, Generic, TypeVar

from stemyard_operator.backoff import pause_after
from stemyard_operator.errors import OperatorError

_RETRY_BASE: Final = 0.5
_RETRY_MAX: Final = 120.0
_SPREAD: Final = 1.25
"""Maximum factor by which a Retry-After pause is extended, so that not all keys retry at the same moment."""
_Key = TypeVar("_Key", bound=Hashable)

log = logging.getLogger(__name__)


class WorkQueue(Generic[_Key]):
    """Keys that are due now or later. A key added while a worker has it becomes due again afterwards.

    Args:
        accepts: returns whether keys are taken. Without workers, as in a replica that does not lead, a queue would only
            grow; who starts the workers adds every key.
    """

    def __init__(self, accepts: Callable[[], bool] = lambda: True) -> None:
        self._accepts = accepts
        self._due: dict[_Key, float] = {}
        self._heap: list[tuple[float, int, _Key]] = []
        self._busy: set[_Key] = set()
        self._failures: dict[_Key, int] = {}
        self._not_before: dict[_Key, float] = {}
        self._numbers = count()
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._alarm: asyncio.TimerHandle | None = None
        self.retries = 0
        """Keys requeued after a failure, since the process started."""

    def __len__(self) -> int:
        """Number of waiting keys, due or not."""
        return len(self._due)

    @property
    def due(self) -> int:
        """Number of keys that wait for a worker."""
        now = self._now()
        return sum(when <= now for when in self._due.values())

    def add(self, key: _Key, delay: float = 0) -> None:
        """Make a key due after so many seconds, unless it is due earlier or the queue accepts none.

        It is never due before a server allows it.
        """
        if not self._accepts():
            return
        when = max(self._now() + max(0.0, delay), self._not_before.get(key, 0.0))
        if key in self._due and self._due[key] <= when:
            return
        self._due[key] = when
        if key not in self._busy:
            self._push(key, when)

    def retry(self, key: _Key, least: float = 0) -> None:
        """Requeue a key that a worker has and that failed, after a pause that grows with each failure, with jitter.

        `least` is the pause of a Retry-After header in seconds: no event makes the key due before it ends.
        """
        self.retries += 1
        failures = self._failures[key] = self._failures.get(key, 0) + 1
        self._not_before.pop(key, None)
        if least > 0:
            allowed = self._not_before[key] = self._now() + least * random.uniform(1, _SPREAD)
            if key in self._due:
                self._due[key] = max(self._due[key], allowed)
        self.add(key, pause_after(failures - 1, _RETRY_BASE, _RETRY_MAX))

    def forget(self, key: _Key) -> None:
        """Reset the backoff of a key that did not fail."""
        self._failures.pop(key, None)
        self._not_before.pop(key, None)

    async def get(self) -> _Key:
        """Return the next due key; no other worker gets it until `done`."""
        while True:
            wait = self._until_next()
            if wait is not None and wait <= 0:
                _, _, key = heapq.heappop(self._heap)
                del self._due[key]
                self._busy.add(key)
                self._wake()
                return key
            await self._wait()

    async def _wait(self) -> None:
        """Wait until a key may be due."""
        waiter = asyncio.get_running_loop().create_future()
        self._waiting.append(waiter)
        self._wake()
        try:
            await waiter
        except asyncio.CancelledError:
            if not waiter.cancelled():
                # it was woken already: wake another in its place
                self._wake()
            raise

    def _wake(self) -> None:
        """Wake one waiter if a key is due, else set a timer for the next key."""
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None
        while self._waiting and self._waiting[0].done():
            self._waiting.popleft()
        wait = self._until_next() if self._waiting else None
        if wait is None:
            return
        if wait > 0:
            self._alarm = asyncio.get_running_loop().call_later(wait, self._wake)
        else:
            self._waiting.popleft().set_result(None)

    def done(self, key: _Key) -> None:
        """Return a key; if it was added meanwhile, it becomes due again."""
        self._busy.discard(key)
        if key in self._due:
            self._push(key, self._due[key])

    def _push(self, key: _Key, when: float) -> None:
        heapq.heappush(self._heap, (when, next(self._numbers), key))
        self._wake()

    def _until_next(self) -> float | None:
        """Return the seconds until a key is due; outdated heap entries are dropped."""
        while self._heap:
            when, _, key = self._heap[0]
            if self._due.get(key) == when and key not in self._busy:
                return when - self._now()
            heapq.heappop(self._heap)
        return None

    @staticmethod
    def _now() -> float:
        return asyncio.get_running_loop().time()


async def work(queue: WorkQueue[_Key], handle: Callable[[_Key], Awaitable[float | None]], workers: int) -> None:
    """Handle keys forever, with so many workers.

    `handle` returns the seconds until the key is due again, None to wait until it is added. If it raises, the key is
    requeued with backoff; no exception ends a worker.
    """
    async with asyncio.TaskGroup() as group:
        for _ in range(workers):
            group.create_task(_worker(queue, handle))


async def _worker(queue: WorkQueue[_Key], handle: Callable[[_Key], Awaitable[float | None]]) -> None:
    while True:
        key = await queue.get()
        try:
            again = await handle(key)
        except OperatorError as error:
            log.warning("reconcile failed, requeueing: %s", error, extra={"key": str(key), "code": error.code})
            queue.retry(key, error.retry_after)
        except Exception:  # one failing key must not stop the others
            log.exception("reconcile failed unexpectedly, requeueing", extra={"key": str(key)})
            queue.retry(key)
        else:
            queue.forget(key)
            if again is not None:
                queue.add(key, again)
        finally:
            queue.done(key)
        # thousands of keys may be due, each handled without awaiting anything: let the lease be renewed meanwhile
        await asyncio.sleep(0)
