"""What came of one attempt to deliver a webhook."""

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class AttemptResult:
    """What came of one attempt at a delivery."""

    id: str
    at: datetime
    status: int = 0
    """HTTP status, 0 where there was no answer."""
    error: str | None = None
    """Why it came to nothing, one word."""
    retry_after: float | None = None
    """Seconds that the consumer asks us to wait."""
    hopeless: bool = False
    """Whether another attempt could only come to the same."""

    @property
    def delivered(self) -> bool:
        """Whether the consumer has it."""
        return 200 <= self.status < 300

    @property
    def answered(self) -> bool:
        """Whether the consumer is there and able; what it thinks of this one webhook is another matter."""
        return 0 < self.status < 500 and self.status != 429
