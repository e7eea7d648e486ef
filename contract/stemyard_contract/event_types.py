"""Event types of webhooks, and those sent by default."""

from enum import StrEnum
from typing import Final


class EventType(StrEnum):
    """Type of a webhook event."""

    STARTED = "separation.started"
    PROGRESS = "separation.progress"
    COMPLETED = "separation.completed"
    FAILED = "separation.failed"
    CANCELLED = "separation.cancelled"
    TEST = "webhook.test"


ENDS: Final = frozenset({EventType.COMPLETED, EventType.FAILED, EventType.CANCELLED})
"""The events that end a run. They are sent by default, and only they are persisted and retried."""
