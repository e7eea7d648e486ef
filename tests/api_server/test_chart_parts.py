"""The parts run with the chart's variables, files and service accounts, at a real API server."""

import signal
import sys
from base64 import b64decode
from collections.abc import Iterator, Mapping
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest

from charts.cluster import RESTRICTED
from charts.install import uninstall
from localcluster.control_plane import ControlPlane, free_port
from localcluster.folders import here
from localcluster.tools import path_of
from stemyard_operator.clients.kubernetes_paths import jobs_path, leases_path, separations_path
from tests.chart.installed import dry_run, install_case, kubeconfig_of, rights
from tests.chart.rendered import Object, container, environment, find
from tests.support.servers import Server

SEPARATION = {
    "apiVersion": "stemyard.dev/v1alpha1",
    "kind": "SeparationJob",
    "metadata": {"name": "song"},
    "spec": {"source": {"searchQuery": "a song"}},
}


@pytest.fixture
def installed(control_plane: ControlPlane, namespace: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Object]]:
    """The demo's objects as stored by the API server."""
    monkeypatch.setenv("KUBECONFIG", str(control_plane.kubeconfig))
    release = install_case("demo", namespace, {"crds": {"enabled": False}})
    yield stored(control_plane, namespace)
    uninstall(release)


def stored(plane: ControlPlane, namespace: str) -> list[Object]:
    core, apps = f"/api/v1/namespaces/{namespace}", f"/apis/apps/v1/namespaces/{namespace}"
    lists = {
        "Deployment": f"{apps}/deployments",
        "ConfigMap": f"{core}/configmaps",
        "Secret": f"{core}/secrets",
    }
    return [{**one, "kind": kind} for kind, path in lists.items() for one in plane.api.get(path)["items"]]


def test_each_service_account_has_exactly_these_rights(
    control_plane: ControlPlane, namespace: str, installed: list[Object]
) -> None:
    operator = {
        *(("stemyard.dev/separationjobs", "", verb) for verb in ("get", "list", "watch", "delete")),
        ("stemyard.dev/separationjobs/status", "", "patch"),
        *(("stemyard.dev/keywebhooks", "", verb) for verb in ("get", "list", "watch")),
        *(("batch/jobs", "", verb) for verb in ("get", "list", "watch", "create", "delete")),
        *(("/pods", "", verb) for verb in ("get", "list")),
        ("/events", "", "create"),
        ("coordination.k8s.io/leases", "", "create"),
        *(("coordination.k8s.io/leases", "tunes-operator", verb) for verb in ("get", "update")),
    }
    desk = {("authentication.k8s.io/tokenreviews", "", "create")}
    kinds = ("separationjobs", "keywebhooks")
    api = {
        (f"stemyard.dev/{kind}", "", verb) for kind in kinds for verb in ("get", "list", "create", "patch", "delete")
    }
    assert rights(control_plane, namespace, "tunes-operator", namespace) == operator | desk
    assert rights(control_plane, namespace, "tunes-operator", "kube-system") == desk
    assert rights(control_plane, namespace, "tunes-api", namespace) == api
    assert rights(control_plane, namespace, "tunes-api", "kube-system") == set()
    assert rights(control_plane, namespace, "tunes-separator", namespace) == set()


@pytest.fixture
def services(installed: list[Object], tmp_path: Path) -> Iterator[dict[str, str]]:
    """The bundled Valkey and store, run by the chart's commands; returns their local addresses."""
    secret = decoded(find(installed, "Secret", "tunes-redis"))
    redis_port, store_port = free_port(), free_port()
    configuration = tmp_path / "valkey.conf"
    local = find(installed, "ConfigMap", "tunes-valkey")["data"]["valkey.conf"]
    for there, instead in (
        ("port 6379", f"port {redis_port}"),
        ("dir /data", f"dir {tmp_path}"),
        ("/etc/valkey-users", str(tmp_path)),
    ):
        local = local.replace(there, instead)
    configuration.write_text(local)
    (tmp_path / "users.acl").write_text(secret["users.acl"])
    valkey = Server("valkey", [str(path_of("valkey-server", here())), str(configuration)], redis_port, tmp_path)
    (tmp_path / "objects").mkdir()
    replaced = {":7070": f"127.0.0.1:{store_port}", "/data": str(tmp_path / "objects")}
    arguments = [replaced.get(one, one) for one in container(installed, "store")["args"]]
    program = str(path_of("versitygw", here()))
    store = Server("store", [program, *arguments], store_port, tmp_path, variables(installed, "store"))
    password = urlsplit(secret["REDIS_URL"]).password
    with valkey.running(), store.running():
        yield {
            "REDIS_URL": f"redis://stemyard:{password}@127.0.0.1:{redis_port}/0",
            "S3_ENDPOINT_URL": f"http://127.0.0.1:{store_port}",
            "S3_PUBLIC_ENDPOINT_URL": f"http://127.0.0.1:{store_port}",
        }


def decoded(secret: Object) -> dict[str, str]:
    return {key: b64decode(value).decode() for key, value in secret["data"].items()}


def variables(objects: list[Object], name: str) -> dict[str, str]:
    """Return a container's variables, with the values of the stored Secrets."""
    readable = [{**one, "stringData": decoded(one)} if one["kind"] == "Secret" else one for one in objects]
    return environment(readable, name)


def part(name: str, objects: list[Object], more: Mapping[str, str], folder: Path) -> Server:
    """Run one part as a process with the container's variables; `more` are local overrides."""
    port = int(more["PORT" if name == "api" else "HEALTH_PORT"])
    settings = {**variables(objects, name), **more}
    return Server(name, [sys.executable, "-m", f"stemyard_{name}"], port, folder, settings)


def answers(url: str) -> bool:
    with httpx.Client(timeout=5) as client:
        try:
            return client.get(url).status_code == 200
        except httpx.HTTPError:
            return False


def probes(objects: list[Object], name: str) -> set[str]:
    return {
        str(container(objects, name)[f"{kind}Probe"]["httpGet"]["path"])
        for kind in ("startup", "liveness", "readiness")
    }


def test_the_api_serves_with_its_account_and_settings(
    control_plane: ControlPlane, namespace: str, installed: list[Object], services: dict[str, str], tmp_path: Path
) -> None:
    kubeconfig = str(kubeconfig_of(control_plane, namespace, "tunes-api"))
    port = free_port()
    more = {**services, "KUBECONFIG": kubeconfig, "PORT": str(port), "HEALTH_PORT": str(free_port())}
    with part("api", installed, more, tmp_path).running() as server:
        address = f"http://127.0.0.1:{port}"
        for path in probes(installed, "api"):
            server.wait_until(lambda path=path: answers(f"{address}{path}"))  # type: ignore[misc]
        key = {"X-API-Key": variables(installed, "api")["API_SECRET_KEY"]}
        with httpx.Client(base_url=address, headers=key, timeout=30) as client:
            asked = client.post("/separate-audio", json={"search_query": "a song"})
            assert asked.status_code == 202, asked.text
            assert client.get(f"/job/{asked.json()['track_id']}").json()["status"] == "processing"
    [made] = control_plane.api.get(separations_path(namespace))["items"]
    assert made["metadata"]["name"] == f"sep-{asked.json()['track_id']}"


def test_the_operator_works_with_its_account_and_settings(
    control_plane: ControlPlane, namespace: str, installed: list[Object], services: dict[str, str], tmp_path: Path
) -> None:
    for name, text in find(installed, "ConfigMap", "tunes-operator")["data"].items():
        (tmp_path / name).write_text(text)
    health, desk = free_port(), free_port()
    more = {
        **services,
        "KUBECONFIG": str(kubeconfig_of(control_plane, namespace, "tunes-operator")),
        "POD_NAMESPACE": namespace,
        "HEALTH_PORT": str(health),
        "DESK_PORT": str(desk),
        "PROFILES_FILE": str(tmp_path / "profiles.yaml"),
    }
    with part("operator", installed, more, tmp_path).running() as server:
        for path in probes(installed, "operator"):
            server.wait_until(lambda path=path: answers(f"http://127.0.0.1:{health}{path}"))  # type: ignore[misc]
        separation = f"{separations_path(namespace)}/song"
        control_plane.api.post(separations_path(namespace), SEPARATION)
        server.wait_until(lambda: control_plane.api.get(separation).get("status", {}).get("phase") == "Fetching")
        [job] = control_plane.api.get(jobs_path(namespace))["items"]
        assert control_plane.api.get(leases_path(namespace, "tunes-operator"))["spec"]["holderIdentity"]
        server.wait_until(lambda: bool(control_plane.api.get(f"/api/v1/namespaces/{namespace}/events")["items"]))
        assert "forbidden" not in server.log.read_text().lower()
        assert server.stop(signal.SIGTERM) == 0
    separator = job["spec"]["template"]
    assert separator["spec"]["serviceAccountName"] == "tunes-separator"
    assert separator["spec"]["containers"][0]["image"] == "localhost/stemyard/separator-cpu:dev"
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p", "labels": separator["metadata"]["labels"]}}
    control_plane.api.merge(f"/api/v1/namespaces/{namespace}", {"metadata": {"labels": RESTRICTED}})
    assert dry_run(control_plane, namespace, [{**pod, "spec": separator["spec"]}])
