"""The API server's time, which decisions are based on: the local clock may be wrong."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Final

_TOLERANCE: Final = timedelta(seconds=2)
"""Differences up to this are ignored: latency, and dates in whole seconds."""


class ServerClock:
    """Follows the `Date` header of the API server's responses; between them the local clock counts."""

    def __init__(self) -> None:
        self.local_now: Callable[[], datetime] = lambda: datetime.now(UTC)
        self._offset = timedelta()

    def observe(self, date: str) -> None:
        """Adjust the clock to the `Date` of a response that has just arrived; a malformed date is ignored."""
        try:
            offset = parsedate_to_datetime(date) - self.local_now()
        except (ValueError, TypeError):
            return
        if abs(offset - self._offset) > _TOLERANCE:
            self._offset = offset

    def now(self) -> datetime:
        """Return the API server's time."""
        return self.local_now() + self._offset
