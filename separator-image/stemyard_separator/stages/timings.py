"""Where the time of a stage went, counted from the start of the process."""

import os
import time
from pathlib import Path
from typing import Final

_STAT: Final = Path("/proc/self/stat")
_FIELDS_BEFORE_START: Final = 19
"""Fields between the command's closing bracket and `starttime` (proc(5), field 22)."""


def process_age() -> float:
    """Return the seconds since this process was started, by the kernel's count."""
    fields = _STAT.read_text().rpartition(")")[2].split()
    started = int(fields[_FIELDS_BEFORE_START]) / os.sysconf("SC_CLK_TCK")
    return time.clock_gettime(time.CLOCK_BOOTTIME) - started


class Stopwatch:
    """Seconds by step, which add up to the process's life; `start` is what it had spent before.

    Moments such as `first_block` stand beside them, counted from the start of the process, and with `_cpu` the
    processor's seconds that were spent until then.
    """

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {"start": round(process_age(), 3)}
        self._since = time.monotonic()

    def lap(self, step: str) -> None:
        """Book the time since the last call on `step`."""
        now = time.monotonic()
        self.seconds[step] = round(now - self._since, 3)
        self._since = now

    def note(self, moment: str) -> None:
        """Book when `moment` came; later calls change nothing."""
        if moment not in self.seconds:
            self.seconds[moment] = round(process_age(), 3)
            self.seconds[f"{moment}_cpu"] = round(time.process_time(), 3)
