"""The real Kueue, where it is installed: what it holds waits and says why, and what it lets go is separated once."""

import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from charts.helm import merge
from charts.install import install
from demo.system import CommandError
from stemyard_contract.separationjob import LABEL_QUEUE
from stemyard_operator.jobs.kueue import LABEL_JOB_UID
from tests.cluster.conftest import System
from tests.cluster.test_faults import until
from tests.cluster.test_release import release_of

WORKLOADS = "workloads.kueue.x-k8s.io"
QUEUE = "stemyard-test"
CPU = "500m"
"""What a separation asks for, and all that the queue has."""


def kueue(kind: str, spec: dict[str, Any]) -> dict[str, Any]:
    return {"apiVersion": "kueue.x-k8s.io/v1beta2", "kind": kind, "metadata": {"name": QUEUE}, "spec": spec}


def queue() -> list[dict[str, Any]]:
    """A queue in which one separation fits at a time; it names all that a pod asks for, else none would be admitted."""
    quotas = {"cpu": CPU, "memory": "64Gi", "ephemeral-storage": "1Ti"}
    flavor = {"name": QUEUE, "resources": [{"name": name, "nominalQuota": quota} for name, quota in quotas.items()]}
    group = {"coveredResources": list(quotas), "flavors": [flavor]}
    return [
        kueue("ResourceFlavor", {}),
        kueue("ClusterQueue", {"namespaceSelector": {}, "resourceGroups": [group]}),
        kueue("LocalQueue", {"clusterQueue": QUEUE}),
    ]


@pytest.fixture(scope="module")
def queued(system: System) -> Iterator[System]:
    """The system with Kueue turned on, and a queue in its namespace."""
    try:
        system.kubectl("get", "crd", WORKLOADS)
    except CommandError:
        pytest.skip("Kueue is not in this cluster; `make test-kueue` brings it where GitHub can be reached")
    manifests = json.dumps({"apiVersion": "v1", "kind": "List", "items": queue()})
    release = release_of(system)
    resources = {"requests": {"cpu": CPU}}
    more = {"kueue": {"enabled": True}, "profiles": {"default": {"separate": {"resources": resources}}}}
    system.kubectl("apply", "-f", "-", stdin=manifests)
    try:
        install(replace(release, values=merge(release.values, more)), print, timeout=300)
        yield system
    finally:
        install(release, print, timeout=300)
        # Kueue keeps a queue for as long as it has Workloads
        system.kubectl("delete", "--ignore-not-found", "--wait=false", "-f", "-", stdin=manifests)


@pytest.fixture
def taken(queued: System) -> Iterator[str]:
    """A Job that has all of the queue's quota."""
    name = "holder"
    container = {
        "name": name,
        "image": "localhost/stemyard/api:test",
        "command": ["python", "-c", "import time; time.sleep(3600)"],
        "resources": {"requests": {"cpu": CPU}},
        "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
    }
    security = {"runAsNonRoot": True, "runAsUser": 65532, "seccompProfile": {"type": "RuntimeDefault"}}
    pod = {
        "containers": [container],
        "securityContext": security,
        "restartPolicy": "Never",
        "automountServiceAccountToken": False,
        "terminationGracePeriodSeconds": 0,
    }
    metadata = {"name": name, "labels": {LABEL_QUEUE: QUEUE}}
    job = {"apiVersion": "batch/v1", "kind": "Job", "metadata": metadata, "spec": {"template": {"spec": pod}}}
    queued.kubectl("apply", "-f", "-", stdin=json.dumps(job))
    try:
        queued.kubectl("wait", "--for=jsonpath={.status.active}=1", "--timeout=120s", f"job/{name}")
        yield name
    finally:
        queued.kubectl("delete", f"job/{name}", "--ignore-not-found", "--cascade=foreground")


def ask(system: System, name: str, url: str) -> None:
    manifest = {
        "apiVersion": "stemyard.dev/v1alpha1",
        "kind": "SeparationJob",
        "metadata": {"name": name, "labels": {LABEL_QUEUE: QUEUE}},
        "spec": {"source": {"url": url}},
    }
    system.kubectl("apply", "-f", "-", stdin=json.dumps(manifest))


def status_of(system: System, name: str) -> dict[str, Any]:
    return dict(json.loads(system.kubectl("get", f"sepjob/{name}", "-o", "json")).get("status", {}))


def admitted(system: System, name: str) -> tuple[str, str, str]:
    """Status, reason and message of the condition `Admitted`."""
    for one in status_of(system, name).get("conditions", []):
        if one["type"] == "Admitted":
            return one["status"], one["reason"], one["message"]
    return "", "", ""


def job_of(system: System, name: str) -> dict[str, Any]:
    """The separate Job, the only one that was made."""
    selector = f"stemyard.dev/separationjob={name},stemyard.dev/stage=separate"
    [job] = json.loads(system.kubectl("get", "jobs", "-l", selector, "-o", "json"))["items"]
    return dict(job)


def workload_of(system: System, name: str) -> dict[str, Any]:
    selector = f"{LABEL_JOB_UID}={job_of(system, name)['metadata']['uid']}"
    [workload] = json.loads(system.kubectl("get", WORKLOADS, "-l", selector, "-o", "json"))["items"]
    return dict(workload)


def test_a_separation_waits_while_the_quota_is_taken(queued: System, taken: str) -> None:
    name = "waits-for-quota"
    ask(queued, name, queued.take(name))
    until(lambda: admitted(queued, name)[:2] == ("False", "WaitingForQuota"), 180)
    # Kueue says so only once it has looked; until then it has not stated a reason
    until(lambda: "insufficient unused quota for cpu" in admitted(queued, name)[2], 60)
    assert status_of(queued, name)["phase"] == "Queued"
    assert job_of(queued, name)["spec"]["suspend"] is True
    told = {one["type"]: one["status"] for one in workload_of(queued, name)["status"]["conditions"]}
    assert told.get("Admitted", "False") == "False"
    queued.kubectl("delete", f"job/{taken}", "--cascade=foreground")
    queued.kubectl("wait", "--for=condition=Complete", "--timeout=300s", f"sepjob/{name}")
    told = {one["type"]: one["status"] for one in workload_of(queued, name)["status"]["conditions"]}
    assert told["Admitted"] == "True"
    assert admitted(queued, name)[0] == "True"
    assert status_of(queued, name)["attempts"] == {"fetch": 1, "separate": 1, "failed": 0, "disruptions": 0}


def test_a_separation_that_kueue_evicts_goes_on_when_it_is_let_in_again(queued: System) -> None:
    name = "evicted-by-kueue"
    ask(queued, name, queued.song(name))
    until(lambda: status_of(queued, name).get("phase") == "Separating", 240)
    workload = f"{WORKLOADS}/{workload_of(queued, name)['metadata']['name']}"
    queued.kubectl("patch", workload, "--type=merge", "--patch", '{"spec": {"active": false}}')
    until(lambda: admitted(queued, name)[:2] == ("False", "Evicted"), 60)
    assert status_of(queued, name)["phase"] == "Queued"
    queued.kubectl("patch", workload, "--type=merge", "--patch", '{"spec": {"active": true}}')
    queued.kubectl("wait", "--for=condition=Complete", "--timeout=300s", f"sepjob/{name}")
    attempts = status_of(queued, name)["attempts"]
    assert (attempts["fetch"], attempts["separate"], attempts["failed"]) == (1, 1, 0)


def test_a_separation_without_a_queue_is_none_of_kueues(queued: System, taken: str) -> None:
    name = "no-queue"
    manifest = {
        "apiVersion": "stemyard.dev/v1alpha1",
        "kind": "SeparationJob",
        "metadata": {"name": name},
        "spec": {"source": {"url": queued.take(name)}},
    }
    queued.kubectl("apply", "-f", "-", stdin=json.dumps(manifest))
    queued.kubectl("wait", "--for=condition=Complete", "--timeout=300s", f"sepjob/{name}")
    assert LABEL_QUEUE not in job_of(queued, name)["metadata"]["labels"]
    assert queued.kubectl("get", f"job/{taken}", "-o", "jsonpath={.status.active}") == "1"
