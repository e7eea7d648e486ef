"""Progress output on the terminal: one line per step, with the elapsed seconds."""

import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

_started = time.monotonic()
_lock = threading.Lock()


def say(message: str) -> None:
    """Print a line with the seconds since the start to standard error (standard output is for results)."""
    with _lock:
        print(f"[{time.monotonic() - _started:5.0f} s] {message}", file=sys.stderr, flush=True)


@contextmanager
def step(title: str) -> Iterator[None]:
    """Print the start of a step, and its duration when it succeeds."""
    started = time.monotonic()
    say(f"{title} ...")
    yield
    say(f"{title}: done in {time.monotonic() - started:.1f} s")


class Ticker:
    """Prints the progress of a long step, at most once per interval of seconds."""

    def __init__(self, title: str, interval: float = 10.0) -> None:
        self._title = title
        self._interval = interval
        self._next = time.monotonic() + interval

    def tick(self, progress: str) -> None:
        """Print the step's title and progress, unless the last line is younger than the interval."""
        if time.monotonic() >= self._next:
            self._next = time.monotonic() + self._interval
            say(f"{self._title}: {progress}")
