"""Feeds: who listens to which track, and what they are to be sent. One subscription serves the whole process."""

import asyncio
import logging
import random
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final

from pydantic import ValidationError

from stemyard_api.clients.redis import Event, Raw, Store, StoreUnavailableError
from stemyard_contract.mirror import EventRecord
from stemyard_contract.separationjob import TERMINAL_PHASES

LOOK_SECONDS: Final = 2.0
"""Between two looks at the records of all tracks that are listened to, for what no event told."""
_BACKLOG: Final = 256
"""Events a slow client may be behind before it gets a snapshot instead."""
_AT_ONCE: Final = 500

_log = logging.getLogger(__name__)


def encode(event: Event) -> tuple[bytes, EventRecord] | None:
    """Return an event as it is sent, and its record; None for one that another version wrote."""
    try:
        record = EventRecord.model_validate_json(event.text)
    except ValidationError:
        return None
    data = record.model_dump_json(exclude_none=True)
    return f"id: {event.id}\nevent: {record.kind}\ndata: {data}\n\n".encode(), record


class Listener:
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
class Feed:
    """One track's listeners, and how far its events have been read."""

    last_id: str
    listeners: set[Listener] = field(default_factory=set)
    raw: Raw | None = None
    eventful: bool = False
    """Whether events tell of changes; then snapshots in between are not needed."""


class Hub:
    """The feeds of this process."""

    def __init__(self, store: Store | None, heartbeat_seconds: float) -> None:
        self._store = store
        self._heartbeat_seconds = heartbeat_seconds
        self._feeds: dict[str, Feed] = {}
        self._changed: set[str] = set()
        self._wake = asyncio.Event()
        self.draining = False

    @property
    def open(self) -> int:
        """Streams that listen now."""
        return sum(len(feed.listeners) for feed in self._feeds.values())

    async def join(self, track: str) -> tuple[Listener, Feed]:
        """Return a new listener to a track; raises nothing when Redis is away."""
        feed = self._feeds.get(track)
        if feed is None:
            feed = self._feeds.setdefault(track, Feed(await self._last_id(track)))
        listener = Listener()
        feed.listeners.add(listener)
        return listener, feed

    def leave(self, track: str, listener: Listener) -> None:
        """Forget a listener."""
        feed = self._feeds.get(track)
        if feed is not None:
            feed.listeners.discard(listener)
            if not feed.listeners:
                del self._feeds[track]

    def drain(self) -> None:
        """Let every stream tell its client to come again, elsewhere, and end."""
        self.draining = True
        for feed in self._feeds.values():
            _wake(feed.listeners)

    async def run(self) -> None:
        """Feed the listeners for as long as this runs."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._beat())
            tasks.create_task(self._look())
            if self._store is not None:
                tasks.create_task(self._listen(self._store))
                tasks.create_task(self._read(self._store))

    async def _last_id(self, track: str) -> str:
        if self._store is None:
            return "0-0"
        try:
            return await self._store.last_event_id(track)
        except StoreUnavailableError:
            return "0-0"

    async def _listen(self, store: Store) -> None:
        while True:
            try:
                async for tracks in store.changes():
                    self._mark(tracks or self._feeds)
            except StoreUnavailableError:
                await asyncio.sleep(random.uniform(0.5, 1.5))

    def _mark(self, tracks: Iterable[str]) -> None:
        self._changed.update(tracks)
        self._wake.set()

    async def _read(self, store: Store) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            feeds = [(track, feed) for track in self._changed if (feed := self._feeds.get(track)) is not None]
            self._changed.clear()
            for start in range(0, len(feeds), _AT_ONCE):
                some = feeds[start : start + _AT_ONCE]
                with suppress(StoreUnavailableError):  # the looks notice, and everybody gets a snapshot
                    await _read_some(store, some)

    async def _look(self) -> None:
        """Notice changes of records: those that no event told, and any after Redis was away."""
        lost = False
        while True:
            await asyncio.sleep(LOOK_SECONDS * random.uniform(0.9, 1.1))
            try:
                await self._look_once(resync=lost)
                lost = False
            except StoreUnavailableError:
                lost = True

    async def _look_once(self, *, resync: bool) -> None:
        tracks = list(self._feeds)
        for start in range(0, len(tracks), _AT_ONCE):
            some = tracks[start : start + _AT_ONCE]
            raws = await self._store.read_many_raw(some) if self._store is not None else [None] * len(some)
            changed = []
            for track, raw in zip(some, raws, strict=True):
                feed = self._feeds.get(track)
                if feed is None or (raw is not None and raw == feed.raw and not resync):
                    continue
                feed.raw = raw
                changed.append(track)
                for listener in feed.listeners:
                    listener.look, listener.resync = True, listener.resync or resync
                _wake(feed.listeners)
            self._mark(changed)

    async def _beat(self) -> None:
        while True:
            await asyncio.sleep(self._heartbeat_seconds)
            for feed in list(self._feeds.values()):
                _wake(feed.listeners)
                await asyncio.sleep(0)


async def _read_some(store: Store, feeds: list[tuple[str, Feed]]) -> None:
    found = await store.events_after([(track, feed.last_id) for track, feed in feeds])
    for (_, feed), events in zip(feeds, found, strict=True):
        if events:
            _tell(feed, events)


def _tell(feed: Feed, events: list[Event]) -> None:
    feed.last_id = events[-1].id
    feed.eventful = True
    encoded = [item for item in map(encode, events) if item is not None]
    chunk = b"".join(data for data, _ in encoded)
    ends = any(record.phase in TERMINAL_PHASES for _, record in encoded)
    for listener in feed.listeners:
        listener.look = listener.look or ends
        listener.push(chunk)


def _wake(listeners: Iterable[Listener]) -> None:
    for listener in listeners:
        listener.wake()
