"""PUTs a file to an upload link in several ways with aiohttp. Arguments: way=link; prints a line "way status" each."""

import asyncio
import sys
from collections.abc import AsyncIterator

import aiohttp
from yarl import URL

FILE = b"ID3 12345"


async def chunks() -> AsyncIterator[bytes]:
    """Yield the file; it has no length, so it goes in chunks."""
    yield FILE


async def put(session: aiohttp.ClientSession, way: str, link: str) -> int:
    """Return the status of one PUT."""
    headers = {"Content-Type": "audio/mpeg", "Content-Disposition": "attachment", "If-None-Match": "*"}
    if way == "charset":
        headers["Content-Type"] = "audio/mpeg; charset=utf-8"
    if way == "length":
        headers["Content-Length"] = str(len(FILE))
    data = chunks() if way == "stream" else FILE
    url = URL(link, encoded=True)
    async with session.put(url, data=data, headers=headers, expect100=way == "expect") as response:
        return response.status


async def main() -> None:
    """PUT in every way."""
    async with aiohttp.ClientSession() as session:
        for argument in sys.argv[1:]:
            way, _, link = argument.partition("=")
            sys.stdout.write(f"{way} {await put(session, way, link)}\n")


asyncio.run(main())
