"""Event hub: the listeners of each track and their events. One subscription serves the whole process."""

import asyncio
import logging
import random
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final

from pydantic import ValidationError

from stemyard_api.clients.redis import Event, RawEntry, RedisClient, RedisUnavailableError
from stemyard_contract.mirror import EventRecord
from stemyard_contract.separationjob import TERMINAL_PHASES

LOOK_SECONDS: Final = 2.0
"""Interval at which the records of all tracks with listeners are polled for changes without an event."""
_BACKLOG: Final = 256
"""Events a slow client may be behind before it gets a snapshot instead."""
_CONCURRENCY: Final = 500

_log = logging.getLogger(__name__)


def encode(event: Event) -> tuple[bytes, EventRecord] | None:
    """Return an event as it is sent, and its record; None for one that another version wrote."""
    try:
        record = EventRecord.model_validate_json(event.text)
    except ValidationError:
        return None
    data = record.model_dump_json(exclude_none=True)
    return f"id: {event.id}\nevent: {record.kind}\ndata: {data}\n\n".encode(), record


class Subscriber:
    """One stream: what waits to be sent on it."""

    __slots__ = ("_future", "chunks", "look", "resync")

    def __init__(self) -> None:
        self.chunks: list[bytes] = []
        self.look = False
        """Whether the track may have ended or changed."""
        self.resync = False
        """Whether events may have been missed, so that only a snapshot tells the truth."""
        self._future: asyncio.Future[None] | None = None

    def push(self, chunk: bytes) -> None:
        """Send this, in its turn."""
        if len(self.chunks) >= _BACKLOG:
            self.chunks.clear()
            self.resync = True
        self.chunks.append(chunk)
        self.wake()

    def wake(self) -> None:
        """Let the stream look at what it has to send; with nothing, it sends a heartbeat."""
        if self._future is not None and not self._future.done():
            self._future.set_result(None)

    async def wait(self) -> None:
        """Return when there is something to send, or a heartbeat is due."""
        if self.chunks or self.look or self.resync:
            return
        self._future = asyncio.get_running_loop().create_future()
        await self._future
        self._future = None


@dataclass(slots=True)
class TrackChannel:
    """One track's listeners, and how far its events have been read."""

    last_id: str
    subscribers: set[Subscriber] = field(default_factory=set)
    raw: RawEntry | None = None
    eventful: bool = False
    """Whether events tell of changes; then snapshots in between are not needed."""


class EventHub:
    """The feeds of this process."""

    def __init__(self, redis: RedisClient | None, heartbeat_seconds: float) -> None:
        self._redis = redis
        self._heartbeat_seconds = heartbeat_seconds
        self._channels: dict[str, TrackChannel] = {}
        self._changed: set[str] = set()
        self._wake = asyncio.Event()
        self.draining = False

    @property
    def open(self) -> int:
        """Streams that listen now."""
        return sum(len(channel.subscribers) for channel in self._channels.values())

    async def subscribe(self, track: str) -> tuple[Subscriber, TrackChannel]:
        """Return a new listener to a track; raises nothing when Redis is away."""
        channel = self._channels.get(track)
        if channel is None:
            channel = self._channels.setdefault(track, TrackChannel(await self._last_id(track)))
        subscriber = Subscriber()
        channel.subscribers.add(subscriber)
        return subscriber, channel

    def unsubscribe(self, track: str, subscriber: Subscriber) -> None:
        """Forget a listener."""
        channel = self._channels.get(track)
        if channel is not None:
            channel.subscribers.discard(subscriber)
            if not channel.subscribers:
                del self._channels[track]

    def drain(self) -> None:
        """Let every stream tell its client to come again, elsewhere, and end."""
        self.draining = True
        for channel in self._channels.values():
            _wake(channel.subscribers)

    async def run(self) -> None:
        """Feed the listeners for as long as this runs."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._beat())
            tasks.create_task(self._look())
            if self._redis is not None:
                tasks.create_task(self._listen(self._redis))
                tasks.create_task(self._read(self._redis))

    async def _last_id(self, track: str) -> str:
        if self._redis is None:
            return "0-0"
        try:
            return await self._redis.last_event_id(track)
        except RedisUnavailableError:
            return "0-0"

    async def _listen(self, redis: RedisClient) -> None:
        while True:
            try:
                async for tracks in redis.changes():
                    self._mark(tracks or self._channels)
            except RedisUnavailableError:
                await asyncio.sleep(random.uniform(0.5, 1.5))

    def _mark(self, tracks: Iterable[str]) -> None:
        self._changed.update(tracks)
        self._wake.set()

    async def _read(self, redis: RedisClient) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            channels = [
                (track, channel) for track in self._changed if (channel := self._channels.get(track)) is not None
            ]
            self._changed.clear()
            for start in range(0, len(channels), _CONCURRENCY):
                some = channels[start : start + _CONCURRENCY]
                with suppress(RedisUnavailableError):  # the looks notice, and everybody gets a snapshot
                    await _read_some(redis, some)

    async def _look(self) -> None:
        """Detect changes of records that no event announced, also after an outage of Redis."""
        lost = False
        while True:
            await asyncio.sleep(LOOK_SECONDS * random.uniform(0.9, 1.1))
            try:
                await self._look_once(resync=lost)
                lost = False
            except RedisUnavailableError:
                lost = True

    async def _look_once(self, *, resync: bool) -> None:
        tracks = list(self._channels)
        for start in range(0, len(tracks), _CONCURRENCY):
            some = tracks[start : start + _CONCURRENCY]
            raws = await self._redis.read_raw_many(some) if self._redis is not None else [None] * len(some)
            changed = []
            for track, raw in zip(some, raws, strict=True):
                channel = self._channels.get(track)
                if channel is None or (raw is not None and raw == channel.raw and not resync):
                    continue
                channel.raw = raw
                changed.append(track)
                for subscriber in channel.subscribers:
                    subscriber.look, subscriber.resync = True, subscriber.resync or resync
                _wake(channel.subscribers)
            self._mark(changed)

    async def _beat(self) -> None:
        while True:
            await asyncio.sleep(self._heartbeat_seconds)
            for channel in list(self._channels.values()):
                _wake(channel.subscribers)
                await asyncio.sleep(0)


async def _read_some(redis: RedisClient, channels: list[tuple[str, TrackChannel]]) -> None:
    found = await redis.events_after([(track, channel.last_id) for track, channel in channels])
    for (_, channel), events in zip(channels, found, strict=True):
        if events:
            _tell(channel, events)


def _tell(channel: TrackChannel, events: list[Event]) -> None:
    channel.last_id = events[-1].id
    channel.eventful = True
    encoded = [item for item in map(encode, events) if item is not None]
    chunk = b"".join(data for data, _ in encoded)
    ends = any(record.phase in TERMINAL_PHASES for _, record in encoded)
    for subscriber in channel.subscribers:
        subscriber.look = subscriber.look or ends
        subscriber.push(chunk)


def _wake(subscribers: Iterable[Subscriber]) -> None:
    for subscriber in subscribers:
        subscriber.wake()
