"""The work queue: each key once, never two workers on one key, delays."""

import asyncio
from itertools import pairwise

import pytest

from stemyard_operator.errors import KubernetesError, OperatorError
from stemyard_operator.workqueue import WorkQueue, work


async def drained(queue: WorkQueue[str], seconds: float = 0.05) -> list[str]:
    found: list[str] = []
    while True:
        try:
            key = await asyncio.wait_for(queue.get(), seconds)
        except TimeoutError:
            return found
        found.append(key)
        queue.done(key)


async def test_a_key_added_twice_comes_once() -> None:
    queue = WorkQueue[str]()
    for key in ("a", "b", "a", "a"):
        queue.add(key)
    assert await drained(queue) == ["a", "b"]
    assert len(queue) == 0


async def test_the_earlier_time_counts() -> None:
    queue = WorkQueue[str]()
    queue.add("a", 60)
    queue.add("a")
    queue.add("a", 60)
    assert await drained(queue) == ["a"]


async def test_delays_are_kept() -> None:
    queue = WorkQueue[str]()
    queue.add("later", 0.1)
    queue.add("now")
    assert await drained(queue) == ["now"]
    assert await asyncio.wait_for(queue.get(), 1) == "later"


async def test_a_queue_that_accepts_none_stays_empty() -> None:
    leading = False
    queue = WorkQueue[str](lambda: leading)
    queue.add("a")
    queue.add("b", 60)
    queue.retry("c")
    assert (len(queue), queue.due) == (0, 0)
    leading = True
    queue.add("a")
    assert await drained(queue) == ["a"]


async def test_a_key_in_progress_waits_until_it_is_done() -> None:
    queue = WorkQueue[str]()
    queue.add("a")
    assert await queue.get() == "a"
    queue.add("a")
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(queue.get(), 0.05)
    queue.done("a")
    assert await drained(queue) == ["a"]


async def test_waiting_workers_are_woken() -> None:
    queue = WorkQueue[str]()
    waiting = asyncio.create_task(queue.get())
    await asyncio.sleep(0)
    queue.add("a")
    assert await asyncio.wait_for(waiting, 1) == "a"


async def test_retries_pause_longer_each_time_until_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    queue, pauses = WorkQueue[str](), []
    monkeypatch.setattr(queue, "add", lambda key, delay=0.0: pauses.append(delay))
    for _ in range(12):
        queue.retry("a")
    for number, pause in enumerate(pauses):
        assert 0.5 <= pause / min(120, 0.5 * 2**number) <= 1
    queue.forget("a")
    queue.retry("a")
    assert pauses[-1] <= 0.5


async def test_a_pause_that_a_server_asks_for_is_kept_whatever_happens_meanwhile() -> None:
    queue, handled = WorkQueue[str](), list[float]()

    async def handle(key: str) -> float | None:
        handled.append(asyncio.get_running_loop().time())
        if len(handled) == 1:
            queue.add(key)
            raise KubernetesError(429, "TooManyRequests", "later", retry_after=0.4)
        return None

    task = asyncio.create_task(work(queue, handle, 1))
    queue.add("a")
    for _ in range(20):
        await asyncio.sleep(0.05)
        queue.add("a")
    task.cancel()
    assert 0.4 <= handled[1] - handled[0] <= 0.6
    assert len(handled) > 3


async def test_workers_survive_exceptions() -> None:
    queue, seen = WorkQueue[str](), list[str]()

    async def handle(key: str) -> float | None:
        seen.append(key)
        if key == "breaks":
            raise ZeroDivisionError
        if key == "fails":
            raise OperatorError
        return 0.01 if seen.count(key) < 3 else None

    task = asyncio.create_task(work(queue, handle, 1))
    for key in ("breaks", "fails", "works"):
        queue.add(key)
    await asyncio.sleep(0.2)
    task.cancel()
    assert seen.count("works") == 3
    assert {"breaks", "fails"} <= set(seen)


async def test_one_key_is_never_handled_twice_at_once() -> None:
    queue, active, most = WorkQueue[int](), set[int](), [0]

    async def handle(key: int) -> float | None:
        assert key not in active
        active.add(key)
        most[0] = max(most[0], len(active))
        await asyncio.sleep(0.001)
        active.discard(key)
        return None

    task = asyncio.create_task(work(queue, handle, 4))
    for _ in range(50):
        for key in range(5):
            queue.add(key)
        await asyncio.sleep(0.001)
    assert not task.done()
    task.cancel()
    assert most[0] > 1


async def test_keys_without_a_pause_do_not_starve_others() -> None:
    queue, handled, seen = WorkQueue[int](), 0, []

    async def handle(_: int) -> None:
        nonlocal handled
        handled += 1

    async def look() -> None:
        while handled < 1000:
            seen.append(handled)
            await asyncio.sleep(0)

    for key in range(1000):
        queue.add(key)
    working = asyncio.create_task(work(queue, handle, 3))
    await asyncio.wait_for(look(), 10)
    working.cancel()
    assert max(later - earlier for earlier, later in pairwise([*seen, 1000])) <= 10


async def test_a_key_wakes_one_worker_and_no_more() -> None:
    queue, woken = WorkQueue[str](), list[str]()

    async def get(name: str) -> None:
        key = await queue.get()
        woken.append(name + key)

    tasks = [asyncio.create_task(get(name)) for name in "xyz"]
    await asyncio.sleep(0)
    queue.add("a")
    await asyncio.sleep(0.01)
    assert woken == ["xa"]
    queue.add("b", 0.02)
    queue.add("c", 0.02)
    await asyncio.sleep(0.1)
    assert woken == ["xa", "yb", "zc"]
    assert all(task.done() for task in tasks)


@pytest.mark.parametrize("woken", [False, True])
async def test_a_worker_that_is_cancelled_leaves_its_key_to_another(woken: bool) -> None:
    queue = WorkQueue[str]()
    first, second = (asyncio.create_task(queue.get()) for _ in range(2))
    await asyncio.sleep(0)
    for step in (lambda: queue.add("a"), first.cancel) if woken else (first.cancel, lambda: queue.add("a")):
        step()
    assert await asyncio.wait_for(second, 1) == "a"
