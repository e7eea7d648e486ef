"""Helm and a system at work: its test, an upgrade from the previous chart, and a pod that cannot start."""

import json
import tarfile
from dataclasses import replace
from pathlib import Path

import pytest

from charts.helm import Release, find_helm, merge
from charts.install import install
from demo.separation import follow, submit
from tests.api_server.test_chart import PREVIOUS, only_known
from tests.cluster.conftest import System
from tests.cluster.test_faults import until


def release_of(system: System) -> Release:
    """The release as it is installed."""
    release = Release(system.namespace, system.namespace)
    return replace(release, values=find_helm().given(release))


def test_helm_test_separates_its_clip(system: System) -> None:
    said = find_helm().test(release_of(system), timeout=600)
    assert "passed" in said


@pytest.fixture
def previous(tmp_path: Path) -> Path:
    with tarfile.open(PREVIOUS) as archive:
        archive.extractall(tmp_path, filter="data")
    return tmp_path / "stemyard"


def test_an_upgrade_from_the_previous_chart_loses_and_repeats_nothing_under_way(system: System, previous: Path) -> None:
    release = release_of(system)
    # The definition stays the newer one, as it does on a rollback: it is kept.
    older = merge(only_known(release.values, previous), {"crds": {"enabled": False}})
    try:
        install(replace(release, chart=previous, values=older), print, timeout=300)
        wanted = [{"url": system.take(f"upgrade-{n}")} for n in range(3)]
        under_way = [submit(system.service, one)["track_id"] for one in wanted]
    finally:
        install(release, print, timeout=300)
    for track_id in under_way:
        *_, last = follow(system.service, track_id, 400)
        assert last["status"] == "completed", last
        resource = system.resource_of(track_id)
        attempts = resource["status"]["attempts"]
        # the demo's store is replaced too, and keeps nothing: what was fetched just before has to be fetched again
        assert attempts["fetch"] + attempts["separate"] == 2 + times_lost(system, resource["metadata"]["name"])


def times_lost(system: System, name: str) -> int:
    """How often an attempt was repeated because its files were gone from the store."""
    chosen = f"involvedObject.name={name},reason=Retrying"
    told = json.loads(system.kubectl("get", "events", f"--field-selector={chosen}", "-o", "json"))["items"]
    return sum(event.get("count") or 1 for event in told if "ARTIFACT_MISMATCH" in event["message"])


def test_a_pod_without_a_key_of_its_secret_says_which(system: System) -> None:
    """A second API Deployment, whose Secret for the bucket is not there."""
    name = "without-key"
    deployment = json.loads(system.kubectl("get", f"deployment/{system.namespace}-api", "-o", "json"))
    spec = deployment["spec"]
    labels = {"app": name}
    spec["selector"] = {"matchLabels": labels}
    spec["template"]["metadata"] = {"labels": labels}
    [container] = spec["template"]["spec"]["containers"]
    listed = "R2_ACCESS_KEY_ID=nowhere"
    container["env"] = [
        *(one for one in container["env"] if one["name"] not in {"R2_ACCESS_KEY_ID", "STEMYARD_SECRET_VARIABLES"}),
        {"name": "STEMYARD_SECRET_VARIABLES", "value": listed},
    ]
    body = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name}, "spec": spec}
    system.kubectl("apply", "-f", "-", stdin=json.dumps(body))
    try:
        until(lambda: "the Secret nowhere" in last_words(system, name), 120)
    finally:
        system.kubectl("delete", f"deployment/{name}", "--wait=true")


def last_words(system: System, name: str) -> str:
    """Termination messages of the pods with this label."""
    listed = json.loads(system.kubectl("get", "pods", "-l", f"app={name}", "-o", "json"))["items"]
    states = [
        state
        for pod in listed
        for status in pod["status"].get("containerStatuses", [])
        for state in (status["state"], status.get("lastState", {}))
    ]
    return " ".join(state.get("terminated", {}).get("message", "") for state in states)
