"""A SeparationJob as commands read it."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Self

from pydantic import ValidationError

from stemyard_client import Job
from stemyard_contract.separationjob import (
    TERMINAL_PHASES,
    Phase,
    SeparationJobSpec,
    SeparationJobStatus,
    display_query,
    requested_run,
)
from stemyard_kubectl.errors import InvalidError


@dataclass(frozen=True, slots=True)
class Separation:
    """A SeparationJob, read by this version's types."""

    namespace: str
    name: str
    generation: int
    created: datetime
    spec: SeparationJobSpec
    status: SeparationJobStatus
    """Empty if it describes an earlier run than the requested one."""

    @classmethod
    def of(cls, resource: dict[str, Any]) -> Self:
        """Return a SeparationJob as the API server has it.

        Raises:
            InvalidError: it was stored by another version of the CRD, and cannot be read.
        """
        metadata = resource["metadata"]
        try:
            spec = SeparationJobSpec.model_validate(resource["spec"])
            status = SeparationJobStatus.model_validate(resource.get("status") or {})
        except ValidationError:
            raise InvalidError(f"{metadata['name']} is of another version of Stemyard; update this program.") from None
        if (status.run or 1) < requested_run(spec, status):
            status = SeparationJobStatus()
        created = datetime.fromisoformat(metadata["creationTimestamp"])
        return cls(metadata["namespace"], metadata["name"], metadata["generation"], created, spec, status)

    @property
    def phase(self) -> Phase | None:
        """Its phase; None while no operator has read the requested run."""
        return self.status.phase

    @property
    def ended(self) -> bool:
        """Whether the requested run has ended."""
        return self.phase in TERMINAL_PHASES

    @property
    def waits(self) -> bool:
        """Whether it waits for a slot, a pod or a retry."""
        return self.phase in {None, Phase.PENDING, Phase.QUEUED}

    @property
    def title(self) -> str:
        """The recording, or the source while it is not known."""
        known = self.status.source
        named = " - ".join(text for text in (known.artist, known.title) if text) if known is not None else ""
        return named or self.status.title or display_query(self.spec.source)

    @property
    def order(self) -> tuple[int, float]:
        """Sort key within its namespace: priority, then age."""
        return (-self.spec.priority, self.created.timestamp())

    def as_job(self, place: int | None = None) -> Job:
        """Return its state as the client has it, for the boards that show progress."""
        phase = self.phase
        failure = self.status.failure
        status = "completed" if phase is Phase.COMPLETED else "failed" if self.ended else "processing"
        return Job(
            status=status,
            track_id=self.status.track_id or self.name,
            progress=float(self.status.progress or 0),
            phase=str(phase or Phase.PENDING),
            reason=self.status.reason,
            queue_position=place if self.waits else None,
            error=failure.message if failure is not None else None,
            code=failure.code if failure is not None else None,
        )
