"""The whole node, really started: what a pod can reach, and that nothing is left when it is taken down."""

import json
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from localcluster import base_image, cgroups, cli
from localcluster.cluster import LocalCluster
from localcluster.errors import ApiRefusedError, MissingPrerequisiteError
from localcluster.folders import here
from localcluster.identities import Identities
from localcluster.kube_api import KubeApi
from localcluster.local_provider import LocalProvider

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(1800)]
PODS = "/api/v1/namespaces/localcluster-test/pods"
PROBE = """
import socket, sys, urllib.request
name = socket.getaddrinfo("kubernetes.default.svc.cluster.local", 443)[0][4][0]
with socket.create_connection((name, 443), 5):
    print("reached", name)
"""


def traces() -> dict[str, list[str]]:
    """What a cluster could leave on the machine."""
    links = subprocess.run(["ip", "-brief", "link"], capture_output=True, text=True, check=True).stdout
    tables = subprocess.run(["nft", "list", "tables"], capture_output=True, text=True, check=False).stdout
    groups = [str(path) for root in cgroups.hierarchies(cgroups.MOUNTS.read_text()) for path in root.glob("stemyard*")]
    return {
        "mounts": [line.split()[1] for line in cgroups.MOUNTS.read_text().splitlines()],
        "links": sorted(line.split()[0] for line in links.splitlines()),
        "tables": tables.splitlines(),
        "groups": groups,
        "forwarding": [Path("/proc/sys/net/ipv4/ip_forward").read_text()],
        "folders": [name for name in ("/run/containerd", "/run/netns", "/var/lib/kubelet") if Path(name).exists()],
    }


@pytest.fixture(scope="module")
def cluster() -> Iterator[LocalCluster]:
    cluster = LocalCluster(here())
    try:
        provider = cli.provider(here())
    except MissingPrerequisiteError as error:
        pytest.skip(str(error))
    if not isinstance(provider, LocalProvider):
        pytest.skip("this machine uses kind")
    if here().state.exists():
        pytest.skip("a cluster is up: this test takes it down")
    before = traces()
    provider.up(gpus=3)
    yield cluster
    provider.down()
    assert traces() == before
    assert not here().state.exists()


@pytest.fixture(scope="module")
def api(cluster: LocalCluster) -> KubeApi:
    api = Identities(cluster.folders.control_plane).api
    labels = {"pod-security.kubernetes.io/enforce": "restricted"}
    metadata = {"name": "localcluster-test", "labels": labels}
    api.post("/api/v1/namespaces", {"apiVersion": "v1", "kind": "Namespace", "metadata": metadata})
    # An image the cluster can run: the base of every image built here.
    layout = next((cluster.folders.archives).glob(f"base-{base_image.SUITE}-*"))
    cluster.images.load(layout, base_image.TAG)
    return api


def pod(name: str, command: list[str]) -> dict[str, object]:
    security = {"allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]}}
    container: dict[str, object] = {
        "name": "main",
        "image": base_image.TAG,
        "command": command,
        "securityContext": security,
    }
    run_as = {"runAsNonRoot": True, "runAsUser": 65532, "seccompProfile": {"type": "RuntimeDefault"}}
    spec = {"restartPolicy": "Never", "securityContext": run_as, "containers": [container]}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": spec}


def finished(api: KubeApi, name: str) -> str:
    while (phase := str(api.get(f"{PODS}/{name}")["status"]["phase"])) not in {"Succeeded", "Failed"}:
        time.sleep(0.2)
    return phase


def eventually_created(api: KubeApi, body: dict[str, object]) -> None:
    # The namespace's service account appears a moment after the namespace.
    while True:
        try:
            api.post(PODS, body)
        except ApiRefusedError as error:
            if "serviceaccount" not in str(error):
                raise
            time.sleep(0.2)
        else:
            return


def test_a_restricted_pod_resolves_a_name_and_reaches_a_service_and_its_log_is_read(api: KubeApi) -> None:
    eventually_created(api, pod("probe", ["python3", "-c", PROBE]))
    assert finished(api, "probe") == "Succeeded"
    log = subprocess.run(
        ["curl", "-sS", "--cacert", api.authority, "--cert", api.identity.certificate, "--key", api.identity.key,
         f"{api.server}{PODS}/probe/log"],
        capture_output=True, text=True, check=True, timeout=20,
    ).stdout  # fmt: skip
    assert "reached 10." in log or "reached 172." in log or "reached 192." in log


def test_imitated_gpus_are_counted(api: KubeApi) -> None:
    sleep = ["python3", "-c", "import time; time.sleep(60)"]
    for number in (1, 2):
        body = pod(f"gpu-{number}", sleep)
        body["spec"]["containers"][0]["resources"] = {"limits": {"nvidia.com/gpu": "2"}}  # type: ignore[index]
        eventually_created(api, body)
    while api.get(f"{PODS}/gpu-1")["status"]["phase"] != "Running":
        time.sleep(0.2)
    conditions = api.get(f"{PODS}/gpu-2")["status"].get("conditions", [])
    while not conditions:
        time.sleep(0.2)
        conditions = api.get(f"{PODS}/gpu-2")["status"].get("conditions", [])
    assert any("Insufficient nvidia.com/gpu" in each.get("message", "") for each in conditions), json.dumps(conditions)


def test_a_second_up_keeps_what_runs(cluster: LocalCluster, api: KubeApi) -> None:
    before = api.get("/api/v1/namespaces/localcluster-test")["metadata"]["uid"]
    cluster.up(gpus=3)
    assert api.get("/api/v1/namespaces/localcluster-test")["metadata"]["uid"] == before
    assert cluster.problems() == []
