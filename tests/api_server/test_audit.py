"""Calls of operator and API in the API server's audit log: every granted right is used, and none when idle."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx
import pytest

from localcluster.control_plane import ControlPlane
from stemyard_contract.handover import DESK_PROGRESS_PATH, WorkStage
from tests.api_server.conftest import install_crd
from tests.chart.rendered import case, of_kind
from tests.support import api_world, operator_world
from tests.support.audit import Audit, Right
from tests.support.operator_world import World, eventually
from tests.support.servers import api_process

FETCH, SEPARATE = WorkStage
IDLE = 1000
WRITES = {"create", "update", "patch", "delete", "deletecollection"}


@pytest.fixture(scope="module")
def audit(tmp_path_factory: pytest.TempPathFactory) -> Audit:
    return Audit(tmp_path_factory.mktemp("audit"))


@pytest.fixture(scope="module")
def plane(audit: Audit, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    with ControlPlane(tmp_path_factory.mktemp("audited"), apiserver_flags=audit.flags) as found:
        install_crd(found)
        yield found


@pytest.fixture
def world(plane: ControlPlane, tmp_path: Path) -> Iterator[World]:
    with operator_world.world(plane, tmp_path) as found:
        yield found


def granted(component: str) -> set[Right]:
    """Every right that the chart grants a component."""
    roles = [*of_kind(case("default"), "Role"), *of_kind(case("default"), "ClusterRole")]
    own = [role for role in roles if role["metadata"]["labels"]["app.kubernetes.io/component"] == component]
    return {
        (verb, group, resource)
        for role in own
        for rule in role["rules"]
        for verb in rule["verbs"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
    }


def renewed(lease: dict[str, Any]) -> bool:
    """Whether a Lease was renewed since it was acquired; on a fast machine the test may end before that."""
    taken, last = (datetime.fromisoformat(lease["spec"][name]) for name in ("acquireTime", "renewTime"))
    return (last - taken).total_seconds() > 1


def test_every_right_of_the_operator_is_used_and_none_is_missing(world: World, audit: Audit) -> None:
    audit.new()
    with world.operating(MAX_ACTIVE="9") as operator:
        for name in ("kept", "cancelled"):
            world.create(name)
        world.create("brief", ttlSecondsAfterFinished=0)
        world.create("tested", webhookTest=True, claims=[{"key": "team-a", "webhook": "https://example.com/hook"}])
        job = world.wait_job(FETCH, name="kept")
        pod = world.run(job)
        progress = {"stage": "fetch", "sequence": 1, "fraction": 0.5, "step": "download"}
        headers = {"Authorization": f"Bearer {world.token(pod)}"}
        answer = httpx.post(operator.desk + DESK_PROGRESS_PATH, json=progress, headers=headers)
        assert answer.status_code == 204, answer.text
        world.succeed(job, pod)
        world.wait_job(FETCH, name="cancelled")
        world.plane.api.merge(world.path("separationjobs", "cancelled"), {"spec": {"cancel": True}})
        for stage in WorkStage:
            job = world.wait_job(stage, name="brief")
            world.succeed(job, world.run(job))
        listed = world.path("separationjobs")
        eventually(lambda: "brief" not in {one["metadata"]["name"] for one in world.plane.api.get(listed)["items"]})
        eventually(lambda: world.phase("tested") == "Completed")
        lease = f"/apis/coordination.k8s.io/v1/namespaces/{world.namespace}/leases"
        eventually(lambda: any(renewed(one) for one in world.plane.api.get(lease)["items"]))
    calls = [call for call in audit.new() if call.account == operator_world.ACCOUNT]
    assert {call.right for call in calls} == granted("operator")
    assert [call for call in calls if call.code == 403] == []


def test_every_right_of_the_api_is_used_and_none_is_missing(world: World, audit: Audit, tmp_path: Path) -> None:
    audit.new()
    api_world.grant(world.plane, world.namespace)
    kubeconfig = world.plane.kubeconfig_of_account(world.namespace, api_world.ACCOUNT)
    environment = {**world.environment, "KUBECONFIG": str(kubeconfig), "STEMYARD_NAMESPACE": world.namespace}
    with api_process(tmp_path, environment) as api, api.client() as client:
        track = client.post("/separate-audio", json={"url": "https://example.com/a.mp3"}).json()["track_id"]
        assert client.get(f"/job/{track}").status_code == 200
        world.valkey.stop()
        assert client.get("/jobs").status_code == 200
        world.valkey.start()
        assert client.post(f"/job/{track}/cancel").status_code < 300
        assert client.delete(f"/job/{track}").status_code < 300
        hook = client.post("/webhooks", json={"url": "https://example.com/hook"}).json()["id"]
        assert client.patch(f"/webhooks/{hook}", json={"enabled": False}).status_code == 200
        assert client.delete(f"/webhooks/{hook}").status_code == 200
    calls = [call for call in audit.new() if call.account == api_world.ACCOUNT]
    assert {call.right for call in calls} == granted("api")
    assert [call for call in calls if call.code == 403] == []


def test_a_thousand_completed_separations_cause_no_write(world: World, audit: Audit) -> None:
    with world.operating():
        world.create()
        world.separate()
    status = world.plane.api.get(world.path("separationjobs", "song"))["status"]

    def one_more(number: int) -> None:
        name = f"song-{number}"
        world.create(name)
        track = {**status, "trackId": f"{world.namespace}.{name}"}
        world.plane.api.merge(world.path("separationjobs", name) + "/status", {"status": track})

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(one_more, range(IDLE)))
    with world.operating(RESYNC_SECONDS="2", POD_NAME="idle") as operator:
        completed = ("stemyard_separations", ("Completed",))
        eventually(lambda: operator.metrics().get(completed) == IDLE + 1, 60)
        audit.new()
        # the Jobs, a page of them, are listed once in every resync
        listed = ("200", "jobs", "list")
        before = operator.metrics()["stemyard_kubernetes_requests_total", listed]
        eventually(lambda: operator.metrics()["stemyard_kubernetes_requests_total", listed] > before + 3, 60)
    calls = [call for call in audit.new() if call.account == operator_world.ACCOUNT]
    assert {call.right for call in calls if call.right[0] in WRITES} == {("update", "coordination.k8s.io", "leases")}
