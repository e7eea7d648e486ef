"""The one decision: what to do next about one separation, from all that is known of it. Pure."""

from datetime import datetime, timedelta

from stemyard_contract.failures import FailureCode, Stage
from stemyard_contract.handover import WorkStage
from stemyard_contract.separationjob import ConditionType, Reason
from stemyard_operator.config.settings import Settings
from stemyard_operator.decision.actions import Decision
from stemyard_operator.decision.artifacts import objects_of_result, objects_of_source
from stemyard_operator.decision.finished import after_the_end
from stemyard_operator.decision.stages import advance, stopping
from stemyard_operator.decision.status import accept_source, complete, first_status
from stemyard_operator.decision.status_draft import HOLD_SECONDS, StatusDraft
from stemyard_operator.decision.validation import refusal
from stemyard_operator.model.conditions import ended, holds, set_condition
from stemyard_operator.model.job import live_jobs
from stemyard_operator.model.observed import Observed


def decide(observed: Observed, now: datetime, settings: Settings) -> Decision:
    """Return the next step of one separation.

    The same world always gives the same decision, and carrying a decision out twice does what carrying it out once
    does: a crash anywhere between is repaired by deciding again.
    """
    separation = observed.separation
    if separation.deleting:
        return Decision()
    if ended(separation):
        return after_the_end(observed, now, settings)
    others = [job for job in live_jobs(observed.jobs) if job.run != separation.spec.run]
    waiting = stopping(observed, others, now)
    if waiting is not None:
        return waiting
    current = separation.status.run == separation.spec.run
    status = separation.status.draft() if current else first_status(separation, settings.default_model)
    turn = StatusDraft(observed, now, settings, status)
    return turn.end_test() if separation.spec.webhook_test else _at_work(turn)


def _at_work(turn: StatusDraft) -> Decision:
    turn.note_start()
    cancelled = _cancelled(turn)
    if cancelled is not None:
        return cancelled
    refused = _refused(turn)
    if refused is not None:
        return refused
    if not turn.spec.suspend:
        turn.resume()
    if not holds(turn.status, ConditionType.FETCHED):
        step = advance(turn, WorkStage.FETCH)
        if step is not None:
            return step
        _fetched(turn)
    return advance(turn, WorkStage.SEPARATE) or _published(turn)


def _cancelled(turn: StatusDraft) -> Decision | None:
    """Return the steps of a cancellation; a run whose separate Job has ended well is past it."""
    if not turn.spec.cancel:
        return None
    jobs = turn.observed.of_stage(WorkStage.SEPARATE)
    if jobs and jobs[-1].ended == "Complete" and turn.status.retry_at is None:
        return None
    turn.resume()
    waiting = stopping(turn.observed, live_jobs(turn.observed.jobs), turn.now)
    return waiting or turn.end(FailureCode.CANCELLED, turn.status.stage or Stage.CONTROL)


def _refused(turn: StatusDraft) -> Decision | None:
    if holds(turn.status, ConditionType.ACCEPTED):
        return None
    refused = refusal(turn.spec, turn.settings)
    if refused is None:
        set_condition(turn.status, ConditionType.ACCEPTED, "True", Reason.VALID, turn.now)
        return None
    code, message = refused
    set_condition(turn.status, ConditionType.ACCEPTED, "False", Reason.INVALID, turn.now, message)
    return turn.end(code, Stage.REQUEST, message)


def _fetched(turn: StatusDraft) -> None:
    """Take over what fetch found. Waiting began when its Job ended, or now where that is not known."""
    found = turn.observed.source
    if found is None:
        raise AssertionError("fetch is done only when its mark was found")
    jobs = turn.observed.of_stage(WorkStage.FETCH)
    ended_at = jobs[-1].ended_at if jobs else None
    queued_at = ended_at or turn.now - timedelta(seconds=HOLD_SECONDS)
    accept_source(turn.status, found, turn.now, queued_at)


def _published(turn: StatusDraft) -> Decision:
    """End the run well. The source goes first, and only once a write has kept what is known of it."""
    found = turn.observed.manifest
    if found is None:
        raise AssertionError("separate is done only when its manifest was found")
    stored = turn.separation.status
    if stored.run != turn.spec.run or not holds(stored, ConditionType.FETCHED):
        if found.mark.copied is not None:
            turn.waits(WorkStage.SEPARATE, Reason.COPIED, f"Stems were copied from {found.mark.copied.name}.")
            turn.urgent = True
        else:
            turn.works(WorkStage.SEPARATE, Reason.RUNNING)
        return turn.step(0)
    remove = (
        *objects_of_result(stored),
        *objects_of_source(turn.spec, turn.status, turn.settings.stemyard_install_id),
    )
    complete(turn.status, found, turn.now)
    turn.freeze_webhooks()
    return turn.step(turn.spec.ttl_seconds_after_finished, remove=remove)
