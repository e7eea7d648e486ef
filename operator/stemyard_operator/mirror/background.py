"""The loop that all background writes to Redis share: a failing Redis delays them and nothing else."""

import asyncio
import logging
from abc import ABC, abstractmethod
from collections.abc import Sized
from typing import Final

from stemyard_operator.backoff import pause_after
from stemyard_operator.errors import MirrorError

_PAUSE_BASE: Final = 0.5
_PAUSE_MAX: Final = 15.0

log = logging.getLogger(__name__)


class BackgroundWriter(ABC):
    """Writes while something is pending. `name` says what, in the log line of a failure."""

    def __init__(self, name: str, pending: Sized) -> None:
        self._name = name
        self._backlog = pending
        self._added = asyncio.Event()

    async def run(self) -> None:
        """Write forever; while Redis fails, pause longer each time, with jitter."""
        failures = 0
        while True:
            while not self._backlog:
                self._added.clear()
                await self._added.wait()
            try:
                await self._write()
                failures = 0
            except MirrorError as error:
                failures += 1
                log.warning("%s write failed, %d pending: %s", self._name, len(self._backlog), error)
                await asyncio.sleep(pause_after(failures, _PAUSE_BASE, _PAUSE_MAX))

    @abstractmethod
    async def _write(self) -> None:
        """Take and write some of what is pending.

        Raises:
            MirrorError: Redis failed; what must not be lost is pending again.
        """
