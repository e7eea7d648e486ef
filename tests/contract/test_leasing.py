"""What passes between operator and workers survives the way there and back, and older parts understand it."""

from datetime import UTC, datetime

import pytest
from pydantic import ValidationError

from stemyard_contract.failures import FailureCode
from stemyard_contract.handover import (
    Finished,
    LeasedSeparation,
    LinkRequest,
    LinksRequest,
    MarkReference,
    Outcome,
    Progress,
    WorkStage,
)
from stemyard_contract.leasing import HELD_LIMIT, LeaseRequest, SongEnd, WorkerAssignment
from stemyard_contract.separationjob import (
    AttemptsStatus,
    Condition,
    ConditionType,
    Phase,
    Reason,
    SeparationJobStatus,
    Stem,
    phase_of,
)

START = datetime(2026, 11, 22, 12, tzinfo=UTC)
SONG = LeasedSeparation(name="sep-x", uid="u")
MARK = MarkReference(key="k", sha256="0" * 64)
WORKER = WorkerAssignment(
    shape="0123456789",
    model="htdemucs",
    stems=[Stem.VOCALS],
    desk_url="http://desk",
    songs=50,
    idle_seconds=20,
    max_seconds=3600,
    prefetch=1,
)


def test_an_assignment_of_a_worker_survives_the_environment() -> None:
    assert WorkerAssignment.model_validate_json(WORKER.dump()) == WORKER
    assert '"idleSeconds":20' in WORKER.dump()


@pytest.mark.parametrize("bound", [{"songs": 0}, {"max_seconds": 0}, {"idle_seconds": -1}, {"prefetch": HELD_LIMIT}])
def test_a_worker_has_bounds(bound: dict[str, int]) -> None:
    with pytest.raises(ValidationError):
        WorkerAssignment.model_validate({**WORKER.model_dump(), **bound})


def test_a_request_reports_what_ended_and_what_is_held() -> None:
    failed = SongEnd(uid="u", run=2, outcome=Outcome(stage=WorkStage.SEPARATE, code=FailureCode.OUT_OF_MEMORY))
    sent = LeaseRequest(shape="s", wanted=False, holding=["v"], ended=[failed], idle_seconds=1)
    assert LeaseRequest.model_validate_json(sent.dump()) == sent


@pytest.mark.parametrize("field", ["holding", "ended"])
def test_a_request_names_a_bounded_number_of_songs(field: str) -> None:
    outcome = {"stage": "separate"}
    one = {"holding": "u", "ended": {"uid": "u", "run": 1, "outcome": outcome}}[field]
    LeaseRequest.model_validate({"shape": "s", field: [one] * HELD_LIMIT})
    with pytest.raises(ValidationError):
        LeaseRequest.model_validate({"shape": "s", field: [one] * (HELD_LIMIT + 1)})


def test_a_worker_says_which_song_a_request_is_about() -> None:
    links = LinksRequest(files=[LinkRequest(file="source.json", method="GET")], separation=SONG)
    assert LinksRequest.model_validate_json(links.dump()).separation == SONG
    progress = Progress(stage=WorkStage.SEPARATE, sequence=1, fraction=0.5, step="separate", separation=SONG)
    assert Progress.model_validate_json(progress.dump()).separation == SONG
    finished = Finished(stage=WorkStage.SEPARATE, mark=MARK, separation=SONG)
    assert Finished.model_validate_json(finished.dump()).separation == SONG


def test_other_pods_send_what_they_always_sent() -> None:
    assert "separation" not in Finished(stage=WorkStage.SEPARATE, mark=MARK).dump()


def test_a_lease_is_a_part_of_the_status() -> None:
    text = {"lease": {"podUid": "p", "since": "2026-11-22T12:00:00Z", "attempt": 2}, "attempts": {"alone": True}}
    status = SeparationJobStatus.model_validate(text)
    assert status.lease is not None
    assert (status.lease.pod_uid, status.lease.since, status.lease.attempt) == ("p", START, 2)
    assert status.dump()["lease"] == text["lease"]
    assert AttemptsStatus().alone is None


@pytest.mark.parametrize(
    ("admitted", "reason", "phase"),
    [("False", Reason.WAITING_FOR_WORKER, Phase.QUEUED), ("True", Reason.LEASED, Phase.SEPARATING)],
)
def test_a_song_is_queued_until_a_worker_holds_it(admitted: str, reason: Reason, phase: Phase) -> None:
    told = [(ConditionType.FETCHED, "True", Reason.SUCCEEDED), (ConditionType.ADMITTED, admitted, reason)]
    conditions = [
        Condition.model_validate({"type": kind, "status": value, "reason": why, "lastTransitionTime": START})
        for kind, value, why in told
    ]
    assert phase_of(conditions) is phase
