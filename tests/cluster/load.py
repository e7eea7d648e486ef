"""Clients that ask all the time, each of which tries once more when it gets no answer or a server's fault."""

import contextlib
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from threading import Event, Thread
from typing import Any

import httpx

from demo.service import Service

_PAUSE_SECONDS = 0.05
_RETRY_SECONDS = 1.0
"""After which a client tries once more, as `Retry-After` would tell it."""


@dataclass
class Load:
    """What happened to the requests."""

    asked: int = 0
    retried: int = 0
    lost: list[str] = field(default_factory=list)
    stopped: Event = field(default_factory=Event)

    def ask(self, client: httpx.Client, method: str, path: str, body: dict[str, Any] | None = None) -> None:
        self.asked += 1
        problem = _once(client, method, path, body)
        if problem and not self.stopped.wait(_RETRY_SECONDS):
            self.retried += 1
            if again := _once(client, method, path, body):
                self.lost.append(f"{time.strftime('%X')} {method} {path}: {problem}, then {again}")


def _once(client: httpx.Client, method: str, path: str, body: dict[str, Any] | None) -> str | None:
    """What went wrong, if it was the service's fault."""
    try:
        answer = client.request(method, path, json=body)
    except httpx.HTTPError as error:
        return type(error).__name__
    return f"{answer.status_code} {answer.text[:200]}" if answer.status_code >= 500 else None


@contextlib.contextmanager
def loaded(service: Service, track: str, request: dict[str, Any]) -> Iterator[Load]:
    """Read a track, ask for it again and look at the queue, while the block runs; connections are new each time."""
    load = Load()

    def client() -> httpx.Client:
        limits = httpx.Limits(max_keepalive_connections=0)
        headers = {"X-API-Key": service.api_key}
        return httpx.Client(base_url=service.url, headers=headers, timeout=15, limits=limits)

    def repeat(ask: Callable[[httpx.Client], None]) -> None:
        with client() as own:
            while not load.stopped.wait(_PAUSE_SECONDS):
                ask(own)

    asks: tuple[Callable[[httpx.Client], None], ...] = (
        lambda own: load.ask(own, "GET", f"/job/{track}"),
        lambda own: load.ask(own, "POST", "/separate-audio", request),
        lambda own: load.ask(own, "GET", "/queue/info"),
    )
    threads = [Thread(target=repeat, args=(ask,)) for ask in asks]
    for thread in threads:
        thread.start()
    try:
        yield load
    finally:
        load.stopped.set()
        for thread in threads:
            thread.join()
