"""Runs the desk's and the probes' web applications on their ports."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from aiohttp import web

_SHUTDOWN_SECONDS: Final = 5.0


@asynccontextmanager
async def serving(application: web.Application, port: int) -> AsyncIterator[None]:
    """Serve an application on all addresses while the block runs; calls under way may end."""
    runner = web.AppRunner(application, access_log=None, shutdown_timeout=_SHUTDOWN_SECONDS)
    await runner.setup()
    try:
        await web.TCPSite(runner, port=port).start()
        await asyncio.sleep(0)
        yield
    finally:
        await runner.cleanup()
