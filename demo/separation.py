"""A REST client that requests one separation, shows its progress and waits for the links."""

import mimetypes
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

_TIMEOUT = httpx.Timeout(10.0, read=30.0)
_POLL_SECONDS = 0.5


class SeparationError(RuntimeError):
    """The separation failed or timed out; the message says which."""


@dataclass(frozen=True, slots=True)
class Service:
    """The address and API key of a running Stemyard."""

    url: str
    api_key: str = field(repr=False)

    def client(self) -> httpx.Client:
        """Return an HTTP client that sends the key; the caller closes it."""
        return httpx.Client(base_url=self.url, headers={"X-API-Key": self.api_key}, timeout=_TIMEOUT)


def upload(service: Service, file: Path) -> str:
    """Upload a file and return its upload id.

    Raises:
        httpx.HTTPStatusError: the API or the object store refused it.
    """
    body = file.read_bytes()
    kind = mimetypes.guess_type(file.name)[0] or "application/octet-stream"
    request = {"filename": file.name, "size": len(body), "content_type": kind}
    with service.client() as client:
        slot = client.post("/uploads", json=request).raise_for_status().json()
    httpx.put(slot["url"], content=body, headers=slot["headers"], timeout=_TIMEOUT).raise_for_status()
    return str(slot["upload_id"])


def submit(service: Service, request: dict[str, Any]) -> dict[str, Any]:
    """Request a separation and return the API's response.

    Raises:
        httpx.HTTPStatusError: the API refused the request.
    """
    with service.client() as client:
        response = client.post("/separate-audio", json=request).raise_for_status().json()
    return dict(response)


def follow(service: Service, track_id: str, timeout_seconds: float) -> Iterator[dict[str, Any]]:
    """Poll the job and yield each state; the last one is completed or failed.

    Raises:
        SeparationError: it timed out.
    """
    deadline = time.monotonic() + timeout_seconds
    with service.client() as client:
        while time.monotonic() < deadline:
            state = client.get(f"/job/{track_id}").raise_for_status().json()
            yield state
            if state["status"] != "processing":
                return
            time.sleep(_POLL_SECONDS)
    raise SeparationError(f"track {track_id} timed out after {timeout_seconds:.0f} s")


def progress_line(state: dict[str, Any]) -> str:
    """Return one line with a job's progress."""
    percent = float(state.get("progress") or 0)
    filled = round(percent / 100 * 30)
    return f"[{'#' * filled}{'.' * (30 - filled)}] {percent:5.1f} %  {state.get('phase') or state['status']}"


def print_line(line: str) -> None:
    """Print a line of progress; on a terminal it replaces the previous one."""
    if sys.stdout.isatty():
        sys.stdout.write(f"\r{line:<70}")
    else:
        sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def separate(
    service: Service,
    request: dict[str, Any],
    timeout_seconds: float = 600,
    show: Callable[[str], None] = print_line,
) -> dict[str, Any]:
    """Request a separation, show its progress and return the completed job.

    Raises:
        SeparationError: it failed or timed out.
        httpx.HTTPStatusError: the API refused the request.
    """
    track_id = submit(service, request)["track_id"]
    shown = ""
    for state in follow(service, track_id, timeout_seconds):
        if (line := progress_line(state)) != shown:
            show(line)
            shown = line
    if state["status"] == "failed":
        raise SeparationError(f"{state.get('code', 'failed')}: {state['error']}")
    return state
