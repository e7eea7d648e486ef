"""Shares: rate limits shared between processes through Cloudflare KV, which is delayed and therefore approximate.

Each process writes its own counts under its own key, at most once a minute, and reads the others'. It may then
admit what the others leave, but always an equal share. Within the first minute, or when load moves faster than KV
propagates it, up to `limit` times the number of processes may pass.
"""

import asyncio
import json
import logging
import random
import secrets
import time
from collections import deque
from collections.abc import Callable, Mapping
from typing import Final

from stemyard_api.clients.cloudflare_kv import CloudflareKvClient
from stemyard_api.errors import UnavailableError

EXCHANGE_SECONDS: Final = 60.0
RETRY_SECONDS: Final = 10.0
LIFE_SECONDS: Final = 180
"""TTL of a value: one minute until it is replaced, one until it is visible everywhere, one as reserve."""
_WINDOW_SECONDS: Final = 60.0

_log = logging.getLogger(__name__)


class KvCounts:
    """This process's share of every key's limit."""

    def __init__(self, kv: CloudflareKvClient, prefix: str, clock: Callable[[], float] = time.time) -> None:
        self._kv = kv
        self._prefix = f"{prefix}:rate:"
        self._own = f"{self._prefix}{secrets.token_hex(8)}"
        self._clock = clock
        self._admitted: dict[str, deque[tuple[float, int]]] = {}
        self._others: list[Mapping[str, int]] = []
        self._written = False
        self.operational = False

    def share_of(self, key_id: str, limit: int) -> int:
        """Return how many requests of this key per minute this process may admit."""
        counts = [count for other in self._others if (count := other.get(key_id, 0)) > 0]
        return max(1, limit // (len(counts) + 1), limit - sum(counts))

    def record(self, key_id: str, cost: int) -> None:
        """Count admitted requests of this key."""
        self._admitted.setdefault(key_id, deque()).append((self._clock(), cost))

    async def exchange(self) -> None:
        """Write this process's counts, and read the others'.

        Raises:
            UnavailableError: KV does not respond.
        """
        counts = self._counts()
        if counts or self._written:
            # an idle process writes nothing: writes are limited and billed
            await self._kv.write(self._own, json.dumps({"at": self._clock(), "counts": counts}), LIFE_SECONDS)
            self._written = bool(counts)
        names = [name for name in await self._kv.keys(self._prefix) if name != self._own]
        texts = await asyncio.gather(*(self._kv.read(name) for name in names))
        self._others = [_parse_counts(text, self._clock()) for text in texts if text is not None]

    async def run(self, needed: Callable[[], bool]) -> None:
        """Exchange counts once a minute while needed, sooner after a failure."""
        while True:
            if needed():
                try:
                    await self.exchange()
                    self.operational = True
                except UnavailableError as error:
                    self.operational = False
                    _log.warning("Cloudflare KV does not respond", extra={"cause": error.detail})
            else:
                self.operational = False
                await asyncio.sleep(1.0)
                continue
            pause = EXCHANGE_SECONDS if self.operational else RETRY_SECONDS
            await asyncio.sleep(pause * random.uniform(1.0, 1.1))

    def _counts(self) -> dict[str, int]:
        start = self._clock() - _WINDOW_SECONDS
        for key_id, admitted in list(self._admitted.items()):
            while admitted and admitted[0][0] <= start:
                admitted.popleft()
            if not admitted:
                del self._admitted[key_id]
        return {key_id: sum(cost for _, cost in admitted) for key_id, admitted in self._admitted.items()}


def _parse_counts(text: str, now: float) -> dict[str, int]:
    """Return another process's counts; none if they are old or unreadable."""
    try:
        document = json.loads(text)
        if now - float(document["at"]) > LIFE_SECONDS:
            return {}
        return {str(key_id): int(count) for key_id, count in document["counts"].items()}
    except (ValueError, KeyError, TypeError, AttributeError):
        return {}
