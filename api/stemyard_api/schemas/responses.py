"""Response bodies. The first fields of each are the original service's, to the letter."""

from typing import Any, Literal, NotRequired, Required

from typing_extensions import TypedDict

from stemyard_contract.failures import FailureCode
from stemyard_contract.separationjob import Phase

Status = Literal["processing", "completed", "failed"]


class Result(TypedDict, total=False):
    """Links to the stems: one `<stem>_url` for each requested stem."""

    vocals_url: str
    instrumental_url: str
    drums_url: str
    bass_url: str
    other_url: str
    guitar_url: str
    piano_url: str
    track_id: Required[str]


class Details(TypedDict, total=False):
    """Further fields of a track, besides its state."""

    phase: Phase
    run: int
    query: str
    model: str
    title: str
    artist: str
    channel: str
    duration: float
    metadata: dict[str, Any]
    quality: str
    stems: list[str]
    format: str
    bitrate: int
    bit_depth: int
    vbr_quality: int
    step: str
    reason: str
    queue_position: int
    eta_seconds: int


class LinkFields(TypedDict, total=False):
    """When the links expire, and for each stem a link to its waveform peaks in the JSON of `audiowaveform`."""

    expires_at: float
    peaks_urls: dict[str, str]


class MetadataField(TypedDict, total=False):
    """Metadata that this key sent with its request."""

    metadata: dict[str, Any]


class Accepted(MetadataField):
    """202: the separation is under way."""

    track_id: str
    status: Literal["processing"]
    message: str
    created_at: float


class Cached(LinkFields, MetadataField):
    """200: the result exists already."""

    status: Literal["completed"]
    track_id: str
    result: Result
    processing_time: float
    created_at: float
    cached: Literal[True]


class Processing(Details):
    """A track that is waiting or running. Times are epoch seconds.

    `queue_position` counts waiting tracks from 1, by priority and age; namespaces share the workers fairly, so others
    may start first; a track has none while it is downloaded. `eta_seconds` is estimated from past separations and, once
    it is being separated, from its own pace. Both are absent if unknown.
    """

    status: Literal["processing"]
    track_id: str
    created_at: float
    started_at: float
    progress: float


class Completed(Details, LinkFields):
    """A track whose stems are published."""

    status: Literal["completed"]
    track_id: str
    created_at: float
    started_at: float
    ended_at: float
    result: Result
    progress: Literal[100]
    processing_time: float


class Failed(Details):
    """A track whose last run failed or was cancelled."""

    status: Literal["failed"]
    track_id: str
    created_at: float
    started_at: float
    ended_at: float
    error: str
    progress: Literal[0]
    code: str
    retryable: bool
    last_progress: float


class Summary(Details):
    """A track in a list; its links are returned by GET /job/{track_id}."""

    status: Status
    track_id: str
    created_at: float
    started_at: float
    progress: float
    ended_at: NotRequired[float]
    processing_time: NotRequired[float]
    error: NotRequired[str]
    code: NotRequired[FailureCode]
    retryable: NotRequired[bool]
    last_progress: NotRequired[float]


class SharedResult(LinkFields):
    """A track that a share link shows: nothing of who requested it. `expires_at` is of the links to its stems.

    `share_expires_at` is when the share link itself expires, in epoch seconds.
    """

    status: Literal["completed"]
    track_id: str
    result: Result
    share_expires_at: int
    title: NotRequired[str]
    artist: NotRequired[str]
    channel: NotRequired[str]
    duration: NotRequired[float]
    model: NotRequired[str]


class ShareLink(TypedDict):
    """A link to a result that needs no key: `url` for people, `token` for GET /share/{token}."""

    url: str
    token: str
    expires_at: int


class SharesRevoked(TypedDict):
    """All share links of the track that existed until now have ended."""

    track_id: str
    revoked: Literal[True]


class Jobs(TypedDict):
    """Tracks, newest first. `next_cursor` is null at the end of the list."""

    jobs: list[Summary]
    next_cursor: str | None


class Cancelled(TypedDict):
    """Result of a cancellation: `cancelled` is false if other keys still claim the track."""

    track_id: str
    status: Status
    cancelled: bool
    claim_removed: bool


class Deleted(TypedDict):
    """Result of a deletion: `deleted` is false if other keys still claim the track.

    `webhooks_abandoned` counts pending webhooks of its last run, which are not sent any more.
    """

    track_id: str
    deleted: bool
    claim_removed: bool
    webhooks_abandoned: int


class Candidate(TypedDict):
    """One search result. Duration in seconds."""

    media_id: str
    title: str
    channel: str | None
    duration: float | None
    score: float
    reason: str | None
    chosen: bool


class Candidates(TypedDict):
    """Search results of a track, best first; empty before the search, and for tracks without one."""

    track_id: str
    query: str
    candidates: list[Candidate]


class BatchItem(TypedDict):
    """Status and body of the response to one request of a batch."""

    status: int
    body: dict[str, Any]


class Batch(TypedDict):
    """Responses in the order of the requests.

    `batch_id` lists its tracks for 30 days, with GET /jobs; it is null if all were refused, or without Redis.
    """

    results: list[BatchItem]
    batch_id: str | None


class KeyUsage(TypedDict):
    """Usage of one key: `audio_seconds` sums the songs' durations, `processing_seconds` their processing times."""

    key_id: str
    tracks: int
    processing: int
    completed: int
    failed: int
    audio_seconds: float
    processing_seconds: float


class Usage(TypedDict):
    """Usage by key, of tracks created between these times (epoch seconds)."""

    created_after: float
    created_before: float
    keys: list[KeyUsage]


class Erased(TypedDict):
    """What was erased for a key."""

    key_id: str
    claims_removed: int
    tracks_deleted: int
    uploads_deleted: int
    webhooks_deleted: int


class QueueInfo(TypedDict):
    """Waiting tracks by priority, then oldest first; at most 1,000 ids, while `length` counts all."""

    name: str
    length: int
    job_ids: list[str]


class KeyInfo(TypedDict):
    """The caller's key: its id and scopes."""

    id: str
    scopes: list[str]


class SourceInfo(TypedDict):
    """Accepted kinds of source, and the maximum size and duration of a recording."""

    search: bool
    url: bool
    upload: bool
    object: bool
    max_file_size_mb: int
    max_duration_seconds: int


class ModelInfo(TypedDict):
    """A model and the stems it can produce; `default` marks the model that `auto` selects.

    `qualities` are the values of `quality` that it supports; others are treated as `balanced`.
    """

    name: str
    stems: list[str]
    qualities: list[str]
    default: bool


class FormatInfo(TypedDict):
    """An output format: lossy ones have `bitrates` in kilobits per second, lossless ones `bit_depths`."""

    name: str
    bitrates: NotRequired[list[int]]
    bit_depths: NotRequired[list[int]]


class Capabilities(TypedDict):
    """What this deployment offers to this key."""

    key: KeyInfo
    sources: SourceInfo
    models: list[ModelInfo]
    formats: list[FormatInfo]


class ServiceStates(TypedDict):
    """Which backends are configured, and which responded to the last probe."""

    storage_operational: bool
    storage_configured: bool
    rate_limiting_operational: bool
    rate_limiting_configured: bool
    redis_operational: bool
    redis_configured: bool
    kubernetes_operational: bool


class Health(TypedDict):
    """Health of the service: `healthy`, or `degraded` if a configured backend does not respond."""

    status: Literal["healthy", "degraded"]
    timestamp: float
    services: ServiceStates
    version: str


class ProblemField(TypedDict):
    """Why one field is invalid."""

    field: str
    message: str


class Problem(TypedDict):
    """An error, as RFC 9457 problem details."""

    type: str
    title: str
    status: int
    detail: str
    code: FailureCode
    retryable: bool
    error: str
    errors: NotRequired[list[ProblemField]]
    request_id: NotRequired[str]
