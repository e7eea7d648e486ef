"""A progress bar on one line of a terminal; prints nothing if the output is not a terminal."""

import shutil
import sys
import time
from typing import Final, TextIO

_REDRAW_SECONDS: Final = 0.1
_CLEAR: Final = "\r\x1b[2K"
_MAX_BAR: Final = 40
_MIN_BAR: Final = 10
"""Minimum characters of the bar; if fewer fit, it is omitted."""
_NAME: Final = 24
"""Characters reserved for the name before the bar gets any."""
_GAPS: Final = 5
_MIN_SHARE: Final = 0.02
"""Below this share the remaining time is too uncertain to show."""


class ProgressBar:
    """One line for one file.

    Args:
        name: name of the file.
        output: where to draw, if it is a terminal.
    """

    def __init__(self, name: str, output: TextIO = sys.stderr) -> None:
        self._name, self._output = name, output
        self._enabled = output.isatty()
        self._step_start = self._last_draw = 0.0
        self._step = ""

    def update(self, step: str, fraction: float) -> None:
        """Show the progress of `step`, 0 to 1; the remaining time counts from the start of the step."""
        now = time.monotonic()
        if step != self._step:
            self._step, self._step_start = step, now
        elif now - self._last_draw < _REDRAW_SECONDS and fraction < 1:
            return
        self._last_draw = now
        if self._enabled:
            columns = shutil.get_terminal_size().columns
            line = format_line(self._name, step, fraction, now - self._step_start, columns)
            self._output.write(f"{_CLEAR}{line}")
            self._output.flush()

    def clear(self) -> None:
        """Remove the line."""
        if self._enabled and self._step:
            self._output.write(_CLEAR)
            self._output.flush()


def format_line(name: str, step: str, fraction: float, seconds: float, columns: int) -> str:
    """Return the line, shorter than the terminal is wide."""
    left = f"{format_duration(seconds * (1 - fraction) / fraction)} left" if fraction >= _MIN_SHARE else ""
    tail = f"{fraction:4.0%}  {left:<10}"
    free = columns - len(step) - len(tail) - _GAPS
    width = min(_MAX_BAR, free - _NAME)
    width = width if width >= _MIN_BAR else 0
    room = max(free - width, 1)
    name = name if len(name) <= room else f"{name[: room - 1]}…"
    filled = round(fraction * width)
    bar = f"{'━' * filled}{'─' * (width - filled)} " if width else ""
    return f"{name}  {step} {bar}{tail}".rstrip()[: max(columns - 1, 1)]


def format_duration(seconds: float) -> str:
    """Return minutes and seconds, with hours if there are any."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
