"""The work queue: each key once, never two workers on one key, delays and retries with growing pauses."""

import asyncio
import heapq
import random
from collections.abc import Hashable
from itertools import count
from typing import Final, Generic, TypeVar

_RETRY_BASE: Final = 0.5
_RETRY_MAX: Final = 120.0

Key = TypeVar("Key", bound=Hashable)


class WorkQueue(Generic[Key]):
    """Keys that are due now or later. A key added while it is worked on becomes due again afterwards."""

    def __init__(self) -> None:
        self._due: dict[Key, float] = {}
        self._heap: list[tuple[float, int, Key]] = []
        self._busy: set[Key] = set()
        self._failures: dict[Key, int] = {}
        self._numbers = count()
        self._changed = asyncio.Event()
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
        pause = min(_RETRY_MAX, _RETRY_BASE * 2 ** min(failures - 1, 30))
        self.add(key, pause * random.uniform(0.5, 1.0))

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
                return key
            self._changed.clear()
            try:
                # not `wait_for`: before Python 3.12 it loses a cancellation that comes with what it waits for
                async with asyncio.timeout(wait):
                    await self._changed.wait()
            except TimeoutError:
                continue

    def done(self, key: Key) -> None:
        """Give a key back."""
        self._busy.discard(key)
        if key in self._due:
            self._push(key, self._due[key])

    def _push(self, key: Key, when: float) -> None:
        heapq.heappush(self._heap, (when, next(self._numbers), key))
        self._changed.set()

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
