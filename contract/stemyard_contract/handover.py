"""What the operator hands the separator and gets back: Assignment, progress, links, commit marks, Outcome."""

from datetime import datetime
from enum import StrEnum
from typing import Annotated, Final, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic.alias_generators import to_camel

from stemyard_contract.failures import FailureCode
from stemyard_contract.findings import Candidate, Stem
from stemyard_contract.output import Output
from stemyard_contract.quality import DEFAULT_QUALITY, Quality
from stemyard_contract.source import Source

ASSIGNMENT_VARIABLE: Final = "STEMYARD_ASSIGNMENT"
"""Environment variable that carries the Assignment as JSON."""
POD_UID_VARIABLE: Final = "STEMYARD_POD_UID"
"""Environment variable with the pod's own uid (downward API)."""
DESK_AUDIENCE: Final = "stemyard-desk"
"""Audience of the projected service-account token the separator shows at the desk."""
DESK_TOKEN_PATH: Final = "/var/run/secrets/stemyard/token"  # noqa: S105 - a path, not a secret
"""Where the projected token is mounted in the separator's pod; re-read for each call, since kubelet renews it."""
DESK_PROGRESS_PATH: Final = "/v1/progress"
DESK_LINKS_PATH: Final = "/v1/links"
TERMINATION_MESSAGE_PATH: Final = "/dev/termination-log"
OUTCOME_LIMIT: Final = 2048
"""Bytes an Outcome may take; kubelet keeps the last 4096 of a termination message."""
SAMPLE_RATE: Final = 44_100
"""Samples per second and channel of the audio between fetch and separate."""

INPUT_FILE: Final = "input"
"""Logical name of an uploaded or stored source, readable by fetch."""
AUDIO_FILE: Final = "audio.flac"
SOURCE_MARK_FILE: Final = "source.json"
MANIFEST_FILE: Final = "manifest.json"


def peaks_file(stem: Stem) -> str:
    """Return the name of the file that holds a stem's outline for drawing."""
    return f"{stem}.peaks.json"


class WorkStage(StrEnum):
    """The two Jobs of a separation."""

    FETCH = "fetch"
    SEPARATE = "separate"

    @property
    def mark_file(self) -> str:
        """Name of the file whose presence says that this stage is done."""
        return SOURCE_MARK_FILE if self is WorkStage.FETCH else MANIFEST_FILE

    @property
    def room(self) -> "Room":
        """Room of the bucket this stage writes to."""
        return Room.WORK if self is WorkStage.FETCH else Room.STEMS


class Room(StrEnum):
    """First level of the bucket below the install id."""

    STEMS = "stems"
    WORK = "work"
    UPLOADS = "uploads"


class Handed(BaseModel):
    """Base of everything handed over: camelCase on the wire, unknown fields ignored so that versions may differ."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, frozen=True, extra="ignore")

    def dump(self) -> str:
        """Return compact JSON without absent fields."""
        return self.model_dump_json(by_alias=True, exclude_none=True)


class Limits(Handed):
    """Bounds on what fetch takes in."""

    max_bytes: int = Field(gt=0)
    """Bytes of encoded input."""
    max_duration_seconds: float = Field(gt=0)


class MarkReference(Handed):
    """Where a stage's commit mark is, and the SHA-256 of its bytes."""

    key: str
    sha256: str


class Assignment(Handed):
    """All a separator is told: what to do, for whom, within which limits, and where its desk is."""

    stage: WorkStage
    uid: str
    """uid of the SeparationJob."""
    name: str
    namespace: str
    track_id: str
    run: int
    owner: str | None = None
    """Id of the API key it belongs to, where results are not shared between keys."""
    source: Source
    model: str
    quality: Quality = DEFAULT_QUALITY
    stems: list[Stem]
    output: Output
    limits: Limits
    desk_url: str
    """Base URL of the desk, without a trailing slash."""
    youtube_enabled: bool = True
    fetched: MarkReference | None = None
    """The commit mark of the fetch stage that the operator accepted; given to separate only."""

    @model_validator(mode="after")
    def _separate_knows_its_source(self) -> Self:
        if self.stage is WorkStage.SEPARATE and self.fetched is None:
            raise ValueError("an Assignment for separate needs `fetched`")
        return self


class Progress(Handed):
    """How far a stage is; the body of `POST /v1/progress`."""

    stage: WorkStage
    sequence: int = Field(ge=0)
    """Grows with each report of one pod, so that a late report never undoes a newer one."""
    fraction: float = Field(ge=0, le=1)
    step: str = Field(max_length=32)
    """What is being done, one word: search, download, decode, load, separate, encode, upload."""


_FETCH_SHARE: Final = 10.0


def overall_progress(stage: WorkStage, fraction: float) -> float:
    """Return the percentage of the whole separation: fetch fills 0 to 10, separate 10 to 99; 100 means published."""
    if stage is WorkStage.FETCH:
        return round(_FETCH_SHARE * fraction, 1)
    return round(_FETCH_SHARE + (99.0 - _FETCH_SHARE) * fraction, 1)


class LinkRequest(Handed):
    """One file a stage wants to read or write."""

    file: str = Field(max_length=64, pattern=r"^[a-z0-9][a-z0-9._-]*$")
    method: Literal["GET", "PUT"]
    bytes: int | None = Field(default=None, ge=0)
    """Length that a PUT link is signed for; required for PUT."""
    content_type: str | None = Field(default=None, max_length=64)

    @model_validator(mode="after")
    def _put_states_its_length(self) -> Self:
        if self.method == "PUT" and (self.bytes is None or self.content_type is None):
            raise ValueError("a PUT link needs `bytes` and `contentType`")
        return self


class LinksRequest(Handed):
    """Body of `POST /v1/links`."""

    files: Annotated[list[LinkRequest], Field(min_length=1, max_length=16)]


class Link(Handed):
    """A presigned link; the request must carry exactly these headers."""

    file: str
    method: Literal["GET", "PUT"]
    key: str
    url: str
    headers: dict[str, str] = Field(default_factory=dict)


class Links(Handed):
    """Answer of `POST /v1/links`, in the order asked for."""

    links: list[Link]


class StoredFile(Handed):
    """A file a stage has written below its own prefix."""

    file: str
    bytes: int
    sha256: str


class MediaMetadata(Handed):
    """What is known about a recording; every field may be missing."""

    title: str | None = None
    artist: str | None = None
    channel: str | None = None
    media_id: str | None = None
    """Canonical id such as `youtube:<id>`, stable across queries."""
    webpage_url: str | None = None


class Mark(Handed):
    """Common part of the commit marks: which pod of which run wrote it."""

    uid: str
    """uid of the SeparationJob."""
    run: int
    pod_uid: str


class SourceMark(Mark):
    """`source.json`: fetch is done; the audio and its measurements.

    The FLAC holds `source x 2^-exponent`; statistics are of the samples as written, in float64, over the mean of
    the two channels, with n - 1 in the standard deviation (the form demucs normalises with).
    """

    audio: StoredFile
    sample_rate: int = SAMPLE_RATE
    channels: int = 2
    samples: int = Field(gt=0)
    """Per channel."""
    exponent: int = Field(ge=1)
    peak: float = Field(ge=0)
    """Largest absolute value of the samples as written, at most 1."""
    mean: float
    standard_deviation: float = Field(ge=0)
    audio_sha256: str
    """SHA-256 of the decoded 24-bit samples, interleaved little-endian: equal audio has equal hashes."""
    media: MediaMetadata = MediaMetadata()
    candidates: list[Candidate] = Field(default_factory=list)
    received_bytes: int = Field(ge=0)
    received_sha256: str | None = None
    """SHA-256 of the encoded input."""
    versions: dict[str, str] = Field(default_factory=dict)
    """Versions of what downloaded and decoded it."""

    @property
    def duration_seconds(self) -> float:
        """Length of the audio."""
        return self.samples / self.sample_rate


class StemFile(StoredFile):
    """One published stem."""

    samples: int
    """Per channel, at the sample rate of the source mark."""
    duration_seconds: float
    integrated_loudness: float | None = None
    """LUFS after EBU R128, as published; None where nothing is above the gate."""
    true_peak: float | None = None
    """dBTP as encoded, before what a lossy codec adds; None for silence."""
    peaks: StoredFile | None = None
    """The stem's outline for drawing, in the JSON of `audiowaveform`."""


class Copied(Handed):
    """Whose stems were copied."""

    name: str
    """SeparationJob of the same recording, in the same namespace."""
    processing_seconds: float
    """Seconds that the run took which made them."""


class Asked(Handed):
    """What a separation was of: with it the SeparationJob can be made again from the bucket alone."""

    namespace: str
    name: str
    source: Source
    quality: Quality = DEFAULT_QUALITY
    owner: str | None = None
    """Id of the API key it belongs to, where results are not shared between keys."""


class Manifest(Mark):
    """`manifest.json`: the separation is published. Written last; everything needed to check and reproduce it."""

    stems: dict[Stem, StemFile]
    source_audio_sha256: str
    media: MediaMetadata = MediaMetadata()
    engine: str
    model: str
    model_digest: str
    device: str
    output: Output
    gain_db: float
    """Gain applied to all stems alike before encoding."""
    real_time_factor: float
    """Seconds spent per second of audio, from first sample read to last stem encoded."""
    timings: dict[str, float] = Field(default_factory=dict)
    """Seconds by step."""
    versions: dict[str, str] = Field(default_factory=dict)
    parameters: dict[str, float | str] = Field(default_factory=dict)
    """What the engine was told beyond its model, such as threads, overlap, precision."""
    source_mark_sha256: str | None = None
    """SHA-256 of the `source.json` it was made from."""
    copied: Copied | None = None
    """Set where the operator copied another separation's stems; `podUid` is then that separation's uid."""
    asked: Asked | None = None
    published_at: datetime | None = None
    """When it was written."""


class Outcome(Handed):
    """A stage's last word, left in the termination message."""

    stage: WorkStage
    code: FailureCode | None = None
    """None when the stage succeeded."""
    message: str | None = None
    mark: MarkReference | None = None

    def dump(self) -> str:
        """Return JSON of at most `OUTCOME_LIMIT` bytes; the message is shortened to fit."""
        text = super().dump()
        if len(text.encode()) <= OUTCOME_LIMIT:
            return text
        room = OUTCOME_LIMIT - len(self.model_copy(update={"message": ""}).dump().encode())
        # JSON escapes take up to six bytes a character
        return self.model_copy(update={"message": (self.message or "")[: room // 6]}).dump()


def parse_outcome(text: str | None) -> Outcome | None:
    """Return the Outcome in a termination message, or None where there is none that can be read."""
    if not text:
        return None
    try:
        return Outcome.model_validate_json(text.strip())
    except ValidationError:
        return None
