"""What a Pod resource says, and which of a Job's pods determines its result."""

from datetime import UTC, datetime
from itertools import permutations
from typing import Any

import pytest

from stemyard_contract.handover import Outcome, WorkStage
from stemyard_operator.model.pod import PULL_REASONS, Pod, last_pod, pod_of

TIME = "2026-11-22T12:00:00Z"
AT = datetime(2026, 11, 22, 12, tzinfo=UTC)


def resource(**status: Any) -> dict[str, Any]:
    return {"metadata": {"name": "song-x", "uid": "pod-1", "creationTimestamp": TIME}, "status": status}


def container(**state: Any) -> list[dict[str, Any]]:
    return [{"state": state}, {"state": {"terminated": {"exitCode": 99, "reason": "OOMKilled"}}}]


def pod(name: str, **fields: Any) -> Pod:
    return Pod(name=name, uid=name, **fields)


def test_a_new_pod_is_pending_and_nothing_more() -> None:
    new = {"metadata": {"name": "song-x", "uid": "pod-1"}}
    assert pod_of(new) == Pod(name="song-x", uid="pod-1", phase="Pending")
    assert Pod(name="song-x", uid="pod-1") == pod_of(resource() | new)
    assert not pod_of(new).running


def test_an_unschedulable_pod_has_the_schedulers_message() -> None:
    condition = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "no GPU"}
    found = pod_of(resource(phase="Pending", conditions=[condition | {"lastTransitionTime": TIME}]))
    assert (found.unschedulable, found.scheduled_at, found.created) == ("no GPU", None, AT)


def test_a_scheduled_pod_has_the_time_and_no_message() -> None:
    condition = {"type": "PodScheduled", "status": "True", "message": "x", "lastTransitionTime": TIME}
    found = pod_of(resource(conditions=[condition]))
    assert (found.unschedulable, found.scheduled_at) == ("", AT)


def test_a_pod_whose_image_is_missing_waits() -> None:
    waiting = {"reason": "ImagePullBackOff", "message": "not found"}
    found = pod_of(resource(containerStatuses=container(waiting=waiting)))
    assert (found.waiting, found.waiting_message, found.running) == ("ImagePullBackOff", "not found", False)
    assert (found.exit_code, found.terminated) == (None, "")


def test_reasons_of_an_image_that_cannot_be_pulled_are_the_kubelets() -> None:
    """Of `pkg/kubelet/images/types.go`; ImagePullBackOff follows ErrImagePull."""
    assert {"ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull"} == PULL_REASONS


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        (
            {"waiting": "ErrImagePull", "waiting_message": "no such tag", "unschedulable": "no GPU"},
            "ErrImagePull: no such tag",
        ),
        ({"waiting": "ContainerCreating"}, "ContainerCreating"),
        ({"unschedulable": "no GPU"}, "no GPU"),
        ({}, ""),
    ],
)
def test_what_a_pod_waits_for_is_the_kubelets_word_else_the_schedulers(fields: dict[str, str], reason: str) -> None:
    assert pod("song", **fields).waits_for == reason


def test_conditions_and_states_may_lack_their_texts() -> None:
    """As they are optional in the API of Kubernetes."""
    unschedulable = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable"}
    found = pod_of(resource(conditions=[unschedulable], containerStatuses=container(waiting={})))
    assert (found.unschedulable, found.waiting, found.waiting_message) == ("", "", "")
    ended = pod_of(resource(containerStatuses=container(terminated={"exitCode": 1})))
    assert (ended.terminated, ended.reason, ended.message) == ("", "", "")


def test_a_running_pod_has_the_time_it_started() -> None:
    found = pod_of(resource(phase="Running", containerStatuses=container(running={"startedAt": TIME})))
    assert (found.phase, found.started_at, found.running, found.exit_code) == ("Running", AT, True, None)


def test_an_ended_pod_has_what_its_first_container_left() -> None:
    outcome = Outcome(stage=WorkStage.FETCH, code="SOURCE_LIVE")
    ended = {"exitCode": 36, "reason": "Error", "startedAt": TIME, "message": outcome.dump()}
    found = pod_of(
        resource(phase="Failed", reason="Evicted", message="why", containerStatuses=container(terminated=ended))
    )
    assert (found.phase, found.reason, found.message) == ("Failed", "Evicted", "why")
    assert (found.exit_code, found.terminated, found.started_at) == (36, "Error", AT)
    assert found.outcome == outcome


def test_a_disrupted_pod_that_is_being_deleted_says_both() -> None:
    gone = resource(conditions=[{"type": "DisruptionTarget", "status": "True"}])
    gone["metadata"]["deletionTimestamp"] = TIME
    assert (pod_of(gone).disrupted, pod_of(gone).gone_at) == (True, AT)
    stays = resource(conditions=[{"type": "DisruptionTarget", "status": "False"}])
    assert (pod_of(stays).disrupted, pod_of(stays).gone_at) == (False, None)


ENDED = pod("ended", exit_code=1, started_at=AT)
NEVER_RAN = pod("never-ran", exit_code=1)
RUNNING = pod("running", started_at=AT)
WAITING = pod("waiting")
DISRUPTED = pod("disrupted", exit_code=1, started_at=AT, disrupted=True)


@pytest.mark.parametrize(
    "ranked",
    [
        (ENDED, NEVER_RAN, RUNNING, WAITING, DISRUPTED),
        (RUNNING, WAITING, DISRUPTED),
        (NEVER_RAN, RUNNING),
        (WAITING, DISRUPTED),
        (DISRUPTED,),
    ],
)
def test_the_result_is_that_of_the_pod_furthest_along_which_was_not_disrupted(ranked: tuple[Pod, ...]) -> None:
    assert {last_pod(order) for order in permutations(ranked)} == {ranked[0]}


def test_without_pods_there_is_no_last_one() -> None:
    assert last_pod(()) is None
