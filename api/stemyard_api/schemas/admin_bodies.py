"""Bodies of the routes for admins."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, StrictInt
from typing_extensions import TypedDict

from stemyard_api.auth.api_keys import HIGHEST_PRIORITY
from stemyard_api.schemas.integers import WHOLE
from stemyard_api.schemas.responses import KeyUsage, Status, Summary
from stemyard_contract.failures import FailureCode


class PriorityRequest(BaseModel):
    """A new priority; unknown fields are ignored."""

    model_config = ConfigDict(
        extra="ignore", use_attribute_docstrings=True, json_schema_extra={"examples": [{"priority": 10}]}
    )

    priority: Annotated[StrictInt, Field(ge=-HIGHEST_PRIORITY, le=HIGHEST_PRIORITY), WHOLE]
    """Waiting separations of higher priority start first. The API key may limit it."""


class Prioritised(TypedDict):
    """A track and its priority; that of a track that has ended did not change."""

    track_id: str
    status: Status
    priority: int


class QueueCount(TypedDict):
    """Tracks under way of one namespace and profile.

    `waiting` counts the phases Pending and Queued, `running` Fetching and Separating.
    """

    namespace: str
    profile: str
    waiting: int
    running: int
    suspended: int


class HourCount(TypedDict):
    """Tracks that ended within an hour from `start`, in epoch seconds; `failed` includes cancelled ones."""

    start: float
    completed: int
    failed: int


class FailureCount(TypedDict):
    """Failed tracks by code; cancelled ones have the code `CANCELLED`."""

    code: FailureCode
    tracks: int


class OverviewTrack(Summary):
    """A track with what concerns its place in the queue, and the ids of the keys that requested it.

    `changeable` is false for a track of another namespace, which only kubectl reaches. `cancelling` is true until a
    cancelled track has ended.
    """

    namespace: str
    profile: str
    priority: int
    key_ids: list[str]
    cancelling: bool
    changeable: bool


class Overview(TypedDict):
    """The whole installation at one time, `at`. Times are epoch seconds.

    What has ended is counted from `since`, the start of the hour 23 hours ago. `waiting`, `running`, `suspended`,
    `completed`, `failed` and `hours` count every track; `queue`, `failures` and `usage` at most 5,000 under way, 5,000
    completed and 5,000 failed ones. `complete` is false if there are more, if they have not all been read yet, or if
    the operator has not listed all tracks in the mirror yet. Deleted tracks are not counted.
    """

    at: float
    since: float
    complete: bool
    waiting: int
    running: int
    suspended: int
    completed: int
    failed: int
    queue: list[QueueCount]
    hours: list[HourCount]
    failures: list[FailureCount]
    usage: list[KeyUsage]
    running_tracks: list[OverviewTrack]
    waiting_tracks: list[OverviewTrack]
    failed_tracks: list[OverviewTrack]
