"""Uploads a file, requests its separation, and follows it, with aiohttp. Arguments: base URL and API key."""

import asyncio
import sys

import aiohttp

BASE, KEY = sys.argv[1:]
FILE = b"ID3 of aiohttp"


async def main() -> None:
    """Do it, and print the track's id."""
    async with aiohttp.ClientSession(raise_for_status=True) as session:
        headers = {"X-API-Key": KEY}
        described = {"filename": "song.mp3", "content_type": "audio/mpeg", "size": len(FILE)}
        async with session.post(f"{BASE}/uploads", json=described, headers=headers) as response:
            slot = await response.json()
        async with session.put(slot["url"], data=FILE, headers=slot["headers"]):
            pass
        request = {"upload_id": slot["upload_id"]}
        async with session.post(f"{BASE}/separate-audio", json=request, headers=headers) as response:
            track = (await response.json())["track_id"]
        async with session.get(f"{BASE}/job/{track}", headers=headers):
            pass
        async with session.get(f"{BASE}/job/{track}/events", headers=headers) as events:
            while await events.content.readline() != b"event: snapshot\n":
                assert not events.content.at_eof()
        sys.stdout.write(f"{track}\n")


asyncio.run(main())
