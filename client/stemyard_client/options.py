"""What can be asked for: options of a separation, filters of a list, changes of a webhook."""

from typing import Any, Literal, TypedDict


class Options(TypedDict, total=False):
    """Options of a separation; what is absent is the service's default."""

    model: str
    quality: Literal["fast", "balanced", "best"]
    stems: list[str]
    format: str
    bitrate: int
    bit_depth: int
    vbr_quality: int
    sample_rate: str
    channels: str
    webhook_url: str
    webhook_events: list[str]
    metadata: dict[str, Any]
    """Returned with the track, to this key only; at most 1 KiB as JSON."""
    priority: int
    cache: Literal["use", "refresh"]


class Filters(TypedDict, total=False):
    """Filters of a list; a track must pass all of them. Times are epoch seconds."""

    status: Literal["processing", "completed", "failed"]
    phase: list[str]
    text: str
    metadata: dict[str, Any]
    batch: str
    since: float
    created_after: float
    created_before: float
    all: bool
    """Tracks of all keys, which needs the scope admin."""


class WebhookChanges(TypedDict, total=False):
    """Changes of a registered webhook; what is absent stays as it is."""

    url: str
    """New URL. What is still due to the old one is given up."""
    events: list[str]
    description: str
    """An empty text removes it."""
    enabled: bool
    """False: nothing is sent, and what is due is given up."""
