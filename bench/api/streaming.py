"""Open event streams on one process: memory per stream, and CPU time per delivered event."""

import asyncio
import time
from collections.abc import Callable, Iterator
from statistics import median
from typing import cast

import uvloop

from bench.api.servers import KEY, Bench, follow_up, publish
from bench.separation.figures import Figure

STREAMS = 4000
_CONNECTING = 100
_TIMEOUT_SECONDS = 60.0


class Follower(asyncio.Protocol):
    """One stream, which counts its events."""

    def __init__(self, track: str) -> None:
        self._track = track
        self.snapshots = 0
        self.events = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        request = f"GET /job/{self._track}/events HTTP/1.1\r\nHost: bench\r\nX-API-Key: {KEY}\r\n\r\n"
        cast(asyncio.Transport, transport).write(request.encode())

    def data_received(self, data: bytes) -> None:
        self.snapshots += data.count(b"event: snapshot\n")
        self.events += data.count(b"event: progress\n")


def figures(made: Bench, rounds: int) -> Iterator[Figure]:
    """Measure with one track per stream, then with all streams on one track."""
    each = follow_up(made, STREAMS)
    memory, accept, cpu = uvloop.run(_measure(made, each, rounds))
    yield Figure("api.stream_memory", memory / 1000, "kB/stream", 30)
    yield Figure("api.stream_accept_cpu", accept, "us/stream")
    yield Figure("api.stream_event_cpu", cpu, "us/event", 40)
    yield Figure("api.stream_event_one_track_cpu", uvloop.run(_measure(made, each[:1], rounds))[2], "us/event", 40)


async def _measure(made: Bench, tracks: list[str], rounds: int) -> tuple[float, float, float]:
    """Return bytes and CPU microseconds per opened stream, and CPU microseconds per event and stream."""
    server = made.ours
    bytes_before, seconds_before = server.resident_bytes(), server.cpu_seconds()
    followers = await _follow(server.port, [tracks[number % len(tracks)] for number in range(STREAMS)])
    memory, opening = server.resident_bytes() - bytes_before, server.cpu_seconds() - seconds_before
    spent = []
    for number in range(1, rounds + 1):
        before = server.cpu_seconds()
        publish(made, tracks, float(number))
        await _until(lambda wanted=number: all(follower.events >= wanted for follower, _ in followers))  # type: ignore[misc]
        spent.append(server.cpu_seconds() - before)
    assert all(follower.events == rounds for follower, _ in followers), "an event was delivered twice"
    for _, transport in followers:
        transport.close()
    return memory / STREAMS, opening / STREAMS * 1e6, median(spent) / STREAMS * 1e6


async def _follow(port: int, tracks: list[str]) -> list[tuple[Follower, asyncio.Transport]]:
    loop = asyncio.get_running_loop()
    opened: list[tuple[Follower, asyncio.Transport]] = []
    for track in tracks:
        transport, follower = await loop.create_connection(lambda track=track: Follower(track), "127.0.0.1", port)  # type: ignore[misc]
        opened.append((follower, transport))
        if len(opened) % _CONNECTING == 0:
            await _until(lambda: all(follower.snapshots for follower, _ in opened[-_CONNECTING:]))
    return opened


async def _until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + _TIMEOUT_SECONDS
    while not holds():
        assert time.monotonic() < deadline, "the streams did not receive all events in time"
        await asyncio.sleep(0.02)
