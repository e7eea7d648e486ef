"""Event hub: the subscribers of each track and their events. One subscription serves the whole process."""

import asyncio
import logging
import random
from collections import Counter
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Final

from pydantic import ValidationError

from stemyard_api.background import Task
from stemyard_api.clients.redis import Event, RawEntry, RedisClient, RedisUnavailableError
from stemyard_contract.mirror import EventRecord
from stemyard_contract.separationjob import TERMINAL_PHASES

POLL_SECONDS: Final = 2.0
"""Interval at which the records of all tracks with subscribers are polled for changes without an event."""
_BACKLOG: Final = 256
"""Number of events that a slow client may lag behind before it gets a snapshot instead."""
_CONCURRENCY: Final = 500

_log = logging.getLogger(__name__)


def encode(event: Event) -> tuple[bytes, EventRecord] | None:
    """Return an event in wire format, and its record; None if it was written by an incompatible version."""
    try:
        record = EventRecord.model_validate_json(event.text)
    except ValidationError:
        return None
    data = record.model_dump_json(exclude_none=True)
    return f"id: {event.id}\nevent: {record.kind}\ndata: {data}\n\n".encode(), record


class Subscriber:
    """One stream, with its unsent chunks."""

    __slots__ = ("_future", "chunks", "gone", "poll", "resync")

    def __init__(self) -> None:
        self.chunks: list[bytes] = []
        self.poll = False
        """Whether the track may have ended or changed, so that it must be polled."""
        self.resync = False
        """Whether events may have been missed, so that a snapshot is needed."""
        self.gone = False
        """Whether the client has disconnected."""
        self._future: asyncio.Future[None] | None = None

    def push(self, chunk: bytes) -> None:
        """Queue a chunk."""
        if len(self.chunks) >= _BACKLOG:
            self.chunks.clear()
            self.resync = True
        self.chunks.append(chunk)
        self.wake()

    def wake(self) -> None:
        """Wake the stream; without anything to send, it sends a heartbeat."""
        if self._future is not None and not self._future.done():
            self._future.set_result(None)

    async def wait(self) -> None:
        """Wait until there is something to send, or a heartbeat is due."""
        if self.chunks or self.poll or self.resync or self.gone:
            return
        self._future = asyncio.get_running_loop().create_future()
        await self._future
        self._future = None


@dataclass(slots=True)
class TrackChannel:
    """One track's subscribers, and the id of the last event read."""

    last_id: str
    subscribers: set[Subscriber] = field(default_factory=set)
    raw: RawEntry | None = None
    eventful: bool = False
    """Whether the track has had events; then intermediate snapshots are not needed."""


class EventHub:
    """All subscriptions of this process."""

    def __init__(self, redis: RedisClient | None, heartbeat_seconds: float) -> None:
        self._redis = redis
        self._heartbeat_seconds = heartbeat_seconds
        self._channels: dict[str, TrackChannel] = {}
        self._changed: set[str] = set()
        self._wake = asyncio.Event()
        self.draining = False
        self._by_key: Counter[str] = Counter()

    def enter(self, key_id: str, most: int) -> bool:
        """Count a stream of an API key, unless it has `most` open; 0 is no maximum. Return whether it may be opened."""
        if most and self._by_key[key_id] >= most:
            return False
        self._by_key[key_id] += 1
        return True

    def leave(self, key_id: str) -> None:
        """Count a stream of an API key as closed."""
        self._by_key[key_id] -= 1
        if not self._by_key[key_id]:
            del self._by_key[key_id]

    @property
    def open(self) -> int:
        """Number of open streams."""
        return sum(len(channel.subscribers) for channel in self._channels.values())

    async def subscribe(self, track: str) -> tuple[Subscriber, TrackChannel]:
        """Return a new subscriber of a track; does not fail if Redis is unavailable."""
        channel = self._channels.get(track)
        if channel is None:
            channel = self._channels.setdefault(track, TrackChannel(await self._last_id(track)))
        subscriber = Subscriber()
        channel.subscribers.add(subscriber)
        return subscriber, channel

    def unsubscribe(self, track: str, subscriber: Subscriber) -> None:
        """Remove a subscriber."""
        channel = self._channels.get(track)
        if channel is not None:
            channel.subscribers.discard(subscriber)
            if not channel.subscribers:
                del self._channels[track]

    def drain(self) -> None:
        """End every stream, telling its client to reconnect."""
        self.draining = True
        for channel in self._channels.values():
            _wake(channel.subscribers)

    def tasks(self) -> list[Task]:
        """Return the functions that send events to the subscribers, each until it is cancelled."""
        redis = [] if self._redis is None else [partial(self._listen, self._redis), partial(self._read, self._redis)]
        return [self._beat, self._poll, *redis]

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
                with suppress(RedisUnavailableError):  # the poll fails too, and then sends snapshots
                    await _read_some(redis, some)

    async def _poll(self) -> None:
        """Detect changes without an event, including those during an outage of Redis."""
        lost = False
        while True:
            await asyncio.sleep(POLL_SECONDS * random.uniform(0.9, 1.1))
            try:
                await self._poll_once(resync=lost)
                lost = False
            except RedisUnavailableError:
                lost = True

    async def _poll_once(self, *, resync: bool) -> None:
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
                    subscriber.poll, subscriber.resync = True, subscriber.resync or resync
                _wake(channel.subscribers)
            self._mark(changed)

    async def _beat(self) -> None:
        clock = asyncio.get_running_loop().time
        begun = clock()
        while True:
            # so that the beats of many streams, which take a while, do not lengthen the interval
            await asyncio.sleep(max(0.0, begun + self._heartbeat_seconds - clock()))
            begun = clock()
            for channel in list(self._channels.values()):
                _wake(channel.subscribers)
                await asyncio.sleep(0)


async def _read_some(redis: RedisClient, channels: list[tuple[str, TrackChannel]]) -> None:
    batches = await redis.events_after([(track, channel.last_id) for track, channel in channels])
    for (_, channel), events in zip(channels, batches, strict=True):
        if events:
            _publish(channel, events)


def _publish(channel: TrackChannel, events: list[Event]) -> None:
    channel.last_id = events[-1].id
    channel.eventful = True
    encoded = [item for item in map(encode, events) if item is not None]
    chunk = b"".join(data for data, _ in encoded)
    ends = any(record.phase in TERMINAL_PHASES for _, record in encoded)
    for subscriber in channel.subscribers:
        subscriber.poll = subscriber.poll or ends
        subscriber.push(chunk)


def _wake(subscribers: Iterable[Subscriber]) -> None:
    for subscriber in subscribers:
        subscriber.wake()
