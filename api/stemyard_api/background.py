"""Background tasks of the process, which end with it."""

import asyncio
import logging
import random
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from types import CoroutineType
from typing import Any, Final

STOP_SECONDS: Final = 3.0
"""How long tasks may take to end; the process does not wait longer for them."""

_CANCEL_SECONDS: Final = 0.05
"""Pause before a task that goes on is cancelled again."""

RESTART_SECONDS: Final = 1.0
"""Pause before a task that has failed is started again."""

Task = Callable[[], Coroutine[Any, Any, None]]

_log = logging.getLogger(__name__)


@asynccontextmanager
async def running(*functions: Task) -> AsyncIterator[None]:
    """Run functions as tasks for as long as the context lasts; on exit they are cancelled.

    One that fails is started again: it has no caller who could do that, and the process would go on without it.
    A task that does not end in time is logged with the place where it waits: a library that swallows a cancellation
    must not keep the process from ending.
    """
    tasks = [asyncio.create_task(_run(function)) for function in functions]
    try:
        yield
    finally:
        left = await _stopped(tasks)
        for task in set(tasks) - left:
            if not task.cancelled() and (error := task.exception()) is not None:
                _log.error("a background task failed", exc_info=error)
        for task in left:
            _log.error("a background task does not end", extra={"waits_in": _waits_in(task)})


async def _stopped(tasks: Sequence[asyncio.Task[None]]) -> set[asyncio.Task[None]]:
    """Cancel tasks; return those that do not end.

    They are cancelled again and again: redis-py swallows a cancellation while it connects, and then goes on.
    """
    left, deadline = set(tasks), time.monotonic() + STOP_SECONDS
    while left and time.monotonic() < deadline:
        for task in left:
            task.cancel()
        _, left = await asyncio.wait(left, timeout=_CANCEL_SECONDS)
    return left


async def _run(function: Task) -> None:
    while True:
        try:
            await function()
        except Exception:
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                raise
            _log.exception("a background task failed; it is started again")
        else:
            return
        await asyncio.sleep(RESTART_SECONDS * random.uniform(0.8, 1.2))


def _waits_in(task: asyncio.Task[None]) -> list[str]:
    """Return the functions in which a task waits, each with its line, from the outermost."""
    places = []
    waiting: object = task.get_coro()
    while isinstance(waiting, CoroutineType) and waiting.cr_frame is not None:
        places.append(f"{waiting.cr_code.co_qualname}:{waiting.cr_frame.f_lineno}")
        waiting = waiting.cr_await
    return places
