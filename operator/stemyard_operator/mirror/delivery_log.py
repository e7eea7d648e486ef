"""Keeps the log of attempts at webhooks in Redis, in the background: a failing Redis costs entries and nothing else."""

import asyncio
import logging
from collections import deque
from typing import Final

from stemyard_contract.mirror import AttemptRecord
from stemyard_operator.backoff import pause_after
from stemyard_operator.clients.redis import RedisClient
from stemyard_operator.errors import MirrorError

_WAITING: Final = 10_000
"""Attempts that wait for Redis at most; the oldest go first."""
_AT_ONCE: Final = 100
_PAUSE_BASE: Final = 0.5
_PAUSE_MAX: Final = 15.0

log = logging.getLogger(__name__)


class DeliveryLog:
    """What the SeparationJob says of the last attempt is the record; this is the history, for whoever looks into it."""

    def __init__(self, mirror: RedisClient) -> None:
        self._mirror = mirror
        self._waiting: deque[tuple[str, AttemptRecord]] = deque(maxlen=_WAITING)
        self._wake = asyncio.Event()

    def note(self, track: str, attempt: AttemptRecord) -> None:
        """Take note of an attempt for a track."""
        if self._mirror.enabled:
            self._waiting.append((track, attempt))
            self._wake.set()

    async def run(self) -> None:
        """Write what waits, for ever; while Redis fails, pause longer each time, with jitter."""
        failures = 0
        while True:
            while not self._waiting:
                self._wake.clear()
                await self._wake.wait()
            batch = [self._waiting.popleft() for _ in range(min(_AT_ONCE, len(self._waiting)))]
            try:
                await self._mirror.log_attempts(batch)
                failures = 0
            except MirrorError as error:
                self._waiting.extendleft(reversed(batch[: _WAITING - len(self._waiting)]))
                failures += 1
                log.warning("the delivery log is behind by %d: %s", len(self._waiting), error)
                await asyncio.sleep(pause_after(failures, _PAUSE_BASE, _PAUSE_MAX))
