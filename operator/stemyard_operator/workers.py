"""Workers: take a key, handle it, and see that it comes back when it has to."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Hashable
from typing import TypeVar

from stemyard_operator.errors import OperatorError
from stemyard_operator.workqueue import WorkQueue

log = logging.getLogger(__name__)
Key = TypeVar("Key", bound=Hashable)


async def work(queue: WorkQueue[Key], handle: Callable[[Key], Awaitable[float | None]], workers: int) -> None:
    """Handle keys for ever, so many at a time.

    `handle` returns the seconds until the key is due again, None for when it is added anew. Where it fails, the key
    comes back later each time; nothing a handler raises ends a worker.
    """
    async with asyncio.TaskGroup() as group:
        for _ in range(workers):
            group.create_task(_worker(queue, handle))


async def _worker(queue: WorkQueue[Key], handle: Callable[[Key], Awaitable[float | None]]) -> None:
    while True:
        key = await queue.get()
        try:
            again = await handle(key)
        except OperatorError as error:
            log.warning("again later: %s", error, extra={"key": str(key), "code": error.code})
            queue.retry(key)
        except Exception:  # one broken key must not stop the others
            log.exception("failed unexpectedly, again later", extra={"key": str(key)})
            queue.retry(key)
        else:
            queue.forget(key)
            if again is not None:
                queue.add(key, again)
        finally:
            queue.done(key)
        # thousands of keys may be due of which each is handled without a pause: the lease must be renewed meanwhile
        await asyncio.sleep(0)
