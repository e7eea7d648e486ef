"""What time it is for the API server, whose timestamps decisions are made from: this machine's clock may be wrong."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Final

_TOLERANCE: Final = timedelta(seconds=2)
"""Differences up to this are answers on their way, and dates in whole seconds."""


class ServerClock:
    """Follows the `Date` of the API server's answers; between them this machine's clock goes on."""

    def __init__(self) -> None:
        self.own: Callable[[], datetime] = lambda: datetime.now(UTC)
        self._ahead = timedelta()

    def heard(self, date: str) -> None:
        """Take note of the date of an answer that came at once."""
        try:
            ahead = parsedate_to_datetime(date) - self.own()
        except (ValueError, TypeError):
            return
        if abs(ahead - self._ahead) > _TOLERANCE:
            self._ahead = ahead

    def now(self) -> datetime:
        """Return the time."""
        return self.own() + self._ahead
