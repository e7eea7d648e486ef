"""Event types: what a webhook may tell of, and which of it everybody is told who names no events."""

from enum import StrEnum
from typing import Final


class EventType(StrEnum):
    """What a webhook tells."""

    STARTED = "separation.started"
    PROGRESS = "separation.progress"
    COMPLETED = "separation.completed"
    FAILED = "separation.failed"
    CANCELLED = "separation.cancelled"
    TEST = "webhook.test"


ENDS: Final = frozenset({EventType.COMPLETED, EventType.FAILED, EventType.CANCELLED})
"""The events that end a run: what is told where no events are named. They alone are kept until they arrive."""
