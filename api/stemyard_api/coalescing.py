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
        self._waiting: dict[str, asyncio.Future[_Value]] = {}
        self._running: asyncio.Task[None] | None = None

    async def read(self, name: str) -> _Value:
        """Return the value of one name, read after this call; raises whatever reading raises."""
        future = self._waiting.get(name)
        if future is None:
            future = self._waiting[name] = asyncio.get_running_loop().create_future()
        if self._running is None:
            self._running = asyncio.create_task(self._run())
        # one who stops waiting must not take the answer from the others
        return await asyncio.shield(future)

    async def _run(self) -> None:
        while self._waiting:
            names = list(self._waiting)[:MOST]
            asked = {name: self._waiting.pop(name) for name in names}
            try:
                values = await self._read_many(names)
            except BaseException as error:
                for future in asked.values():
                    if not future.done():
                        future.set_exception(error)
                        future.exception()  # whoever waited may be gone
                if not isinstance(error, Exception):
                    self._running = None
                    raise
                continue
            for future, value in zip(asked.values(), values, strict=True):
                if not future.done():
                    future.set_result(value)
        self._running = None
