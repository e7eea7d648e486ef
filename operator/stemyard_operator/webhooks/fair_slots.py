"""Slots that tenants get in turn, so that many webhooks of one do not delay those of another."""

import asyncio
from collections import OrderedDict, deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class FairSlots:
    """A semaphore that wakes waiting tenants in round-robin order, and each one's tasks first in, first out."""

    def __init__(self, count: int) -> None:
        self._free = count
        self._waiting: OrderedDict[str, deque[asyncio.Future[None]]] = OrderedDict()

    @asynccontextmanager
    async def slot(self, tenant: str) -> AsyncIterator[None]:
        """Wait for a slot and hold it."""
        await self._acquire(tenant)
        try:
            yield
        finally:
            self._release()

    async def _acquire(self, tenant: str) -> None:
        if self._free:
            self._free -= 1
            return
        granted = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(tenant, deque()).append(granted)
        try:
            await granted
        except asyncio.CancelledError:
            if not granted.cancelled():  # cancelled after the slot was granted, before this task ran
                self._release()
            raise

    def _release(self) -> None:
        """Pass the slot on to the tenant that has waited longest for its turn."""
        while self._waiting:
            tenant, waiting = self._waiting.popitem(last=False)
            granted = waiting.popleft()
            if waiting:
                self._waiting[tenant] = waiting  # at the end
            if not granted.cancelled():
                granted.set_result(None)
                return
        self._free += 1
