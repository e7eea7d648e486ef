"""Where decoded frames belong in a film, so that late starts and holes become silence. Pure."""

from typing import Final

_START_TOLERANCE: Final = 0.01
"""Seconds by which the sound may begin after the picture without being delayed."""
_TOLERANCE: Final = 0.1
"""Seconds by which a frame may differ from its timestamp, as in FFmpeg's `aresample=async`: clocks drift."""


class Timeline:
    """Compares the timestamps of frames with the samples so far.

    Args:
        start: time of the film's beginning in seconds; None if its sound is all there is, which begins at once.
        longest: longest plausible hole in seconds; a larger jump is an error of the timestamps.
    """

    def __init__(self, start: float | None, longest: float) -> None:
        self._origin = start
        self._longest = longest
        self._position = 0.0

    def silence_before(self, time: float | None, seconds: float) -> float:
        """Return the seconds of silence to insert before a frame with this timestamp and duration."""
        silence = 0.0 if time is None else self._silence_before(time)
        self._position += silence + seconds
        return silence

    def _silence_before(self, time: float) -> float:
        if self._origin is None:
            self._origin = time - self._position
        late = time - self._origin - self._position
        if not -_TOLERANCE <= late <= self._longest:
            self._origin = time - self._position
            return 0.0
        return late if late > (_TOLERANCE if self._position else _START_TOLERANCE) else 0.0
