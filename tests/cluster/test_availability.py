"""Two of each under load: restarts and evictions lose no work, and no request that one more try would not hide."""

import json
from typing import Any

import pytest

from tests.cluster.conftest import RESTARTED, System, settled
from tests.cluster.load import Load, loaded
from tests.cluster.separations import follow, submit


def pods(system: System, selector: str) -> list[dict[str, Any]]:
    listed = json.loads(system.kubectl("get", "pods", "-l", selector, "-o", "json"))["items"]
    return [pod for pod in listed if "deletionTimestamp" not in pod["metadata"]]


def evict(system: System, pod: dict[str, Any]) -> None:
    """Use the Eviction API, as a drain does; it heeds disruption budgets."""
    name = pod["metadata"]["name"]
    eviction = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": name}}
    path = f"/api/v1/namespaces/{system.namespace}/pods/{name}/eviction"
    system.kubectl("create", "--raw", path, "-f", "-", stdin=json.dumps(eviction))
    system.kubectl("wait", "--for=delete", f"pod/{name}", "--timeout=120s")


def request(system: System, name: str) -> dict[str, Any]:
    return {"url": system.take(name)}


def completed(system: System, track_id: str) -> dict[str, Any]:
    *_, last = follow(system.service, track_id, 400)
    assert last["status"] == "completed", last
    return last


def known_track(system: System, name: str) -> tuple[str, dict[str, Any]]:
    """A track that is completed, to be asked for again and again."""
    wanted = request(system, name)
    track_id = submit(system.service, wanted)["track_id"]
    completed(system, track_id)
    return track_id, wanted


def assert_nothing_lost(load: Load) -> None:
    assert load.asked > 100
    assert load.lost == [], f"{len(load.lost)} of {load.asked} lost, {load.retried} tried again"


def test_a_rolling_restart_of_everything_loses_nothing(doubled: System) -> None:
    track_id, wanted = known_track(doubled, "restart")
    with loaded(doubled.service, track_id, wanted) as load:
        under_way = [submit(doubled.service, request(doubled, f"restart-{n}"))["track_id"] for n in range(3)]
        for part in RESTARTED:
            doubled.kubectl("rollout", "restart", f"deployment/{doubled.namespace}-{part}")
            doubled.kubectl("rollout", "status", f"deployment/{doubled.namespace}-{part}", "--timeout=180s")
        for one in under_way:
            completed(doubled, one)
    assert_nothing_lost(load)
    for one in under_way:
        status = doubled.resource_of(one)["status"]
        assert status["attempts"] == {"fetch": 1, "separate": 1, "disruptions": 0, "failed": 0}


def test_an_eviction_of_each_pod_in_turn_loses_nothing(doubled: System) -> None:
    track_id, wanted = known_track(doubled, "eviction")
    with loaded(doubled.service, track_id, wanted) as load:
        under_way = [submit(doubled.service, request(doubled, f"eviction-{n}"))["track_id"] for n in range(3)]
        for part in RESTARTED:
            for pod in pods(doubled, f"app.kubernetes.io/component={part}"):
                evict(doubled, pod)
                settled(doubled)
        for one in under_way:
            completed(doubled, one)
    assert_nothing_lost(load)


def test_an_evicted_separation_is_done_again_and_counts_as_disrupted(doubled: System) -> None:
    track_id = submit(doubled.service, request(doubled, "evicted-worker"))["track_id"]
    for _ in follow(doubled.service, track_id, 300):
        if working := pods(doubled, f"stemyard.dev/track-id={track_id},stemyard.dev/stage=separate"):
            evict(doubled, working[0])
            break
    else:
        pytest.fail("it ended before its pod was seen")
    completed(doubled, track_id)
    assert doubled.resource_of(track_id)["status"]["attempts"]["failed"] == 0
