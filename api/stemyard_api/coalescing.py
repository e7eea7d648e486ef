"""Coalescing: reads of many requests become one call; what is asked for while a call is under way goes with the next.

Under load the client library's work for a call costs far more than the values in it, so fewer calls are the lever.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, Generic, TypeVar

_Value = TypeVar("_Value")

MOST: Final = 500
"""Names in one call."""


class Coalescer(Generic[_Value]):
    """Answers single reads by reads of many."""

    def __init__(self, read_many: Callable[[Sequence[str]], Awaitable[Sequence[_Value]]]) -> None:
        self._read_many = read_many
        self._waiting: dict[str, list[asyncio.Future[_Value]]] = {}
        self._running: asyncio.Task[None] | None = None

    async def read(self, name: str) -> _Value:
        """Return the value of one name, read after this call; raises whatever reading raises."""
        # a future for each, so that one who stops waiting does not take the answer from the others
        future: asyncio.Future[_Value] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(name, []).append(future)
        if self._running is None:
            self._running = asyncio.create_task(self._run())
        return await future

    async def _run(self) -> None:
        try:
            while self._waiting:
                names = list(self._waiting)[:MOST]
                await self._answer({name: self._waiting.pop(name) for name in names})
        finally:
            self._running = None

    async def _answer(self, asked: dict[str, list[asyncio.Future[_Value]]]) -> None:
        waiting = [future for futures in asked.values() for future in futures]
        try:
            values = await self._read_many(list(asked))
        except BaseException as error:
            for future in waiting:
                if not future.done():
                    future.cancel() if not isinstance(error, Exception) else future.set_exception(error)
            if not isinstance(error, Exception):
                raise
            return
        for futures, value in zip(asked.values(), values, strict=True):
            for future in futures:
                if not future.done():
                    future.set_result(value)
