"""What the tools return: a selection of the API's answers, with words for the agent."""

from typing import Any, Literal, Self

from pydantic import BaseModel, Field

from stemyard_client import Capabilities, Job
from stemyard_contract.failures import FailureCode
from stemyard_contract.remedies import REMEDIES

Status = Literal["processing", "completed", "failed", "deleted"]


class Track(BaseModel):
    """The state of a separation."""

    track_id: str = Field(description="Its id, which the other tools take.")
    status: Status = Field(description="Nothing more happens to one that is not processing.")
    progress: float = Field(description="Percent.")
    phase: str | None = None
    reason: str | None = Field(None, description="Why it waits or failed.")
    queue_position: int | None = Field(None, description="Its place among those that wait.")
    eta_seconds: int | None = Field(None, description="Estimated seconds until its end.")
    title: str | None = None
    artist: str | None = None
    query: str | None = None
    model: str | None = None
    stems: list[str] | None = None
    error: str | None = Field(None, description="What went wrong, for the user.")
    code: str | None = Field(None, description="Stable code of the failure.")
    retryable: bool | None = None
    next: str = Field(description="What to do next.")

    @classmethod
    def of(cls, job: Job) -> Self:
        """Return the state as the API reports it."""
        known = {name: getattr(job, name) for name in cls.model_fields if name != "next"}
        return cls(**known, next=_next(job))


class Tracks(BaseModel):
    """Separations of this key, newest first."""

    tracks: list[Track]


class Links(BaseModel):
    """Links to the stems of a completed separation. Whoever has a link can download the file."""

    track_id: str
    links: dict[str, str] = Field(description="Link to each stem by its name.")
    expires_at: float | None = Field(None, description="When the links end, in epoch seconds; null if they do not.")


class Cancellation(BaseModel):
    """What a cancellation did."""

    track_id: str
    cancelled: bool = Field(description="False if it had ended, or if other keys want it too.")
    status: str


class Model(BaseModel):
    """A model."""

    name: str
    stems: list[str] = Field(description="What it can separate.")
    qualities: list[str]
    default: bool


class Models(BaseModel):
    """What this installation offers to this key."""

    models: list[Model]
    formats: list[str] = Field(description="Formats of stems.")
    sources: dict[str, Any] = Field(description="Kinds of sources and whether they are enabled, and limits of files.")
    scopes: list[str] = Field(description="What this key may do: submit, read, admin.")

    @classmethod
    def of(cls, offered: Capabilities) -> Self:
        """Return the offer as the API reports it."""
        named = ("name", "stems", "qualities", "default")
        return cls(
            models=[Model(**{name: getattr(one, name) for name in named}) for one in offered.models],
            formats=[str(one["name"]) for one in offered.formats if "name" in one],
            sources=offered.sources,
            scopes=offered.key.scopes,
        )


def _next(job: Job) -> str:
    match job.status:
        case "processing":
            return "Call wait with this track_id."
        case "completed":
            return "Call download_links with this track_id."
        case "deleted":
            return "It was deleted; call separate again if it is wanted."
        case "failed":
            known = REMEDIES.get(FailureCode(job.code)) if job.code in set(FailureCode) else None
            return known.action if known is not None else "Tell the user the error."
