"""What a track's stream of events is told, made from the records that the mirror is given. Pure."""

from stemyard_contract.handover import WorkStage
from stemyard_contract.mirror import EventRecord, MirrorRecord, ProgressRecord
from stemyard_contract.separationjob import Phase


def change_of(record: MirrorRecord, at: float) -> EventRecord:
    """Return the event of a track's new phase or run.

    Args:
        record: what the mirror holds from now on.
        at: epoch seconds.
    """
    current = record.status_run == record.run
    return EventRecord(
        kind="phase",
        uid=record.uid,
        run=record.run,
        # a run that was only asked for has come no further than that
        phase=record.phase if current else Phase.PENDING,
        progress=record.progress if current else 0,
        stage=WorkStage(record.stage) if current and record.stage in set(WorkStage) else None,
        reason=record.reason if current else None,
        at=at,
    )


def advance_of(progress: ProgressRecord) -> EventRecord:
    """Return the event of progress within a phase."""
    return EventRecord(
        kind="progress",
        uid=progress.uid,
        run=progress.run,
        phase=Phase.FETCHING if progress.stage is WorkStage.FETCH else Phase.SEPARATING,
        progress=progress.progress,
        stage=progress.stage,
        step=progress.step,
        at=progress.at,
    )
