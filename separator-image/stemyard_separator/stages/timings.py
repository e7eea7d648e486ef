"""Durations of a stage's steps and times of its events, measured from the start of the process."""

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

_STAT: Final = Path("/proc/self/stat")
_FIELDS_BEFORE_START: Final = 19
"""Fields between the command's closing bracket and `starttime` (proc(5), field 22)."""


def process_age() -> float:
    """Return the seconds since the kernel started this process."""
    fields = _STAT.read_text().rpartition(")")[2].split()
    started = int(fields[_FIELDS_BEFORE_START]) / os.sysconf("SC_CLK_TCK")
    return time.clock_gettime(time.CLOCK_BOOTTIME) - started


class Stopwatch:
    """Seconds by step, which add up to the age of the process; `start` is the time before the stopwatch.

    Events such as `first_block` are recorded separately, as seconds since the start of the process, each with the CPU
    seconds used so far (`<event>_cpu`). For a worker's song, which shares its process, `age` is that of its lease.
    """

    def __init__(self, age: Callable[[], float] = process_age) -> None:
        self._age = age
        self.seconds: dict[str, float] = {"start": round(age(), 3)}
        self._since = time.monotonic()

    def lap(self, step: str) -> None:
        """Record the time since the last call as the duration of `step`."""
        self.seconds[step] = self.elapsed
        self._since = time.monotonic()

    @property
    def elapsed(self) -> float:
        """Seconds since the last lap."""
        return round(time.monotonic() - self._since, 3)

    def record(self, event: str) -> None:
        """Record the time of `event`; only the first call counts."""
        if event not in self.seconds:
            self.seconds[event] = round(self._age(), 3)
            self.seconds[f"{event}_cpu"] = round(time.process_time(), 3)
