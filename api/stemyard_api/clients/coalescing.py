"""Coalescing: concurrent queries are batched into one call; queries during a call go into the next batch.

Under load the client library's cost per call is far higher than per value.
"""

import asyncio
from collections.abc import Awaitable, Callable, Hashable, Sequence
from typing import Final, Generic, TypeVar

_Query = TypeVar("_Query", bound=Hashable)
_Value = TypeVar("_Value")

MOST: Final = 500
"""Maximum number of queries in one call."""


class Coalescer(Generic[_Query, _Value]):
    """Answers single queries with one batched call; equal queries are sent once."""

    def __init__(self, ask_many: Callable[[Sequence[_Query]], Awaitable[Sequence[_Value]]]) -> None:
        self._ask_many = ask_many
        self._waiting: dict[_Query, list[asyncio.Future[_Value]]] = {}
        self._running: asyncio.Task[None] | None = None

    async def ask(self, query: _Query) -> _Value:
        """Return the answer to one query, which is sent after this call; raises what the batched call raises."""
        # one future per caller, so that cancelling one caller does not affect the others
        future: asyncio.Future[_Value] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(query, []).append(future)
        if self._running is None:
            self._running = asyncio.create_task(self._run())
        return await future

    async def _run(self) -> None:
        try:
            while self._waiting:
                queries = list(self._waiting)[:MOST]
                await self._answer({query: self._waiting.pop(query) for query in queries})
        finally:
            self._running = None

    async def _answer(self, batch: dict[_Query, list[asyncio.Future[_Value]]]) -> None:
        waiting = [future for futures in batch.values() for future in futures]
        try:
            values = await self._ask_many(list(batch))
        except BaseException as error:
            for future in waiting:
                if not future.done():
                    future.cancel() if not isinstance(error, Exception) else future.set_exception(error)
            if not isinstance(error, Exception):
                raise
            return
        for futures, value in zip(batch.values(), values, strict=True):
            for future in futures:
                if not future.done():
                    future.set_result(value)
