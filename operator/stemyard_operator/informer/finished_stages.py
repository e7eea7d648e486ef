"""What separator pods reported to the desk: that their stage's commit mark is written."""

from collections.abc import Callable, Mapping
from datetime import datetime

from stemyard_contract.handover import MarkReference
from stemyard_operator.model.observed import StageFinished


class FinishedStages:
    """Kept in memory only: without it, the end of the Job decides.

    Args:
        requeue: queues a SeparationJob, by its uid, to be reconciled now.
        now: the API server's clock.
    """

    def __init__(self, requeue: Callable[[str], None], now: Callable[[], datetime]) -> None:
        self._requeue = requeue
        self._now = now
        self._reported: dict[str, dict[str, StageFinished]] = {}

    def report(self, owner: str, job: str, reference: MarkReference) -> None:
        """Keep the report of a pod of a Job, and requeue its SeparationJob; both by uid."""
        self._reported.setdefault(owner, {})[job] = StageFinished(reference, self._now())
        self._requeue(owner)

    def of(self, owner: str) -> Mapping[str, StageFinished]:
        """Return the reports about a SeparationJob's Jobs, by uid of the Job."""
        return dict(self._reported.get(owner, {}))

    def reject(self, owner: str, job: str) -> None:
        """Drop the report about a Job: the mark did not verify."""
        self._reported.get(owner, {}).pop(job, None)

    def forget(self, owner: str) -> None:
        """Drop the reports about a SeparationJob."""
        self._reported.pop(owner, None)
