"""Result of one webhook delivery attempt."""

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class AttemptResult:
    """Result of one delivery attempt."""

    id: str
    at: datetime
    status: int = 0
    """HTTP status, 0 if there was no response."""
    error: str | None = None
    """Why it failed, in one word."""
    retry_after: float | None = None
    """Value of the consumer's Retry-After header, in seconds."""
    hopeless: bool = False
    """Whether retrying is pointless."""

    @property
    def delivered(self) -> bool:
        """Whether the consumer accepted it."""
        return 200 <= self.status < 300

    @property
    def answered(self) -> bool:
        """Whether the consumer is available, even if it rejected this webhook."""
        return 0 < self.status < 500 and self.status != 429
