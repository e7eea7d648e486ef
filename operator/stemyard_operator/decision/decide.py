"""Decides what to do next about one SeparationJob, from everything that was observed of it. Pure.

The policies (`stages`, `failure_policy`, `deduplication`, `validation`) fill the draft of the status and return a step;
`finalize` turns both into the decision, once.
"""

from datetime import datetime, timedelta

from stemyard_contract.failures import FailureCode, Stage
from stemyard_contract.handover import WorkStage
from stemyard_contract.separationjob import ConditionType, Reason
from stemyard_operator.config.settings import Settings
from stemyard_operator.decision.actions import Decision, Step, query
from stemyard_operator.decision.artifacts import objects_of_result, objects_of_source
from stemyard_operator.decision.finalize import finalize
from stemyard_operator.decision.finished import decide_finished
from stemyard_operator.decision.stages import advance, stop_jobs
from stemyard_operator.decision.status import accept_source, complete, first_status
from stemyard_operator.decision.status_draft import HOLD_SECONDS, StatusDraft
from stemyard_operator.decision.usage import unread_ends
from stemyard_operator.decision.validation import refusal, shortened
from stemyard_operator.model.conditions import ended, holds, set_condition
from stemyard_operator.model.job import live_jobs
from stemyard_operator.model.observed import Observed


def decide(observed: Observed, now: datetime, settings: Settings) -> Decision:
    """Return the next step of one separation.

    Deterministic and idempotent: the same observed state always gives the same decision, and applying a decision twice
    has the same effect as applying it once. A crash anywhere in between is repaired by the next decision.
    """
    separation = observed.separation
    if separation.deleting:
        # somebody's finalizer may keep it for long; its Jobs must not keep their places
        return Decision(stop=tuple(job for job in live_jobs(observed.jobs) if job.deleted_at is None))
    if ended(separation):
        return decide_finished(observed, now, settings)
    current = separation.status.run == separation.spec.run
    status = separation.status.draft() if current else first_status(separation, settings.default_model)
    draft = StatusDraft(observed, now, settings, status)
    return finalize(draft, _next_step(draft))


def _next_step(draft: StatusDraft) -> Step:
    """Return the next step of a run; each policy in turn may give it."""
    previous_runs = [job for job in live_jobs(draft.observed.jobs) if job.run != draft.spec.run]
    step = stop_jobs(draft.observed, previous_runs, draft.now)
    if step is not None:
        return step
    if draft.spec.webhook_test:
        return draft.pass_test()
    unread = unread_ends(draft.observed, draft.now)
    if unread:
        return query(*unread)
    draft.note_start()
    step = _cancel(draft) or _validate(draft)
    if step is not None:
        return step
    if not draft.spec.suspend:
        draft.resume()
    if not holds(draft.status, ConditionType.FETCHED):
        step = advance(draft, WorkStage.FETCH)
        if step is not None:
            return step
        _accept_source(draft)
    return advance(draft, WorkStage.SEPARATE) or _publish(draft)


def _cancel(draft: StatusDraft) -> Step | None:
    """Return the step of a cancellation; it is too late once the separate Job has succeeded."""
    if not draft.spec.cancel:
        return None
    jobs = draft.observed.of_stage(WorkStage.SEPARATE)
    if jobs and jobs[-1].ended == "Complete" and not draft.status.attempt_over:
        return None
    draft.resume()
    stopping = stop_jobs(draft.observed, live_jobs(draft.observed.jobs), draft.now)
    return stopping or draft.fail(FailureCode.CANCELLED, draft.status.stage or Stage.CONTROL)


def _validate(draft: StatusDraft) -> Step | None:
    """Accept the spec, or end the run if this deployment cannot serve it."""
    if holds(draft.status, ConditionType.ACCEPTED):
        return None
    refused = refusal(draft.separation, draft.settings)
    if refused is None:
        message = shortened(draft.spec.deadlines, draft.deadlines)
        set_condition(draft.status, ConditionType.ACCEPTED, "True", Reason.VALID, draft.now, message)
        return None
    code, message = refused
    set_condition(draft.status, ConditionType.ACCEPTED, "False", Reason.INVALID, draft.now, message)
    return draft.fail(code, Stage.REQUEST, message)


def _accept_source(draft: StatusDraft) -> None:
    """Record what fetch found. Its time in the queue starts at its report or its Job's end, else now."""
    found = draft.observed.source
    if found is None:
        raise AssertionError("fetch is done only if its commit mark was found")
    jobs = draft.observed.of_stage(WorkStage.FETCH)
    reported = draft.observed.finished.get(jobs[-1].uid) if jobs else None
    ended_at = reported.at if reported is not None else jobs[-1].ended_at if jobs else None
    queued_at = ended_at or draft.now - timedelta(seconds=HOLD_SECONDS)
    accept_source(draft.status, found, draft.now, queued_at)
    if draft.is_retrying(WorkStage.SEPARATE):
        # its last attempt found that the store had lost the source
        draft.attempt_ends()


def _publish(draft: StatusDraft) -> Step:
    """Complete the run. The source audio is removed only after a write has recorded what was fetched."""
    found = draft.observed.manifest
    if found is None:
        raise AssertionError("separate is done only if its manifest was found")
    source, stored = draft.status.source, draft.separation.status
    if source is not None and source.sha256 not in {None, found.mark.source_audio_sha256}:
        # stems are copied to other separations of the same audio, so they must be of the audio that was accepted
        return draft.fail(FailureCode.ARTIFACT_MISMATCH, Stage.PUBLISH)
    if stored.run != draft.spec.run or not holds(stored, ConditionType.FETCHED):
        if found.mark.copied is not None:
            draft.waiting(WorkStage.SEPARATE, Reason.COPIED, f"Stems were copied from {found.mark.copied.name}.")
            draft.urgent = True
        else:
            draft.working(WorkStage.SEPARATE, Reason.RUNNING)
        return Step(requeue_after=0)
    remove = (
        *objects_of_result(stored, draft.settings.stemyard_install_id),
        *objects_of_source(draft.status, draft.observed.unneeded_upload, draft.settings.stemyard_install_id),
    )
    complete(draft.status, found, draft.now)
    draft.freeze_webhooks()
    return Step(requeue_after=draft.spec.ttl_seconds_after_finished, remove=remove)
