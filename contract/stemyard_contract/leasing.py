"""Protocol between operator and workers: pods that separate several songs, each leased to them at the desk."""

from typing import Annotated, Final

from pydantic import Field

from stemyard_contract.findings import Stem
from stemyard_contract.handover import Outcome, WireModel
from stemyard_contract.quality import DEFAULT_QUALITY, Quality

DESK_LEASE_PATH: Final = "/v1/lease"
"""Answers 200 with an Assignment, or 204 if there was no song within `LEASE_WAIT_SECONDS`."""
LEASE_WAIT_SECONDS: Final = 2.0
"""How long the desk waits for a song."""
LEASE_LOST: Final = 409
"""HTTP status of the desk's refusal of a request about a song that the worker does not hold, or no longer."""
WORKER_VARIABLE: Final = "STEMYARD_WORKER"
"""Environment variable with the WorkerAssignment as JSON."""
PUBLISHING_LIMIT: Final = 3
"""Most songs of a worker that are encoded and uploaded beside the one at work: a network that computes 300 seconds of
audio in one outruns a song's encoders, each of which has one core."""
HELD_LIMIT: Final = 10
"""Most songs that a worker holds at a time: prefetched, at work, and being published."""


class WorkerAssignment(WireModel):
    """Everything a worker needs to know before it gets a song: the engine that all its songs need, and its bounds."""

    shape: str
    """Digest of what its songs have in common; the desk leases it no others."""
    model: str
    quality: Quality = DEFAULT_QUALITY
    stems: list[Stem]
    desk_url: str
    """Base URL of the desk, without a trailing slash."""
    songs: int = Field(gt=0)
    """Songs after which it ends."""
    idle_seconds: float = Field(ge=0)
    """Seconds without a song after which it ends."""
    max_seconds: float = Field(gt=0)
    """Seconds after which it asks for no more songs."""
    prefetch: int = Field(ge=0, le=HELD_LIMIT - 1 - PUBLISHING_LIMIT)
    """Songs that are downloaded while another one is separated."""


class SongEnd(WireModel):
    """The end of a leased song, as its worker reports it."""

    uid: str = Field(max_length=64)
    """uid of the SeparationJob."""
    run: int
    outcome: Outcome


class LeaseRequest(WireModel):
    """Body of `POST /v1/lease`.

    It may be repeated: a song that is leased to the pod, but is neither held nor ended according to its request, is
    answered again, and an end that was recorded already changes nothing.
    """

    shape: str = Field(max_length=64)
    wanted: bool = True
    """Whether the worker has room for another song; otherwise the answer is 204 at once."""
    holding: Annotated[list[Annotated[str, Field(max_length=64)]], Field(max_length=HELD_LIMIT, default_factory=list)]
    """uids of the SeparationJobs that the worker holds."""
    ended: Annotated[list[SongEnd], Field(max_length=HELD_LIMIT, default_factory=list)]
    """Ends that have not been acknowledged by an answer."""
    starting_seconds: float | None = Field(default=None, ge=0)
    """Age of the process, until it has got its first song: the start counts as time that this song held the device."""
    idle_seconds: float = Field(default=0, ge=0)
    """Seconds without a song since the last request that was answered."""
