"""What is killed comes back and finishes its work, once."""

import json
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from localcluster import cli
from localcluster.folders import here
from localcluster.local_provider import LocalProvider
from tests.cluster.conftest import System
from tests.cluster.separations import follow, submit


def jobs_of(system: System, track_id: str) -> list[str]:
    listed = json.loads(system.kubectl("get", "jobs", "-o", "json"))["items"]
    return sorted(job["metadata"]["name"] for job in listed if f"sep-{track_id}" in job["metadata"]["name"])


def until(true: Callable[[], bool], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.1)


def operator_pod(system: System) -> dict[str, Any]:
    selector = f"app.kubernetes.io/instance={system.namespace},app.kubernetes.io/component=operator"
    listed = json.loads(system.kubectl("get", "pods", "-l", selector, "-o", "json"))["items"]
    (pod,) = [pod for pod in listed if "deletionTimestamp" not in pod["metadata"]]
    return dict(pod)


def kill_operator(system: System) -> None:
    """SIGKILL the operator's process; where it runs out of sight, make its kubelet do so."""
    pod = operator_pod(system)
    if isinstance(cli.provider(here()), LocalProvider):
        for pid in processes_of(pod["metadata"]["uid"], b"stemyard_operator"):
            os.kill(pid, signal.SIGKILL)
    else:
        system.kubectl("delete", "pod", pod["metadata"]["name"], "--grace-period=0", "--force")


def processes_of(pod_uid: str, command: bytes) -> list[int]:
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if pod_uid in (process / "cgroup").read_text() and command in (process / "cmdline").read_bytes():
                found.append(int(process.name))
        except OSError:
            continue
    assert found, f"no process of pod {pod_uid}"
    return found


def test_an_operator_killed_between_the_two_jobs_finishes_once(system: System) -> None:
    before = life_of_the_operator(system)
    track_id = submit(system.service, {"url": system.take("killed-operator")})["track_id"]
    until(lambda: len(jobs_of(system, track_id)) == 1, 60)
    kill_operator(system)
    assert all("-f1-" in name for name in jobs_of(system, track_id)), "the separate Job was there already"
    *_, last = follow(system.service, track_id, 300)
    assert last["status"] == "completed"
    assert life_of_the_operator(system) != before
    assert [name[-5:] for name in jobs_of(system, track_id)] == ["-f1-1", "-s1-1"]
    status = system.resource_of(track_id)["status"]
    assert status["attempts"] == {"fetch": 1, "separate": 1, "failed": 0, "disruptions": 0}


def life_of_the_operator(system: System) -> tuple[str, int]:
    """Which pod it is, and how often it was restarted."""
    pod = operator_pod(system)
    return pod["metadata"]["uid"], sum(one["restartCount"] for one in pod["status"].get("containerStatuses", []))


def test_a_flushed_redis_is_filled_again(system: System) -> None:
    """The mirror is a copy: what it forgot is answered from the resource."""
    track_id = submit(system.service, {"url": system.take("flushed-redis")})["track_id"]
    *_, done = follow(system.service, track_id, 300)
    assert done["status"] == "completed"
    valkey = system.kubectl("get", "pods", "-l", "app.kubernetes.io/component=valkey", "-o", "name").strip()
    system.kubectl("delete", valkey, "--grace-period=0", "--force")
    *_, again = follow(system.service, track_id, 60)
    assert again["status"] == "completed"
    assert again["track_id"] == track_id


@pytest.mark.parametrize("kind", ["job", "pod"])
def test_a_lost_worker_is_replaced(system: System, kind: str) -> None:
    """A separation survives the loss of what works on it, whoever removed it."""
    track_id = submit(system.service, {"url": system.take(f"lost-{kind}")})["track_id"]
    until(lambda: len(jobs_of(system, track_id)) == 1, 60)
    selector = f"stemyard.dev/separationjob=sep-{track_id}"
    system.kubectl("delete", kind, "-l", selector, "--grace-period=0", "--force", "--wait=false")
    *_, last = follow(system.service, track_id, 300)
    assert last["status"] == "completed", last
