"""Response bodies. The first fields of each are the original service's, to the letter."""

from typing import Any, Literal, NotRequired

from typing_extensions import TypedDict

Status = Literal["processing", "completed", "failed"]


class Result(TypedDict, total=False):
    """Where the stems are; one `<stem>_url` for each stem asked for."""

    vocals_url: str
    instrumental_url: str
    track_id: str


class Details(TypedDict, total=False):
    """What is known about a track besides its state."""

    phase: str
    run: int
    query: str
    model: str
    title: str
    artist: str
    channel: str
    duration: float
    metadata: dict[str, Any]
    step: str
    reason: str
    queue_position: int
    eta_seconds: int


class LinkFields(TypedDict, total=False):
    """What comes with links: when they stop working, and by stem its outline in the JSON of `audiowaveform`."""

    expires_at: float
    peaks_urls: dict[str, str]


class MetadataField(TypedDict, total=False):
    """What this key gave along with its request."""

    metadata: dict[str, Any]


class Accepted(MetadataField):
    """202: the separation is under way."""

    track_id: str
    status: Literal["processing"]
    message: str
    created_at: float


class Cached(LinkFields, MetadataField):
    """200: the separation was made before."""

    status: Literal["completed"]
    track_id: str
    result: Result
    processing_time: float
    created_at: float
    cached: Literal[True]


class Processing(Details):
    """A track that is waiting or being worked on. Times are epoch seconds.

    `queue_position` is its place among those that wait, from 1, by priority and age: places are given fairly between
    namespaces, so it may be overtaken. `eta_seconds` is an estimate from what was learned here. Both are absent where
    they are not known.
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
    """A track in a list; links come with the track itself."""

    status: Status
    track_id: str
    created_at: float
    started_at: float
    progress: float
    ended_at: NotRequired[float]
    processing_time: NotRequired[float]
    error: NotRequired[str]
    code: NotRequired[str]
    retryable: NotRequired[bool]
    last_progress: NotRequired[float]


class Jobs(TypedDict):
    """Tracks, newest first. `next_cursor` is null at the end of the list."""

    jobs: list[Summary]
    next_cursor: str | None


class Cancelled(TypedDict):
    """What became of a wish to cancel: `cancelled` is false where other keys still want the track."""

    track_id: str
    status: Status
    cancelled: bool
    claim_removed: bool


class Deleted(TypedDict):
    """What became of a wish to delete: `deleted` is false where other keys still want the track.

    `webhooks_abandoned` counts webhooks of its last end that had not arrived and now never will.
    """

    track_id: str
    deleted: bool
    claim_removed: bool
    webhooks_abandoned: int


class Delivery(TypedDict):
    """One webhook of a track's last end. Times are epoch seconds; `last_status` is 0 where there was no answer."""

    id: str
    url: str
    event: str
    endpoint: str | None
    state: Literal["pending", "delivered", "given_up"]
    attempts: int
    last_status: int | None
    last_error: str | None
    last_attempt_at: float | None
    next_attempt_at: float | None
    delivered_at: float | None


class Attempt(TypedDict):
    """One attempt at a webhook: when it ended, how long it took, the HTTP status or 0, and why it came to nothing."""

    id: str
    url: str
    event: str
    at: float
    seconds: float
    status: int
    error: str | None


class Deliveries(TypedDict):
    """The webhooks of a track's last end, and the newest attempts, last first."""

    track_id: str
    deliveries: list[Delivery]
    attempts: list[Attempt]


class Redelivery(TypedDict):
    """Ids of the webhooks that are delivered again."""

    track_id: str
    ids: list[str]


class DeadLetter(Delivery):
    """A webhook that was given up."""

    track_id: str


class DeadLetters(TypedDict):
    """Webhooks that were given up. `next_cursor` is null at the end of the list."""

    dead_letters: list[DeadLetter]
    next_cursor: str | None


class Candidate(TypedDict):
    """One recording that a search found. Duration in seconds."""

    media_id: str
    title: str
    channel: str | None
    duration: float | None
    score: float
    reason: str | None
    chosen: bool


class Candidates(TypedDict):
    """What the search of a track found, best first; empty where nothing was searched or not yet."""

    track_id: str
    query: str
    candidates: list[Candidate]


class BatchItem(TypedDict):
    """What one request of a batch would have been answered alone."""

    status: int
    body: dict[str, Any]


class Batch(TypedDict):
    """Answers in the order of the requests."""

    results: list[BatchItem]


class KeyUsage(TypedDict):
    """What one key has asked for. `audio_seconds` counts songs, `processing_seconds` the work on them."""

    key_id: str
    tracks: int
    processing: int
    completed: int
    failed: int
    audio_seconds: float
    processing_seconds: float


class Usage(TypedDict):
    """Usage by key, of tracks created within these moments (epoch seconds)."""

    created_after: float
    created_before: float
    keys: list[KeyUsage]


class Erased(TypedDict):
    """What was erased for a key."""

    key_id: str
    claims_removed: int
    tracks_deleted: int
    uploads_deleted: int


class QueueInfo(TypedDict):
    """Tracks that wait, oldest first; at most 1,000 ids, while `length` counts all."""

    name: str
    length: int
    job_ids: list[str]


class UploadSlot(TypedDict):
    """Where to PUT a file; the request must carry exactly these headers."""

    upload_id: str
    url: str
    headers: dict[str, str]
    expires_at: float


class KeyInfo(TypedDict):
    """The caller's key: its id, and what it may do."""

    id: str
    scopes: list[str]


class SourceInfo(TypedDict):
    """Which kinds of source are taken, and how large and long a recording may be."""

    search: bool
    url: bool
    upload: bool
    object: bool
    max_file_size_mb: int
    max_duration_seconds: int


class ModelInfo(TypedDict):
    """A model and every stem it can give; `default` is what `auto` means.

    `qualities` are what `quality` chooses from; empty where it makes no difference.
    """

    name: str
    stems: list[str]
    qualities: list[str]
    default: bool


class FormatInfo(TypedDict):
    """A format of stems; with `bitrates` in kilobits per second it has loss, with `bit_depths` it has none."""

    name: str
    bitrates: NotRequired[list[int]]
    bit_depths: NotRequired[list[int]]


class Capabilities(TypedDict):
    """What can be asked for here, with this key."""

    key: KeyInfo
    sources: SourceInfo
    models: list[ModelInfo]
    formats: list[FormatInfo]


class ServiceStates(TypedDict):
    """What is configured, and what answered when last probed."""

    storage_operational: bool
    storage_configured: bool
    rate_limiting_operational: bool
    rate_limiting_configured: bool
    redis_operational: bool
    redis_configured: bool
    kubernetes_operational: bool


class Health(TypedDict):
    """How the service is: `healthy`, or `degraded` when a configured part does not answer."""

    status: Literal["healthy", "degraded"]
    timestamp: float
    services: ServiceStates
    version: str


class ProblemField(TypedDict):
    """What is wrong with one field."""

    field: str
    message: str


class Problem(TypedDict):
    """An error, as RFC 9457 problem details."""

    type: str
    title: str
    status: int
    detail: str
    code: str
    retryable: bool
    error: str
    errors: NotRequired[list[ProblemField]]
    request_id: NotRequired[str]
