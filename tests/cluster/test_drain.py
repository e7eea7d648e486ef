"""A worker is drained while a separation is at work on it, and with it every replica of the API and the operator."""

import json
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.cluster.conftest import PARTS, System, settled
from tests.cluster.load import loaded
from tests.cluster.separations import follow, submit
from tests.cluster.test_availability import assert_nothing_lost, completed, known_track, pods
from tests.cluster.test_faults import jobs_of

OURS = "app notin (media,hooks)"
"""What stands in for the internet is no Deployment, and would not come back."""


def schedulable(system: System) -> list[str]:
    """Names of the nodes that take any pod."""
    nodes = json.loads(system.kubectl("get", "nodes", "-o", "json"))["items"]
    specs = {node["metadata"]["name"]: node["spec"] for node in nodes}
    return [name for name, spec in specs.items() if not spec.get("taints") and not spec.get("unschedulable")]


@pytest.fixture
def workers(system: System, request: pytest.FixtureRequest) -> Iterator[list[str]]:
    """The node of the store, which keeps nothing when it moves, and the others; all take pods again afterwards."""
    found = schedulable(system)
    if len(found) < 2:
        pytest.skip("this cluster has one schedulable node: what a drain moves has nowhere to go")
    request.getfixturevalue("doubled")
    store = pods(system, "app.kubernetes.io/component=store")[0]["spec"]["nodeName"]
    yield sorted(found, key=lambda name: name != store)
    system.kubectl("uncordon", *found)
    settled(system)


@contextmanager
def cordoned(system: System, node: str) -> Iterator[None]:
    """Let a node take no new pods."""
    system.kubectl("cordon", node)
    try:
        yield
    finally:
        system.kubectl("uncordon", node)


def drain(system: System, node: str) -> None:
    """Evict everything of ours; it ends only when the disruption budgets let the last pod go."""
    options = ("--ignore-daemonsets", "--delete-emptydir-data", f"--pod-selector={OURS}", "--timeout=300s")
    system.kubectl("drain", node, *options)


def nodes_of(system: System, selector: str) -> set[str]:
    return {pod["spec"].get("nodeName", "") for pod in pods(system, selector)}


def separating_on(system: System, track_id: str) -> str:
    """Wait for the pod that separates, and return its node."""
    working = f"stemyard.dev/track-id={track_id},stemyard.dev/stage=separate"
    for _ in follow(system.service, track_id, 300):
        if running := [pod for pod in pods(system, working) if pod["status"]["phase"] == "Running"]:
            return str(running[0]["spec"]["nodeName"])
    pytest.fail("it ended before its pod was seen")


def test_a_drained_worker_costs_neither_an_attempt_nor_a_request(system: System, workers: list[str]) -> None:
    store, *others = workers
    with cordoned(system, store):
        # all of them onto the nodes to be drained: only the budgets then keep one of two there
        for part in PARTS:
            system.kubectl("rollout", "restart", f"deployment/{system.namespace}-{part}")
        settled(system)
        known, wanted = known_track(system, "drain")
        track_id = submit(system.service, {"url": system.song("drained")})["track_id"]
        left = separating_on(system, track_id)
    with loaded(system.service, known, wanted) as load:
        for node in (left, *(one for one in others if one != left)):
            drain(system, node)
        for part in PARTS:
            assert nodes_of(system, f"app.kubernetes.io/component={part}") == {store}
        completed(system, track_id)
    assert_nothing_lost(load)
    assert nodes_of(system, f"stemyard.dev/track-id={track_id},stemyard.dev/stage=separate") == {store}
    assert [name[-5:] for name in jobs_of(system, track_id)] == ["-f1-1", "-s1-1"]
    attempts = system.resource_of(track_id)["status"]["attempts"]
    # counted unless the operator was replaced before a write of the status had named the first pod
    assert attempts.pop("disruptions") <= 1
    assert attempts == {"fetch": 1, "separate": 1, "failed": 0}
