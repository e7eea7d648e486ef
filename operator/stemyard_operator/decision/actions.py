"""What a decision may ask and order; `reconcile` answers and carries out, in the order of the fields."""

from dataclasses import dataclass

from stemyard_contract.handover import MarkReference, WorkStage
from stemyard_contract.outbox import WebhookStatus
from stemyard_contract.separationjob import SeparationJobStatus
from stemyard_operator.jobs.manifest import Creation
from stemyard_operator.model.job import Job


@dataclass(frozen=True, slots=True)
class LookForMark:
    """Is there a commit mark of this stage? `reference` says where, if somebody said so."""

    stage: WorkStage
    reference: MarkReference | None = None
    any_run: bool = False
    """Whether the mark of an earlier run will do; only with a reference that the status holds."""


@dataclass(frozen=True, slots=True)
class ReadPods:
    """How are the pods of this Job?"""

    job: Job


@dataclass(frozen=True, slots=True)
class ConfirmAbsent:
    """Does the API server agree that this Job is not there?"""

    name: str


@dataclass(frozen=True, slots=True)
class ReadWorkload:
    """Why does Kueue hold this Job?"""

    job: Job


Question = LookForMark | ReadPods | ConfirmAbsent | ReadWorkload


@dataclass(frozen=True, slots=True)
class Copy:
    """Stems of another separation to copy."""

    name: str
    uid: str
    manifest_key: str
    processing_seconds: float


@dataclass(frozen=True, slots=True)
class Decision:
    """One step of one separation.

    With `questions`, nothing else is set: answer and decide again. The rest is carried out in this order, and a
    crash after any of it leads the next decision to the same end.
    """

    questions: tuple[Question, ...] = ()
    remove: tuple[str, ...] = ()
    """Prefixes (with a trailing slash) and keys of objects that nobody needs any more."""
    copy: Copy | None = None
    create: Creation | None = None
    status: SeparationJobStatus | None = None
    recorded: tuple[str, ...] = ()
    """Ids of the deliveries whose outcome the status tells."""
    stop: tuple[Job, ...] = ()
    deliver: tuple[WebhookStatus, ...] = ()
    """Webhooks to attempt, all of them stored as due."""
    delete: bool = False
    """Whether the SeparationJob itself has outlived its time."""
    waits_for: WorkStage | None = None
    """Stage that it would start a Job of, were there room."""
    again_in: float | None = None
    """Seconds after which to decide again, None when only an event can change anything."""


def ask(*questions: Question) -> Decision:
    """Return the decision that first needs answers."""
    return Decision(questions=questions)
