"""Background tasks of the process, which end with it."""

import asyncio
import logging
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from typing import Any, Final

STOP_SECONDS: Final = 3.0
"""How long tasks may take to end; the process does not wait longer for them."""

_log = logging.getLogger(__name__)


@asynccontextmanager
async def running(*coroutines: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    """Run coroutines as tasks for as long as the context lasts; on exit they are cancelled.

    A task that does not end in time is logged with the place where it waits: a library that swallows a cancellation
    must not keep the process from ending.
    """
    tasks = [asyncio.create_task(coroutine) for coroutine in coroutines]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        ended, left = await asyncio.wait(tasks, timeout=STOP_SECONDS)
        for task in ended:
            if not task.cancelled() and (error := task.exception()) is not None:
                _log.error("a background task failed", exc_info=error)
        for task in left:
            _log.error("a background task does not end", extra={"task": repr(task), "frames": repr(task.get_stack())})
