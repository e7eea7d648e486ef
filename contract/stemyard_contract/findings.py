"""The source and result of a separation, as recorded in its status."""

from enum import StrEnum
from typing import Annotated

from pydantic import Field

from stemyard_contract.resource import Value


class Stem(StrEnum):
    """One part of a mix."""

    VOCALS = "vocals"
    INSTRUMENTAL = "instrumental"
    DRUMS = "drums"
    BASS = "bass"
    OTHER = "other"
    GUITAR = "guitar"
    PIANO = "piano"


class Candidate(Value):
    """A search result."""

    media_id: Annotated[str, Field(max_length=128)]
    """Canonical id of the recording."""
    title: Annotated[str, Field(max_length=256)] = ""
    """Title of the recording."""
    channel: Annotated[str, Field(max_length=256)] | None = None
    """Channel that published it."""
    duration: float | None = None
    """Seconds."""
    score: float = 0.0
    """How well it matches the query; the highest score is chosen."""
    reason: Annotated[str, Field(max_length=128)] | None = None
    """What the score is made of, human-readable."""
    chosen: bool = False
    """Whether this result was chosen."""


class SourceStatus(Value):
    """Recording that was fetched."""

    title: Annotated[str, Field(max_length=256)] | None = None
    """Title of the recording."""
    artist: Annotated[str, Field(max_length=256)] | None = None
    """Artist of the recording."""
    channel: Annotated[str, Field(max_length=256)] | None = None
    """Channel that published it."""
    duration: float | None = None
    """Seconds."""
    media_id: Annotated[str, Field(max_length=128)] | None = None
    """Canonical id of the recording."""
    sha256: Annotated[str, Field(max_length=64)] | None = None
    """SHA-256 of the decoded samples."""
    mark_key: Annotated[str, Field(max_length=512)] | None = None
    """Object key of the accepted `source.json`."""
    mark_sha256: Annotated[str, Field(max_length=64)] | None = None
    """SHA-256 of the accepted `source.json`."""
    candidates: Annotated[list[Candidate], Field(max_length=10)] | None = None
    """Search results, best first."""


class StemStatus(Value):
    """One published stem."""

    key: Annotated[str, Field(max_length=512)]
    """Object key of the file."""
    bytes: Annotated[int, Field(ge=0)]
    """Size of the file."""
    sha256: Annotated[str, Field(max_length=64)]
    """SHA-256 of the file."""
    duration: float
    """Seconds."""
    lufs: float | None = None
    """Integrated loudness in LUFS (EBU R128); absent for silence."""
    true_peak: float | None = None
    """True peak in dBTP; absent for silence."""
    peaks_key: Annotated[str, Field(max_length=512)] | None = None
    """Object key of its waveform peaks, in the JSON format of `audiowaveform`."""


class ResultStatus(Value):
    """Published stems."""

    stems: Annotated[dict[Stem, StemStatus], Field(max_length=8)]
    """Published stems by name."""
    manifest_key: Annotated[str, Field(max_length=512)]
    """Object key of `manifest.json`."""
    model: Annotated[str, Field(max_length=64)]
    """Name of the model."""
    model_digest: Annotated[str, Field(max_length=80)]
    """Digest of the model's weights."""
    real_time_factor: float
    """Seconds spent per second of audio."""
    device: Annotated[str, Field(max_length=128)]
    """Device the model ran on, for example `cpu` or the name of a GPU."""
    copied_from: Annotated[str, Field(max_length=63)] | None = None
    """Name of the SeparationJob of the same recording that the stems were copied from; absent if separated here."""
    processing_seconds: Annotated[float, Field(ge=0)] | None = None
    """Seconds that the original run of copied stems took; absent if separated here."""
