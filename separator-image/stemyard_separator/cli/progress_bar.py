"""A line that shows on a terminal how far a piece of work is; elsewhere it stays silent."""

import shutil
import sys
import time
from typing import Final, TextIO

_REDRAW_SECONDS: Final = 0.1
_CLEAR: Final = "\r\x1b[2K"
_WIDEST: Final = 40
_NARROWEST: Final = 10
"""Characters of the bar; a narrower one says nothing."""
_NAME: Final = 24
"""Characters that the name may have before the bar may."""
_GAPS: Final = 5
_LEAST_SHARE: Final = 0.02
"""Below this share the time that is left is a guess that nobody wants."""


class Bar:
    """One line for one file.

    Args:
        name: of the file.
        output: where it is drawn, if that is a terminal.
    """

    def __init__(self, name: str, output: TextIO = sys.stderr) -> None:
        self._name, self._output = name, output
        self._shown = output.isatty()
        self._began = self._drawn = 0.0
        self._step = ""

    def update(self, step: str, done: float) -> None:
        """Show that `step` is done to this share, 0 to 1; a new step begins with a new clock."""
        now = time.monotonic()
        if step != self._step:
            self._step, self._began = step, now
        elif now - self._drawn < _REDRAW_SECONDS and done < 1:
            return
        self._drawn = now
        if self._shown:
            columns = shutil.get_terminal_size().columns
            line = drawn(self._name, step, done, now - self._began, columns)
            self._output.write(f"{_CLEAR}{line}")
            self._output.flush()

    def clear(self) -> None:
        """Take the line away."""
        if self._shown and self._step:
            self._output.write(_CLEAR)
            self._output.flush()


def drawn(name: str, step: str, done: float, seconds: float, columns: int) -> str:
    """Return the line, never wider than the terminal."""
    left = f"{clock(seconds * (1 - done) / done)} left" if done >= _LEAST_SHARE else ""
    tail = f"{done:4.0%}  {left:<10}"
    rest = columns - len(step) - len(tail) - _GAPS
    width = min(_WIDEST, rest - _NAME)
    width = width if width >= _NARROWEST else 0
    room = max(rest - width, 1)
    name = name if len(name) <= room else f"{name[: room - 1]}…"
    filled = round(done * width)
    bar = f"{'━' * filled}{'─' * (width - filled)} " if width else ""
    return f"{name}  {step} {bar}{tail}".rstrip()[: max(columns - 1, 1)]


def clock(seconds: float) -> str:
    """Return minutes and seconds, with hours where there are some."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
