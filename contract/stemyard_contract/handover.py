"""Protocol between operator and separator: Assignment, progress, links, commit marks, Outcome."""

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
"""Environment variable with the Assignment as JSON."""
POD_UID_VARIABLE: Final = "STEMYARD_POD_UID"
"""Environment variable with the pod's own uid (downward API)."""
DESK_AUDIENCE: Final = "stemyard-desk"
"""Audience of the projected service account token that the separator sends to the desk."""
DESK_TOKEN_PATH: Final = "/var/run/secrets/stemyard/token"  # noqa: S105 - a path, not a secret
"""Path of the projected token in the separator's pod; read for each call, since the kubelet rotates it."""
DESK_PROGRESS_PATH: Final = "/v1/progress"
DESK_LINKS_PATH: Final = "/v1/links"
DESK_FINISHED_PATH: Final = "/v1/finished"
"""Desks of older operators do not serve it."""
TERMINATION_MESSAGE_PATH: Final = "/dev/termination-log"
OUTCOME_LIMIT: Final = 2048
"""Maximum size of an Outcome in bytes; the kubelet keeps the last 4096 bytes of a termination message."""
SAMPLE_RATE: Final = 44_100
"""Sample rate of the audio between fetch and separate, in Hz."""
LARGEST_COUNT: Final = 2**53
"""Largest integer up to which all are exact as floating point."""

INPUT_FILE: Final = "input"
"""Logical name of an uploaded or stored source, which fetch may read."""
AUDIO_FILE: Final = "audio.flac"
SOURCE_MARK_FILE: Final = "source.json"
MANIFEST_FILE: Final = "manifest.json"


def peaks_file(stem: Stem) -> str:
    """Return the name of the file with a stem's waveform peaks."""
    return f"{stem}.peaks.json"


class WorkStage(StrEnum):
    """The two Jobs of a separation."""

    FETCH = "fetch"
    SEPARATE = "separate"

    @property
    def mark_file(self) -> str:
        """File name of the stage's commit mark."""
        return SOURCE_MARK_FILE if self is WorkStage.FETCH else MANIFEST_FILE

    @property
    def room(self) -> "Room":
        """Room that this stage writes to."""
        return Room.WORK if self is WorkStage.FETCH else Room.STEMS


class Room(StrEnum):
    """First level of object keys below the install id."""

    STEMS = "stems"
    WORK = "work"
    UPLOADS = "uploads"


class WireModel(BaseModel):
    """Base model of JSON exchanged between parts: camelCase; unknown fields are ignored, as versions may differ."""

    # JSON has neither NaN nor infinity: the status, which marks are copied to, could not hold them
    model_config = ConfigDict(
        alias_generator=to_camel, populate_by_name=True, frozen=True, extra="ignore", allow_inf_nan=False
    )

    def dump(self) -> str:
        """Return compact JSON without absent fields."""
        return self.model_dump_json(by_alias=True, exclude_none=True)


class Limits(WireModel):
    """Limits on the input of fetch."""

    max_bytes: int = Field(gt=0)
    """Maximum size of the encoded input, in bytes."""
    max_duration_seconds: float = Field(gt=0)


class MarkReference(WireModel):
    """Object key of a commit mark, and the SHA-256 of its bytes."""

    key: str
    sha256: str


class LeasedSeparation(WireModel):
    """The leased SeparationJob that a worker's request is about: its pod may hold several."""

    name: str = Field(max_length=253)
    uid: str = Field(max_length=64)


class Finished(WireModel):
    """A stage's commit mark is written; body of `POST /v1/finished`.

    It saves the wait for the end of the pod and its Job. The operator goes on only from the mark itself.
    """

    stage: WorkStage
    mark: MarkReference
    separation: LeasedSeparation | None = None
    """Required from workers; other pods have one SeparationJob."""


class Assignment(WireModel):
    """Everything a separator pod needs to know to run its stage."""

    stage: WorkStage
    uid: str
    """uid of the SeparationJob."""
    name: str
    namespace: str
    track_id: str
    run: int
    owner: str | None = None
    """Id of the API key it belongs to, if results are not shared between keys."""
    source: Source
    model: str
    quality: Quality = DEFAULT_QUALITY
    stems: list[Stem]
    output: Output
    limits: Limits
    deadline_seconds: int = Field(default=900, gt=0)
    """Seconds that the pod may run: how long it waits for the desk and the object store. Absent in old Assignments."""
    desk_url: str
    """Base URL of the desk, without a trailing slash."""
    youtube_enabled: bool = True
    fetched: MarkReference | None = None
    """Accepted commit mark of the fetch stage; for separate only."""

    @model_validator(mode="after")
    def _separate_knows_its_source(self) -> Self:
        if self.stage is WorkStage.SEPARATE and self.fetched is None:
            raise ValueError("an Assignment for separate needs `fetched`")
        return self


class Progress(WireModel):
    """Progress of a stage; body of `POST /v1/progress`."""

    stage: WorkStage
    sequence: int = Field(ge=0, le=LARGEST_COUNT)
    """Increases with each report of a pod, so that a late report never overwrites a newer one."""
    fraction: float = Field(ge=0, le=1)
    step: str = Field(max_length=32)
    """Current step, one word: search, download, decode, load, separate, encode, upload."""
    step_fraction: float | None = Field(default=None, ge=0, le=1)
    """The stage's fraction when the current step was first reported; absent from older separators."""
    step_seconds: float | None = Field(default=None, ge=0)
    """Seconds from then until `fraction` was reached."""
    separation: LeasedSeparation | None = None
    """Required from workers; other pods have one SeparationJob."""


SEPARATE_STEP: Final = "separate"
"""Step in which the model runs, of the separate stage."""
UPLOAD_STEP: Final = "upload"
"""Step in which a stage's files are uploaded."""
LOADED_FRACTION: Final = 0.04
"""Fraction of the separate stage when the model is loaded."""
SEPARATED_FRACTION: Final = 0.97
"""Fraction of the separate stage when all audio is separated and encoded; the upload is left."""
_FETCH_SHARE: Final = 10.0


def overall_progress(stage: WorkStage, fraction: float) -> float:
    """Return the progress of the separation in percent: fetch is 0 to 10, separate 10 to 99; 100 means published."""
    if stage is WorkStage.FETCH:
        return round(_FETCH_SHARE * fraction, 1)
    return round(_FETCH_SHARE + (99.0 - _FETCH_SHARE) * fraction, 1)


class LinkRequest(WireModel):
    """A file that a stage requests to read or write."""

    file: str = Field(max_length=64, pattern=r"^[a-z0-9][a-z0-9._-]*$")
    method: Literal["GET", "PUT"]
    bytes: int | None = Field(default=None, ge=0)
    """Content length that a PUT link is signed for; required for PUT."""
    content_type: str | None = Field(default=None, max_length=64)
    """Sent for desks of older operators. The desk sets the type of each file, and the link requires it."""

    @model_validator(mode="after")
    def _put_states_its_length(self) -> Self:
        if self.method == "PUT" and self.bytes is None:
            raise ValueError("a PUT link needs `bytes`")
        return self


class LinksRequest(WireModel):
    """Body of `POST /v1/links`."""

    files: Annotated[list[LinkRequest], Field(min_length=1, max_length=16)]
    separation: LeasedSeparation | None = None
    """Required from workers; other pods have one SeparationJob."""


class Link(WireModel):
    """A presigned link; the request must carry exactly these headers."""

    file: str
    method: Literal["GET", "PUT"]
    key: str
    url: str
    headers: dict[str, str] = Field(default_factory=dict)


class Links(WireModel):
    """Response of `POST /v1/links`, in the order of the request."""

    links: list[Link]


class StoredFile(WireModel):
    """A file that a stage has written below its own prefix."""

    file: str
    bytes: int
    sha256: str


class MediaMetadata(WireModel):
    """Metadata of a recording; every field is optional."""

    title: str | None = None
    artist: str | None = None
    channel: str | None = None
    media_id: str | None = None
    """Canonical id such as `youtube:<id>`, stable across queries."""
    webpage_url: str | None = None


class Mark(WireModel):
    """Common fields of the commit marks: the run and pod that wrote it."""

    uid: str
    """uid of the SeparationJob."""
    run: int
    pod_uid: str


class SourceMark(Mark):
    """`source.json`, the commit mark of fetch: the audio and its measurements.

    The FLAC holds `source x 2^-exponent`; `mean` and `standard_deviation` (n - 1) are of the mono mix
    of the samples as written, computed in float64: demucs normalises with them.
    """

    audio: StoredFile
    sample_rate: int = Field(default=SAMPLE_RATE, gt=0)
    source_sample_rate: int | None = None
    """Sample rate of the source before decoding, in Hz."""
    channels: int = 2
    samples: int = Field(gt=0, le=LARGEST_COUNT)
    """Per channel."""
    exponent: int = Field(ge=1)
    peak: float = Field(ge=0)
    """Largest absolute value of the samples as written, at most 1."""
    mean: float
    standard_deviation: float = Field(ge=0)
    is_mono: bool = False
    """Whether both channels are the same, as those of a mono source are."""
    level: float | None = Field(default=None, ge=0)
    """Square root of the mean of both channels' variances, of the samples as written."""
    audio_sha256: str
    """SHA-256 of the decoded 24-bit samples, interleaved little-endian: equal audio has equal hashes."""
    invalid_samples: int = Field(default=0, ge=0)
    """Damaged samples of the source (NaN, infinite) that were replaced by silence."""
    is_cut: bool = False
    """Whether the source is damaged, so that its end is missing."""
    media: MediaMetadata = MediaMetadata()
    tags: dict[str, str] = Field(default_factory=dict)
    """Other tags of the source, by FFmpeg's names (`album`, `date`, `track`), for the stems."""
    candidates: list[Candidate] = Field(default_factory=list)
    received_bytes: int = Field(ge=0)
    received_sha256: str | None = None
    """SHA-256 of the encoded input."""
    versions: dict[str, str] = Field(default_factory=dict)
    """Versions of the libraries that downloaded and decoded it."""

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
    """Integrated loudness in LUFS (EBU R128), as published; None if nothing is above the gate."""
    true_peak: float | None = None
    """True peak in dBTP before lossy encoding; None for silence."""
    peaks: StoredFile | None = None
    """Waveform peaks of the stem, in the JSON format of `audiowaveform`."""


class Copied(WireModel):
    """The separation that stems were copied from."""

    name: str
    """Name of a SeparationJob of the same recording in the same namespace."""
    processing_seconds: float
    """Seconds that its run took."""


class JobRequest(WireModel):
    """What a SeparationJob requested: enough to rebuild it from the bucket alone."""

    namespace: str
    name: str
    source: Source
    quality: Quality = DEFAULT_QUALITY
    owner: str | None = None
    """Id of the API key it belongs to, if results are not shared between keys."""


class Manifest(Mark):
    """`manifest.json`, the commit mark of separate: written last, with all that verifying and reproducing need."""

    stems: dict[Stem, StemFile]
    source_audio_sha256: str
    media: MediaMetadata = MediaMetadata()
    engine: str
    model: str
    model_digest: str
    device: str
    output: Output
    gain_db: float
    """Gain applied to all stems before encoding."""
    real_time_factor: float
    """Seconds spent per second of audio, from the first sample read to the last stem encoded."""
    timings: dict[str, float] = Field(default_factory=dict)
    """Seconds per step."""
    network_seconds: float | None = Field(default=None, ge=0)
    """Seconds spent waiting for the engine's blocks; absent from older separators."""
    versions: dict[str, str] = Field(default_factory=dict)
    parameters: dict[str, float | str] = Field(default_factory=dict)
    """Parameters of the engine, such as threads, overlap and precision."""
    source_mark_sha256: str | None = None
    """SHA-256 of the `source.json` it was separated from."""
    copied: Copied | None = None
    """Set if the operator copied the stems of another separation; `podUid` is then the uid of that separation."""
    request: JobRequest | None = Field(default=None, alias="asked")
    published_at: datetime | None = None
    """When the manifest was written."""


class Outcome(WireModel):
    """Result of a stage, written to the termination message."""

    stage: WorkStage
    code: FailureCode | None = None
    """None if the stage succeeded."""
    message: str | None = None
    mark: MarkReference | None = None

    def dump(self) -> str:
        """Return JSON of at most `OUTCOME_LIMIT` bytes; the message is truncated to fit."""
        text = super().dump()
        if len(text.encode()) <= OUTCOME_LIMIT:
            return text
        room = OUTCOME_LIMIT - len(self.model_copy(update={"message": ""}).dump().encode())
        # JSON escapes take up to six bytes a character
        return self.model_copy(update={"message": (self.message or "")[: room // 6]}).dump()


def parse_outcome(text: str | None) -> Outcome | None:
    """Return the Outcome in a termination message, or None if there is no valid one."""
    if not text:
        return None
    try:
        return Outcome.model_validate_json(text.strip())
    except ValidationError:
        return None
