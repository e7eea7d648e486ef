"""The documented form of a track's state: one object whose `status` says which fields it has.

Client generators disagree about unions: some cast any state to any member of a union, some cannot read a member whose
discriminator is one of its own fields. The states themselves are those of `responses`, which are narrower.
"""

from typing import Literal, NotRequired, Required

from typing_extensions import TypedDict

from stemyard_api.schemas.responses import Details, LinkFields, MetadataField, Result, Status
from stemyard_contract.failures import FailureCode
from stemyard_contract.handover import WorkStage
from stemyard_contract.separationjob import Phase


class _StateFields(Details, LinkFields, total=False):
    ended_at: float
    result: Result
    processing_time: float
    error: str
    code: FailureCode
    retryable: bool
    last_progress: float


class Job(_StateFields):
    """A track's state; `status` says which one. Times are epoch seconds, `progress` is in percent.

    `processing`: it waits or runs. `queue_position` counts waiting tracks from 1, by priority and age; namespaces share
    the workers fairly, so others may start first; a track has none while it is downloaded. `eta_seconds` is estimated
    from past separations and, once it is being separated, from its own pace. Both are absent if unknown.

    `completed`: `result` has the links, `ended_at` and `processing_time` are set, `progress` is 100.

    `failed`: the last run failed or was cancelled. `error` is a sentence for people, `code` is for programs, and
    `retryable` says whether a retry may help; `progress` is 0, and `last_progress` is what it was before.
    """

    status: Status
    track_id: str
    created_at: float
    started_at: float
    progress: float


class Separation(LinkFields, MetadataField, total=False):
    """What became of a request: `processing` with a `message`, or `completed` with the `result`."""

    status: Required[Literal["processing", "completed"]]
    track_id: Required[str]
    created_at: Required[float]
    message: str
    result: Result
    processing_time: float
    cached: bool


class _Change(TypedDict):
    uid: str
    run: int
    phase: Phase
    progress: float
    stage: NotRequired[WorkStage]
    step: NotRequired[str]
    reason: NotRequired[str]
    at: float


class PhaseEvent(_Change):
    """Data of an event `phase`: the phase, or the run, is another."""

    kind: Literal["phase"]


class ProgressEvent(_Change):
    """Data of an event `progress`: the separation has come further within a phase."""

    kind: Literal["progress"]


class EndEvent(_StateFields, total=False):
    """Data of the event `end`: the final state, as of a Job; if the track was deleted, only its `status`."""

    status: Required[Literal["completed", "failed", "deleted"]]
    track_id: str
    created_at: float
    started_at: float
    progress: float


STREAM_EVENTS = {"snapshot": Job, "phase": PhaseEvent, "progress": ProgressEvent, "end": EndEvent}
"""Events of a stream and the type of their data."""
