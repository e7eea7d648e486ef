"""Webhooks: ids, events and bodies, and the retry schedule; for consumers also `verify`, of `webhook_signature`."""

import json
import uuid
from collections.abc import Mapping
from typing import Any, Final

from stemyard_contract.event_types import EventType as EventType
from stemyard_contract.separationjob import Phase, Stem
from stemyard_contract.webhook_signature import ReplayError as ReplayError
from stemyard_contract.webhook_signature import VerificationError as VerificationError
from stemyard_contract.webhook_signature import verify as verify

RETRY_SCHEDULE: Final = (0.0, 5.0, 300.0, 1800.0, 7200.0, 18000.0, 36000.0, 50400.0, 72000.0, 86400.0)
"""Seconds between one attempt and the next: the retry schedule that Standard Webhooks recommends."""
ID_NAMESPACE: Final = uuid.UUID("d7af8b89-a2d2-40df-ac43-8251893d31b2")
"""UUIDv5 namespace of webhook ids. Changing it would give every retry a new id; golden tests guard it."""

EVENT_OF_PHASE: Final[Mapping[Phase, EventType]] = {
    Phase.COMPLETED: EventType.COMPLETED,
    Phase.FAILED: EventType.FAILED,
    Phase.CANCELLED: EventType.CANCELLED,
}
"""Event of each terminal phase."""


def event_of(phase: Phase, *, test: bool = False) -> EventType:
    """Return the event for the terminal phase of a run, or for a webhook test."""
    return EventType.TEST if test else EVENT_OF_PHASE[phase]


def webhook_id(
    track_id: str, run: int, event: EventType, url: str, progress: int | None = None, registration: str | None = None
) -> str:
    """Return the id shared by all attempts at one delivery, a UUIDv5.

    `progress` distinguishes progress events, and the id of a registered webhook its delivery from others to its URL.
    """
    more = ("" if progress is None else str(progress), registration)
    parts = (track_id, str(run), event, url, *(part for part in more if part))
    return str(uuid.uuid5(ID_NAMESPACE, "\n".join(parts)))


def completed_body(track_id: str, urls: Mapping[Stem, str], created_at: float) -> bytes:
    """Return the body of `separation.completed`.

    Args:
        track_id: id of the track.
        urls: links to the stems.
        created_at: when the separation was requested, in epoch seconds.
    """
    links = {f"{stem}_url": urls[stem] for stem in Stem if stem in urls}
    return _dump(
        {
            "status": "completed",
            "track_id": track_id,
            "result": {**links, "track_id": track_id},
            "progress": 100,
            "created_at": created_at,
        }
    )


def failed_body(track_id: str, error: str, created_at: float) -> bytes:
    """Return the body of `separation.failed` or `separation.cancelled`; `error` is human-readable."""
    return _dump({"status": "failed", "track_id": track_id, "error": error, "progress": 0, "created_at": created_at})


def processing_body(track_id: str, progress: int, created_at: float, phase: Phase) -> bytes:
    """Return the body of `separation.started` or `separation.progress`; `progress` is in percent."""
    return _dump(
        {
            "status": "processing",
            "track_id": track_id,
            "progress": progress,
            "created_at": created_at,
            "phase": phase.value,
        }
    )


def test_body(track_id: str, created_at: float) -> bytes:
    """Return the body of `webhook.test`."""
    return _dump({"status": "test", "track_id": track_id, "progress": 0, "created_at": created_at})


def _dump(payload: Mapping[str, Any]) -> bytes:
    # Python's defaults, so that a consumer that re-serialises the parsed body gets the signed bytes again
    return json.dumps(payload).encode()
