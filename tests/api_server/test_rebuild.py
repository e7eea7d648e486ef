"""Disaster recovery: etcd is lost, the bucket is not, and one command restores the results."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from localcluster.control_plane import ControlPlane
from stemyard_contract.identity import spec_cache_key, track_id
from stemyard_contract.separationjob import LABEL_TRACK
from tests.support.operator_world import INSTALL, World, eventually, world
from tests.support.servers import api_process

KEY = "0123456789abcdef"


@pytest.fixture
def operator_world(control_plane: ControlPlane, tmp_path: Path) -> Iterator[World]:
    with world(control_plane, tmp_path) as found:
        yield found


def api_track(found: World) -> str:
    """Create a SeparationJob as the API does; return its track id."""
    probe = found.create("probe", source={"searchQuery": "a song"})
    track = track_id(spec_cache_key(probe.spec, "spleeter-2stems"))
    found.plane.api.delete(found.path("separationjobs", "probe"))
    body = {
        "apiVersion": "stemyard.dev/v1alpha1",
        "kind": "SeparationJob",
        "metadata": {"name": f"sep-{track}", "labels": {LABEL_TRACK: track}},
        "spec": {"source": {"searchQuery": "a song"}, "model": "spleeter-2stems"},
    }
    found.plane.api.post(found.path("separationjobs"), body)
    return track


def lose_everything_but_the_bucket(found: World) -> None:
    """Delete all SeparationJobs without an operator running, as if etcd were lost. Jobs stay, without owners."""
    for one in found.plane.api.get(found.path("separationjobs"))["items"]:
        found.plane.api.delete(found.path("separationjobs", one["metadata"]["name"]))
    eventually(lambda: not found.plane.api.get(found.path("separationjobs"))["items"])
    client = found.redis()
    client.flushall()
    client.close()


def rebuild(found: World) -> str:
    """Run the command with an administrator's rights, which the operator's account lacks; return its output."""
    environment = {**os.environ, **found.environment, "KUBECONFIG": str(found.plane.kubeconfig)}
    command = [sys.executable, "-m", "stemyard_operator", "rebuild"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return str(json.loads(done.stderr.splitlines()[-1])["message"])


@pytest.mark.parametrize("beside", [False, True], ids=["before the operator", "beside the operator"])
def test_restored_results_are_served_without_separating_again(operator_world: World, beside: bool) -> None:
    found = operator_world
    with found.operating():
        track = api_track(found)
        found.create("by-hand")
        for name in (f"sep-{track}", "by-hand"):
            found.separate(name)
    stems, jobs = found.objects("stems/"), found.jobs().keys()
    lose_everything_but_the_bucket(found)

    if beside:
        with found.operating():
            assert rebuild(found) == "rebuilt: 2 restored"
            served_as_before(found, track)
    else:
        assert rebuild(found) == "rebuilt: 2 restored"
        assert rebuild(found) == "rebuilt: 2 present"
        with found.operating():
            served_as_before(found, track)
    assert found.jobs().keys() == jobs
    assert found.objects("stems/") == stems


def served_as_before(found: World, track: str) -> None:
    for name in (f"sep-{track}", "by-hand"):
        separation = found.separation(name)
        assert separation.status.phase == "Completed"
        assert not separation.spec.suspend
    environment = {
        **found.environment,
        "STEMYARD_NAMESPACE": found.namespace,
        "KUBECONFIG": str(found.plane.kubeconfig),
    }
    with api_process(found.folder, environment, KEY) as api:
        client = httpx.Client(base_url=api.url, headers={"X-API-Key": KEY}, timeout=30)
        with client:
            state = client.get(f"/job/{track}").raise_for_status().json()
            assert state["status"] == "completed"
            assert httpx.get(state["result"]["vocals_url"]).content == b"vocals" * 50
            again = client.post("/separate-audio", json={"search_query": "A  Song!"})
            assert (again.status_code, again.json()["cached"], again.json()["track_id"]) == (200, True, track)


def test_an_incomplete_result_is_not_restored(operator_world: World) -> None:
    found = operator_world
    with found.operating():
        found.create("song")
        found.separate()
    lose_everything_but_the_bucket(found)
    client = found.store.client()
    lost = next(key for key in found.objects("stems/") if key.endswith("vocals.mp3"))
    client.delete_object(Bucket=found.store.bucket, Key=lost)
    client.close()
    assert rebuild(found) == "rebuilt: 1 incomplete"
    assert found.plane.api.get(found.path("separationjobs"))["items"] == []
    assert lost.startswith(INSTALL)
