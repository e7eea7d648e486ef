"""Keeps the history of webhook attempts in Redis; the last attempt is also recorded in the SeparationJob's status."""

from collections import deque
from typing import Final

from stemyard_contract.mirror import AttemptRecord
from stemyard_operator.clients.redis import RedisClient
from stemyard_operator.errors import MirrorError
from stemyard_operator.mirror.background import BackgroundWriter

_PENDING_LIMIT: Final = 10_000
"""Attempts that wait for Redis at most; the oldest are dropped first."""
_BATCH: Final = 100


class DeliveryLog(BackgroundWriter):
    """Writes attempts in batches, in order."""

    def __init__(self, mirror: RedisClient) -> None:
        self._pending: deque[tuple[str, AttemptRecord]] = deque(maxlen=_PENDING_LIMIT)
        super().__init__("delivery log", self._pending)
        self._mirror = mirror

    def attempted(self, track: str, attempt: AttemptRecord) -> None:
        """Queue an attempt for the log of a track."""
        if self._mirror.enabled:
            self._pending.append((track, attempt))
            self._added.set()

    async def _write(self) -> None:
        batch = [self._pending.popleft() for _ in range(min(_BATCH, len(self._pending)))]
        try:
            await self._mirror.log_attempts(batch)
        except MirrorError:
            self._pending.extendleft(reversed(batch[: _PENDING_LIMIT - len(self._pending)]))
            raise
