"""What the person at the terminal sees: one line per step, with its elapsed seconds and how far it is."""

import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

_started = time.monotonic()
_lock = threading.Lock()


def say(message: str) -> None:
    """Print one line, stamped with the seconds since the start, to standard error (standard output is for answers)."""
    with _lock:
        print(f"[{time.monotonic() - _started:5.0f} s] {message}", file=sys.stderr, flush=True)


@contextmanager
def step(title: str) -> Iterator[None]:
    """Announce a step, and say how long it took when it ends well."""
    begun = time.monotonic()
    say(f"{title} ...")
    yield
    say(f"{title}: done in {time.monotonic() - begun:.1f} s")


class Ticker:
    """Says how far a long step is, at most once per interval of seconds."""

    def __init__(self, title: str, interval: float = 10.0) -> None:
        self._title = title
        self._interval = interval
        self._next = time.monotonic() + interval

    def tick(self, how_far: str) -> None:
        """Print the step's title and how far it is, if the last time is long enough ago."""
        if time.monotonic() >= self._next:
            self._next = time.monotonic() + self._interval
            say(f"{self._title}: {how_far}")
