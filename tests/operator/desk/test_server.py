"""Whether the desk notices that a pod is gone."""

import asyncio

from aiohttp import web

from stemyard_operator.desk.server import is_connected


async def test_a_connection_that_is_closed_is_noticed_while_its_request_waits() -> None:
    seen: list[bool] = []
    received, answered = asyncio.Event(), asyncio.Event()

    async def wait(request: web.Request) -> web.Response:
        seen.append(is_connected(request))
        received.set()
        async with asyncio.timeout(10):
            while is_connected(request):  # noqa: ASYNC110 - nothing else tells
                await asyncio.sleep(0.01)
        seen.append(is_connected(request))
        answered.set()
        return web.Response()

    application = web.Application()
    application.router.add_get("/", wait)
    runner = web.AppRunner(application)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        _reader, writer = await asyncio.open_connection(*runner.addresses[0][:2])
        writer.write(b"GET / HTTP/1.1\r\nHost: desk\r\n\r\n")
        await received.wait()
        writer.close()
        await asyncio.wait_for(answered.wait(), 15)
    finally:
        await runner.cleanup()
    assert seen == [True, False]
