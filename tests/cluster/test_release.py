"""Helm and a system at work: its test, an upgrade from the previous chart, and a pod that cannot start."""

import json
import tarfile
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from charts.helm import Helm, Release, merge
from charts.install import install
from stemyard_contract.failures import FailureCode
from stemyard_contract.handover import parse_outcome
from tests.api_server.test_chart import PREVIOUS, only_known
from tests.cluster.conftest import System
from tests.cluster.separations import follow, submit
from tests.cluster.test_faults import jobs_of, until


def release_of(system: System) -> Release:
    """The release as it is installed."""
    release = Release(system.namespace, system.namespace)
    return replace(release, values=Helm().user_values(release))


def test_helm_test_separates_its_clip(system: System) -> None:
    said = Helm().test(release_of(system), timeout=600)
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
        # The demo's store is replaced too: it is away for seconds, and has lost what was fetched just before.
        repeated = {name: endings_of(system, name) for name in repeated_jobs(system, track_id)}
        lost = {"exit 0", FailureCode.ARTIFACT_MISMATCH, FailureCode.STORE_UNREACHABLE}
        assert all(endings and endings <= lost for endings in repeated.values()), repeated


def repeated_jobs(system: System, track_id: str) -> list[str]:
    """Jobs that were followed by another attempt at the same stage."""
    names = jobs_of(system, track_id)
    attempts = system.resource_of(track_id)["status"]["attempts"]
    assert len(names) == attempts["fetch"] + attempts["separate"], names
    return [name for name, next_one in pairwise(names) if name.rpartition("-")[0] == next_one.rpartition("-")[0]]


def endings_of(system: System, job: str) -> set[str]:
    """What the pods of a Job came to: the code of their Outcome, or their exit code."""
    listed = json.loads(system.kubectl("get", "pods", "-l", f"batch.kubernetes.io/job-name={job}", "-o", "json"))
    states = [status["state"] for pod in listed["items"] for status in pod["status"].get("containerStatuses", [])]
    return {ending_of(state.get("terminated", {})) for state in states}


def ending_of(terminated: dict[str, Any]) -> str:
    outcome = parse_outcome(terminated.get("message", ""))
    return outcome.code if outcome and outcome.code else f"exit {terminated.get('exitCode')}"


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
