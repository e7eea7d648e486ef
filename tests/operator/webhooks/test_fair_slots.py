"""Namespaces get slots in turn, and no slot is lost to a cancelled task."""

import asyncio

from stemyard_operator.webhooks.fair_slots import FairSlots


class Users:
    """Tasks that note their names when they get a slot, and hold it until they are released."""

    def __init__(self, count: int) -> None:
        self.slots = FairSlots(count)
        self.got: list[str] = []
        self.leave = asyncio.Event()

    async def use(self, name: str) -> None:
        async with self.slots.slot(name[0]):
            self.got.append(name)
            await self.leave.wait()

    async def start(self, *names: str) -> list[asyncio.Task[None]]:
        tasks = [asyncio.create_task(self.use(name)) for name in names]
        await asyncio.sleep(0)
        return tasks


async def test_tenants_get_slots_in_turn() -> None:
    users = Users(1)
    tasks = await users.start("a1", "a2", "a3", "a4", "b1", "b2", "c1")
    assert users.got == ["a1"]
    users.leave.set()
    await asyncio.gather(*tasks)
    assert users.got == ["a1", "a2", "b1", "c1", "a3", "b2", "a4"]


async def test_no_more_tasks_than_slots_hold_one() -> None:
    users = Users(2)
    tasks = await users.start("a1", "b1", "c1", "d1")
    assert users.got == ["a1", "b1"]
    users.leave.set()
    await asyncio.gather(*tasks)
    assert users.got == ["a1", "b1", "c1", "d1"]
    users.leave.clear()
    tasks = await users.start("a2", "a3", "a4")
    assert users.got[4:] == ["a2", "a3"]
    users.leave.set()
    await asyncio.gather(*tasks)


async def test_a_cancelled_task_leaves_its_slot_to_others() -> None:
    users = Users(1)
    holder, waiting, granted, last = await users.start("a1", "b1", "c1", "d1")
    waiting.cancel()
    holder.cancel()
    await asyncio.gather(holder, waiting, return_exceptions=True)
    assert users.got == ["a1", "c1"]
    [more] = await users.start("e1")
    users.leave.set()
    await asyncio.wait_for(asyncio.gather(granted, last, more), 5)
    assert users.got == ["a1", "c1", "d1", "e1"]


async def test_a_task_that_is_cancelled_as_it_gets_a_slot_passes_it_on() -> None:
    users = Users(1)
    users.leave.set()
    async with users.slots.slot("a"):
        cancelled, last = await users.start("b1", "c1")
    cancelled.cancel()  # the slot is its own already, but it has not run yet
    await asyncio.wait_for(asyncio.gather(cancelled, last, return_exceptions=True), 5)
    assert cancelled.cancelled()
    assert users.got == ["c1"]
