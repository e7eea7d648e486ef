"""Clients that call an API repeatedly in the background and record the responses."""

import contextlib
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import httpx

Ask = Callable[[httpx.Client], httpx.Response]


@dataclass
class Load:
    """Responses by the name of the request."""

    statuses: dict[str, Counter[int]] = field(default_factory=dict)
    """Statuses by name; 0 is a connection without a response."""
    wrong: list[str] = field(default_factory=list)
    """The first bodies of responses that no client should get: any 500."""
    accepted: set[str] = field(default_factory=set)
    """Ids of tracks accepted with a 202."""
    _ended: threading.Event = field(default_factory=threading.Event)

    def seen(self, name: str, status: int) -> int:
        return self.statuses.get(name, Counter())[status]

    def of(self, name: str) -> set[int]:
        """Statuses of the responses to this request."""
        return set(self.statuses.get(name, ()))

    def run(self, client: httpx.Client, name: str, ask: Ask) -> None:
        counted = self.statuses.setdefault(name, Counter())
        while not self._ended.wait(0.01):
            try:
                response = ask(client)
            except httpx.TransportError:
                counted[0] += 1
                continue
            counted[response.status_code] += 1
            if response.status_code == 500 or (response.status_code == 503 and "retry-after" not in response.headers):
                self.wrong.append(response.text)
            if response.status_code == 202:
                self.accepted.add(response.json()["track_id"])

    def end(self) -> None:
        self._ended.set()


@contextlib.contextmanager
def load(clients: list[httpx.Client], asks: dict[str, Ask]) -> Iterator[Load]:
    """Let every client send every request repeatedly, each in its own thread, until the block ends."""
    found = Load()
    threads = [
        threading.Thread(target=found.run, args=(client, name, ask)) for client in clients for name, ask in asks.items()
    ]
    for thread in threads:
        thread.start()
    try:
        yield found
    finally:
        found.end()
        for thread in threads:
            thread.join(timeout=60)
            assert not thread.is_alive(), "a client hangs"
