"""The work queue: each key once, never two workers on one key, delays and retries with growing pauses."""

import asyncio
import heapq
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Hashable
from itertools import count
from typing import Final, Generic, TypeVar

from stemyard_operator.backoff import pause_after
from stemyard_operator.errors import OperatorError

_RETRY_BASE: Final = 0.5
_RETRY_MAX: Final = 120.0
Key = TypeVar("Key", bound=Hashable)

log = logging.getLogger(__name__)


class WorkQueue(Generic[Key]):
    """Keys that are due now or later. A key added while it is worked on becomes due again afterwards."""

    def __init__(self) -> None:
        self._due: dict[Key, float] = {}
        self._heap: list[tuple[float, int, Key]] = []
        self._busy: set[Key] = set()
        self._failures: dict[Key, int] = {}
        self._numbers = count()
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._alarm: asyncio.TimerHandle | None = None
        self.retries = 0
        """Times that a key was put off because it failed."""

    def __len__(self) -> int:
        """Keys that are waiting, due or not."""
        return len(self._due)

    @property
    def due(self) -> int:
        """Keys that wait for a worker."""
        now = self._now()
        return sum(when <= now for when in self._due.values())

    def add(self, key: Key, delay: float = 0) -> None:
        """Make a key due after so many seconds, unless it is due earlier anyway."""
        when = self._now() + max(0.0, delay)
        if key in self._due and self._due[key] <= when:
            return
        self._due[key] = when
        if key not in self._busy:
            self._push(key, when)

    def retry(self, key: Key) -> None:
        """Make a key that failed due again, later each time, with jitter."""
        self.retries += 1
        failures = self._failures[key] = self._failures.get(key, 0) + 1
        self.add(key, pause_after(failures - 1, _RETRY_BASE, _RETRY_MAX))

    def forget(self, key: Key) -> None:
        """Start the pauses of a key anew: it did not fail."""
        self._failures.pop(key, None)

    async def get(self) -> Key:
        """Return the next due key; it is the caller's until `done`."""
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
                # it was woken already, and somebody else has to come
                self._wake()
            raise

    def _wake(self) -> None:
        """Wake one who waits where a key is due, and no more: each key is for one only. Else see to it in time."""
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

    def done(self, key: Key) -> None:
        """Give a key back."""
        self._busy.discard(key)
        if key in self._due:
            self._push(key, self._due[key])

    def _push(self, key: Key, when: float) -> None:
        heapq.heappush(self._heap, (when, next(self._numbers), key))
        self._wake()

    def _until_next(self) -> float | None:
        """Return the seconds until a key is due; entries that were overtaken are dropped on the way."""
        while self._heap:
            when, _, key = self._heap[0]
            if self._due.get(key) == when and key not in self._busy:
                return when - self._now()
            heapq.heappop(self._heap)
        return None

    @staticmethod
    def _now() -> float:
        return asyncio.get_running_loop().time()


async def work(queue: WorkQueue[Key], handle: Callable[[Key], Awaitable[float | None]], workers: int) -> None:
    """Handle keys for ever, so many at a time.

    `handle` returns the seconds until the key is due again, None for when it is added anew. Where it fails, the key
    comes back later each time; nothing a handler raises ends a worker.
    """
    async with asyncio.TaskGroup() as group:
        for _ in range(workers):
            group.create_task(_worker(queue, handle))


async def _worker(queue: WorkQueue[Key], handle: Callable[[Key], Awaitable[float | None]]) -> None:
    while True:
        key = await queue.get()
        try:
            again = await handle(key)
        except OperatorError as error:
            log.warning("again later: %s", error, extra={"key": str(key), "code": error.code})
            queue.retry(key)
        except Exception:  # one broken key must not stop the others
            log.exception("failed unexpectedly, again later", extra={"key": str(key)})
            queue.retry(key)
        else:
            queue.forget(key)
            if again is not None:
                queue.add(key, again)
        finally:
            queue.done(key)
        # thousands of keys may be due of which each is handled without a pause: the lease must be renewed meanwhile
        await asyncio.sleep(0)
