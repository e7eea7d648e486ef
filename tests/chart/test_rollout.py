"""Why an installation is not ready."""

from typing import Any

import pytest

from charts.rollout import is_ready, pod_reason, rollout
from tests.chart.rendered import Object

LABELS = {"app": "api"}


def deployment(**status: Any) -> Object:
    return {
        "metadata": {"name": "api", "generation": 2},
        "spec": {"replicas": 1, "selector": {"matchLabels": LABELS}},
        "status": {"observedGeneration": 2, **status},
    }


READY = deployment(replicas=1, updatedReplicas=1, availableReplicas=1)


def pod(*containers: Object, ready: str = "False", **more: Any) -> Object:
    conditions = [{"type": "PodScheduled", "status": "True"}, {"type": "Ready", "status": ready}]
    status = {"conditions": conditions, "containerStatuses": list(containers), **more}
    return {"metadata": {"name": "api-0", "labels": LABELS}, "status": status}


def waiting(reason: str, **more: Any) -> Object:
    return {"state": {"waiting": {"reason": reason, **more}}}


def test_a_ready_deployment_is_not_waited_for() -> None:
    assert rollout([READY], []) == {}


@pytest.mark.parametrize(
    "status",
    [
        {"observedGeneration": 1, "replicas": 1, "updatedReplicas": 1, "availableReplicas": 1},
        {"replicas": 2, "updatedReplicas": 1, "availableReplicas": 2},
        {"replicas": 1, "updatedReplicas": 1},
        {},
    ],
)
def test_a_deployment_is_not_ready_before_every_replica_is_new_and_available(status: dict[str, int]) -> None:
    assert not is_ready(deployment(**status))


@pytest.mark.parametrize(
    ("found", "reason"),
    [
        (pod(waiting("ContainerCreating")), "its container is being created"),
        (pod(waiting("ImagePullBackOff", message="no such image")), "ImagePullBackOff: no such image"),
        (
            pod({**waiting("CrashLoopBackOff"), "lastState": {"terminated": {"exitCode": 2, "message": "API_KEY?\n"}}}),
            "CrashLoopBackOff: API_KEY?",
        ),
        (
            pod({"state": {"running": {}}, "restartCount": 2, "lastState": {"terminated": {"exitCode": 137}}}),
            "restarted 2 times: exited, exit code 137",
        ),
        (pod({"state": {"terminated": {"exitCode": 1}}}), "it exited with code 1"),
        (pod({"state": {"running": {}}}), "it is running, but not ready"),
        (
            pod(conditions=[{"type": "PodScheduled", "status": "False", "message": "0/1 nodes: no memory"}]),
            "it cannot be scheduled: 0/1 nodes: no memory",
        ),
        (pod(), "it waits to be scheduled"),
        (pod(ready="True"), None),
    ],
)
def test_the_reason_of_a_pod(found: Object, reason: str | None) -> None:
    assert pod_reason(found) == reason


def test_the_reason_of_a_deployment_is_that_of_its_own_pods() -> None:
    stranger = {**pod(waiting("ImagePullBackOff")), "metadata": {"name": "x", "labels": {"app": "other"}}}
    assert rollout([deployment()], [stranger]) == {"api": "no pod yet"}
    assert rollout([deployment()], [stranger, pod(waiting("ContainerCreating"))]) == {
        "api": "its container is being created"
    }


def test_refused_pods_are_reported() -> None:
    condition = {"type": "ReplicaFailure", "status": "True", "message": "violates PodSecurity"}
    assert rollout([deployment(conditions=[condition])], []) == {"api": "violates PodSecurity"}
