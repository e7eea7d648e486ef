"""Separations requested by the tests of the whole system, as the API's own JSON."""

import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from demo.service import Service
from stemyard_client import Job, Separation, SeparationFailedError

_POLL_SECONDS = 0.5
_SOURCES = {"search_query": "query", "url": "url", "upload_id": "upload_id", "object": "object_key"}
"""Fields of a request and the client's names for them."""


def upload(service: Service, file: Path) -> str:
    """Upload a file and return its upload id."""
    with service.stemyard() as client:
        return client.upload(file)


def submit(service: Service, request: Mapping[str, Any]) -> dict[str, Any]:
    """Request a separation and return what the API said."""
    arguments = {_SOURCES.get(name, name): value for name, value in request.items()}
    with service.stemyard() as client:
        return _fields(client.separate(**arguments).job)


def follow(service: Service, track_id: str, timeout_seconds: float) -> Iterator[dict[str, Any]]:
    """Yield the state of a track twice a second, for tests that look at the cluster meanwhile; the last has ended."""
    deadline = time.monotonic() + timeout_seconds
    with service.stemyard() as client:
        while time.monotonic() < deadline:
            job = client.job(track_id)
            yield _fields(job)
            if job.ended:
                return
            time.sleep(_POLL_SECONDS)
    raise AssertionError(f"track {track_id} did not end in {timeout_seconds:.0f} s")


def separate(service: Service, request: Mapping[str, Any], timeout_seconds: float = 600) -> dict[str, Any]:
    """Request a separation and return the completed job; the client follows it.

    Raises:
        SeparationFailedError: it failed.
        WaitTimeoutError: it has not ended in time.
    """
    track_id = submit(service, request)["track_id"]
    with service.stemyard() as client:
        separation = Separation(client, client.job(track_id))
        separation.wait(timeout_seconds, on_change=lambda job: print(job.phase, job.progress))
        return _fields(separation.refresh())


def failure_code(service: Service, request: Mapping[str, Any]) -> str:
    """Request a separation that must fail, and return its code."""
    try:
        done = separate(service, request)
    except SeparationFailedError as error:
        return error.code
    raise AssertionError(f"it was expected to fail: {done}")


def _fields(job: Job) -> dict[str, Any]:
    return job.model_dump(exclude_unset=True)
