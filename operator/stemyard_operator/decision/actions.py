"""Queries and actions of a decision. The reconciler answers the queries and applies the actions."""

from dataclasses import dataclass

from stemyard_contract.handover import MarkReference, WorkStage
from stemyard_contract.outbox import WebhookStatus
from stemyard_contract.separationjob import SeparationJobStatus
from stemyard_operator.jobs.manifest import Creation
from stemyard_operator.model.job import Job


@dataclass(frozen=True, slots=True)
class FindMark:
    """Find the commit mark of a stage, at `reference` if one is given."""

    stage: WorkStage
    reference: MarkReference | None = None
    any_run: bool = False
    """Whether the mark of an earlier run is accepted; only with a reference from the status."""


@dataclass(frozen=True, slots=True)
class VerifyFinished:
    """Verify the commit mark that the pod of a live Job reports to have written.

    If it does not verify, or the store does not answer, the report is dropped: the end of the Job decides.
    """

    job: Job
    reference: MarkReference

    @property
    def search(self) -> FindMark:
        """The search for that mark, at its key only."""
        return FindMark(self.job.stage, self.reference)


@dataclass(frozen=True, slots=True)
class ReadPods:
    """Read the pods of a Job."""

    job: Job


@dataclass(frozen=True, slots=True)
class ConfirmJobAbsent:
    """Confirm with the API server that a Job does not exist."""

    name: str


@dataclass(frozen=True, slots=True)
class ReadWorkload:
    """Read Kueue's Workload of a Job."""

    job: Job


Query = FindMark | VerifyFinished | ReadPods | ConfirmJobAbsent | ReadWorkload


@dataclass(frozen=True, slots=True)
class CopyStems:
    """Copy the stems of another separation."""

    name: str
    uid: str
    manifest_key: str
    processing_seconds: float


@dataclass(frozen=True, slots=True)
class Step:
    """What a policy wants done next. The status is not part of it: `decide` finalizes the draft once, at its end."""

    queries: tuple[Query, ...] = ()
    remove: tuple[str, ...] = ()
    copy: CopyStems | None = None
    create: Creation | None = None
    stop: tuple[Job, ...] = ()
    waiting_for: WorkStage | None = None
    waiting_shape: str = ""
    requeue_after: float | None = None
    write: bool = True
    """Whether the status may be written with this step; False while queries or stopping Jobs come first."""


@dataclass(frozen=True, slots=True)
class Decision:
    """The next step of one separation.

    A decision with `queries` has nothing else: answer them and decide again. Otherwise the fields are applied in this
    order. A crash after any of them leads the next decision to the same end.
    """

    queries: tuple[Query, ...] = ()
    remove: tuple[str, ...] = ()
    """Keys and prefixes (with a trailing slash) of objects that are no longer needed."""
    copy: CopyStems | None = None
    create: Creation | None = None
    status: SeparationJobStatus | None = None
    recorded: tuple[str, ...] = ()
    """Ids of the webhook deliveries whose results the status contains."""
    stop: tuple[Job, ...] = ()
    deliver: tuple[WebhookStatus, ...] = ()
    """Webhooks to attempt; all of them are stored as due."""
    delete: bool = False
    """Whether to delete the SeparationJob: its TTL has expired."""
    waiting_for: WorkStage | None = None
    """Stage whose Job would be created if a slot were free."""
    waiting_shape: str = ""
    """Shape of the workers that may take the song, "" if it does not wait for one."""
    requeue_after: float | None = None
    """Seconds until the next decision, None if only an event can change anything."""


def query(*queries: Query) -> Step:
    """Return the step that needs answers first."""
    return Step(queries=queries, write=False)
