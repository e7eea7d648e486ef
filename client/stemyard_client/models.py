"""What the API returns. Times are epoch seconds. Fields that this version does not know are kept as attributes."""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field


class Model(BaseModel):
    """Base of all answers: unknown fields are kept, so that a newer API can be read."""

    model_config = ConfigDict(frozen=True, extra="allow")


class Job(Model):
    """The state of a track. Which fields are set depends on `status`; `deleted` occurs at the end of a stream only."""

    status: Literal["processing", "completed", "failed", "deleted"]
    track_id: str
    created_at: float | None = None
    started_at: float | None = None
    ended_at: float | None = None
    progress: float = 0.0
    """Percent."""
    last_progress: float | None = None
    """Of a failed track: how far it came, in percent."""
    phase: str | None = None
    step: str | None = None
    reason: str | None = None
    run: int | None = None
    query: str | None = None
    title: str | None = None
    artist: str | None = None
    channel: str | None = None
    duration: float | None = None
    model: str | None = None
    quality: str | None = None
    format: str | None = None
    bitrate: int | None = None
    bit_depth: int | None = None
    vbr_quality: int | None = None
    stems: list[str] | None = None
    queue_position: int | None = None
    eta_seconds: int | None = None
    result: dict[str, str] | None = None
    """Links, `<stem>_url` for each stem, and `track_id`."""
    peaks_urls: dict[str, str] | None = None
    expires_at: float | None = None
    """When the links expire."""
    processing_time: float | None = None
    cached: bool = False
    metadata: dict[str, Any] | None = None
    error: str | None = None
    code: str | None = None
    retryable: bool | None = None
    message: str | None = None

    @property
    def ended(self) -> bool:
        """Whether nothing more happens to it by itself."""
        return self.status != "processing"

    @property
    def links(self) -> dict[str, str]:
        """Link to each stem by its name; empty unless completed."""
        ending = "_url"
        return {name.removesuffix(ending): link for name, link in (self.result or {}).items() if name.endswith(ending)}


class JobPage(Model):
    """One page of a list."""

    jobs: list[Job]
    next_cursor: str | None = None


class Cancelled(Model):
    """Result of a cancellation: `cancelled` is false if other keys still claim the track."""

    track_id: str
    status: str
    cancelled: bool
    claim_removed: bool


class Deleted(Model):
    """Result of a deletion: `deleted` is false if other keys still claim the track."""

    track_id: str
    deleted: bool
    claim_removed: bool
    webhooks_abandoned: int = 0


class Share(Model):
    """A link to a result that needs no key: `url` for people, `token` for programs."""

    url: str
    token: str
    expires_at: float


class Candidate(Model):
    """One result of a search; `duration` in seconds."""

    media_id: str
    title: str
    channel: str | None = None
    duration: float | None = None
    score: float
    reason: str | None = None
    chosen: bool


class Candidates(Model):
    """Results of a track's search, best first."""

    track_id: str
    query: str
    candidates: list[Candidate]


class KeyUsage(Model):
    """Usage of one key; times in seconds."""

    key_id: str
    tracks: int
    processing: int
    completed: int
    failed: int
    audio_seconds: float
    processing_seconds: float


class Usage(Model):
    """Usage by key, of tracks created between two times."""

    created_after: float
    created_before: float
    keys: list[KeyUsage]


class KeyInfo(Model):
    """The caller's key."""

    id: str
    scopes: list[str]


class ModelInfo(Model):
    """A model and the stems it can produce."""

    name: str
    stems: list[str]
    qualities: list[str] = []
    default: bool = False


class Capabilities(Model):
    """What an installation offers to this key."""

    key: KeyInfo
    sources: dict[str, Any]
    models: list[ModelInfo]
    formats: list[dict[str, Any]]


class Health(Model):
    """Health of the service: `healthy` or `degraded`, and the state of each backend."""

    status: str
    services: dict[str, bool]
    version: str | None = None


class Delivery(Model):
    """One webhook of a track's last run."""

    id: str
    url: str
    event: str
    state: str
    attempts: int
    last_status: int | None = None
    last_error: str | None = None
    next_attempt_at: float | None = None


class Redelivery(Model):
    """Ids of the webhooks that are delivered again."""

    ids: list[str]


class Deliveries(Model):
    """The webhooks of a track's last run, and the attempts at them, newest first."""

    track_id: str
    deliveries: list[Delivery]
    attempts: list[dict[str, Any]] = []


class RegisteredWebhook(Model):
    """A webhook that is notified of all tracks of its key."""

    id: str
    url: str
    events: list[str]
    description: str | None = None
    enabled: bool
    created_at: float
    previous_secret_valid_until: float | None = None
    """When the last secret that was replaced stops signing; None if none was."""


class WebhookWithSecret(RegisteredWebhook):
    """A webhook and its new signing secret, which the API does not show again."""

    secret: str = Field(repr=False)


class RegisteredWebhooks(Model):
    """The webhooks that a key has registered, the oldest first."""

    webhooks: list[RegisteredWebhook]


class UploadSlot(Model):
    """Where to PUT a whole file, with exactly these headers."""

    upload_id: str
    url: str
    headers: dict[str, str]


class PartLink(Model):
    """Where to PUT a part, with exactly these headers."""

    number: int
    url: str
    headers: dict[str, str]


class PartLinks(Model):
    """Links for parts."""

    parts: list[PartLink]


class ReceivedPart(Model):
    """A part that the store has."""

    number: int
    size: int
    sha256: str | None = None


class UploadState(Model):
    """What has been received of an upload; a complete one has no `parts`."""

    upload_id: str
    size: int
    complete: bool = False
    part_bytes: int = 0
    parts: int = 0
    received: list[ReceivedPart] = []
