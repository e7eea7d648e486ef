"""Follows a track to its end: by server-sent events, resumed where they broke off, else by asking again and again."""

import json
import random
import time
from dataclasses import dataclass, field
from typing import Any, Final

import httpx
from pydantic import ValidationError

from stemyard_client.effects import Emit, Open, Operation, Read, Request, Sleep
from stemyard_client.errors import NotFoundError, WaitTimeoutError
from stemyard_client.event_stream import EventStreamError, EventStreamParser, ServerEvent
from stemyard_client.models import Job
from stemyard_client.operations import Operations, job_path

_BROKEN_IN_A_ROW: Final = 3
"""Connections without any event, one after the other, after which the track is polled instead."""
_SILENCE_SECONDS: Final = 30.0
"""Longest silence of a stream, on which the API sends a comment every 4 seconds."""
_POLL_SECONDS: Final = (0.5, 5.0)
_CHANGES: Final = ("phase", "progress", "step", "reason", "run")
"""Fields of `phase` and `progress` events that are also fields of a Job."""


@dataclass(slots=True)
class _Watch:
    """What is known of a track while it is followed."""

    track_id: str
    deadline: float
    parser: EventStreamParser = field(default_factory=EventStreamParser)
    job: Job | None = None

    def left(self) -> float:
        """Return the seconds that are left.

        Raises:
            WaitTimeoutError: none are left.
        """
        left = self.deadline - time.monotonic()
        if left <= 0:
            raise WaitTimeoutError(f"The track {self.track_id} has not ended in time; it goes on.")
        return left


def follow(operations: Operations, track_id: str, timeout_seconds: float | None) -> Operation[Job]:
    """Emit each change of a track as a Job; return the last, which has ended.

    Raises:
        WaitTimeoutError: it has not ended in time.
        ApiError: the track cannot be read.
        ConnectionFailedError: the API cannot be reached for long.
    """
    watch = _Watch(track_id, float("inf") if timeout_seconds is None else time.monotonic() + timeout_seconds)
    broken = 0
    while broken < _BROKEN_IN_A_ROW:
        before = watch.job
        try:
            if not (yield from _stream(operations, watch)):
                break
        except (httpx.TransportError, EventStreamError):
            watch.parser.restart()
        if watch.job is not None and watch.job.ended:
            return watch.job
        broken = broken + 1 if watch.job is before else 0
        yield Sleep(min(watch.parser.retry_seconds * random.uniform(0.2, 1.0), watch.left()))
    return (yield from _poll(operations, watch))


def _stream(operations: Operations, watch: _Watch) -> Operation[bool]:
    """Read one connection to its end; return whether another may help."""
    headers = {"Accept": "text/event-stream"}
    if watch.parser.last_id is not None:
        headers["Last-Event-ID"] = watch.parser.last_id
    path = f"{job_path(watch.track_id)}/events"
    request = Request("GET", path, headers=headers, read_seconds=min(_SILENCE_SECONDS, watch.left()))
    response: httpx.Response = yield Open(request)
    if response.status_code != 200 or not response.headers.get("content-type", "").startswith("text/event-stream"):
        return False  # asking for the job says why, or there is nothing more
    while chunk := (yield Read(response)):
        for event in watch.parser.feed(chunk):
            yield from _apply(operations, watch, event)
        if watch.job is not None and watch.job.ended:
            return True
        watch.left()
    return True


def _apply(operations: Operations, watch: _Watch, event: ServerEvent) -> Operation[None]:
    data = _object(event)
    if event.name in {"snapshot", "end"}:
        watch.job = _state({"track_id": watch.track_id, **data})
    elif event.name == "phase" or (event.name == "progress" and watch.job is None):
        # the event lacks what a new phase brings: title, place in the queue, remaining time
        watch.job = yield from _current(operations, watch)
    elif event.name == "progress" and watch.job is not None:
        changes: dict[str, Any] = {name: data[name] for name in _CHANGES if name in data}
        watch.job = _state(watch.job.model_dump(exclude_unset=True) | changes)
    else:
        return
    yield Emit(watch.job)


def _object(event: ServerEvent) -> dict[str, Any]:
    try:
        data = json.loads(event.data)
    except (ValueError, RecursionError) as error:
        raise EventStreamError from error
    if not isinstance(data, dict):
        raise EventStreamError
    return data


def _state(data: dict[str, Any]) -> Job:
    try:
        return Job.model_validate(data)
    except ValidationError as error:
        raise EventStreamError from error


def _poll(operations: Operations, watch: _Watch) -> Operation[Job]:
    pause, longest = _POLL_SECONDS
    while True:
        job = yield from _current(operations, watch)
        if job != watch.job:
            watch.job = job
            yield Emit(job)
        if job.ended:
            return job
        yield Sleep(min(pause * random.uniform(0.8, 1.2), watch.left()))
        pause = min(pause * 1.5, longest)


def _current(operations: Operations, watch: _Watch) -> Operation[Job]:
    try:
        return (yield from operations.job(watch.track_id))
    except NotFoundError:
        if watch.job is None:
            raise
        return Job(status="deleted", track_id=watch.track_id)  # while it was followed
