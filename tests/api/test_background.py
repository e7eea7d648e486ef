"""Background tasks end with the context, also those that do not want to."""

import asyncio
import logging
from contextlib import suppress

import pytest

from stemyard_api import background


@pytest.fixture(autouse=True)
def no_long_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(background, "STOP_SECONDS", 0.05)


async def test_tasks_run_until_the_context_ends(caplog: pytest.LogCaptureFixture) -> None:
    seen = []

    async def task() -> None:
        seen.append("started")
        try:
            await asyncio.Event().wait()
        finally:
            seen.append("ended")

    async with background.running(task, task):
        await asyncio.sleep(0)
        assert seen == ["started", "started"]
    assert seen == ["started", "started", "ended", "ended"]
    assert not caplog.records


async def test_a_task_that_swallows_its_cancellation_is_logged_and_not_waited_for(
    caplog: pytest.LogCaptureFixture,
) -> None:
    release = asyncio.Event()

    async def stubborn() -> None:
        while not release.is_set():
            try:
                await release.wait()
            except asyncio.CancelledError:
                continue

    async with background.running(stubborn):
        await asyncio.sleep(0)
    [record] = caplog.records
    assert record.levelno == logging.ERROR
    release.set()
    assert "stubborn" in vars(record)["waits_in"][1]
    await asyncio.sleep(0)


async def test_a_task_that_swallows_one_cancellation_ends(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(background, "STOP_SECONDS", 10.0)

    async def connecting() -> None:
        with suppress(asyncio.CancelledError):
            await asyncio.Event().wait()
        await asyncio.Event().wait()

    async with asyncio.timeout(5), background.running(connecting):
        await asyncio.sleep(0)
    assert not caplog.records


async def test_a_failed_task_is_logged_and_started_again(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(background, "RESTART_SECONDS", 0.0)
    started_again = asyncio.Event()
    starts = 0

    async def failing_once() -> None:
        nonlocal starts
        starts += 1
        if starts == 1:
            raise ValueError("broken")
        started_again.set()

    async with background.running(failing_once):
        await asyncio.wait_for(started_again.wait(), 10)
    [record] = caplog.records
    assert record.exc_info is not None
    assert str(record.exc_info[1]) == "broken"
    assert starts == 2
