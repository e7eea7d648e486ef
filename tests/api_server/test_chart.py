"""The chart at a real API server, installed by Helm: every object is admitted, secrets are generated once."""

import contextlib
import gzip
import json
import os
import subprocess
import tarfile
from base64 import b64decode, b64encode
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from charts.cluster import RESTRICTED
from charts.helm import Helm, HelmError, Release, merge
from charts.install import InstallError, install, uninstall
from localcluster.control_plane import ControlPlane
from localcluster.errors import ApiRefusedError
from stemyard_operator.clients.kubernetes_paths import separations_path
from tests.chart import optional_apis
from tests.chart.installed import (
    INSTALL_ID,
    WITHOUT_CLAIMS,
    data,
    documents,
    dry_run,
    install_case,
    kubectl,
    restricted_namespace,
)
from tests.chart.rendered import CASES, Object, of_kind, pods
from tests.support.operator_world import eventually

GENERATED = (("secrets", "tunes-api"), ("secrets", "tunes-redis"), ("secrets", "tunes-object-store"))
SEPARATION = {
    "apiVersion": "stemyard.dev/v1alpha1",
    "kind": "SeparationJob",
    "metadata": {"name": "song"},
    "spec": {"source": {"searchQuery": "a song"}},
}
DEFINITIONS = ("separationjobs.stemyard.dev", "keywebhooks.stemyard.dev")
KINDS = (
    "all,secret,configmap,serviceaccount,role,rolebinding,networkpolicy,persistentvolumeclaim,"
    "clusterrole,clusterrolebinding,ingress,horizontalpodautoscaler,poddisruptionbudget,httproute,servicemonitor,podmonitor,priorityclass"
)
PREVIOUS = Path(__file__).parents[1] / "fixtures/previous-chart.tgz"
"""The previous release of the chart."""


@pytest.fixture(scope="module")
def plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    """A control plane without the CRD, which the chart installs."""
    with ControlPlane(tmp_path_factory.mktemp("bare-control-plane")) as plane, pytest.MonkeyPatch.context() as patch:
        patch.setenv("KUBECONFIG", str(plane.kubeconfig))
        optional_apis.install(plane)
        command = kubectl(plane.kubeconfig, "wait", "--for=condition=Established", "crd", "--all", "--timeout=30s")
        subprocess.run(command, timeout=60, check=True)
        yield plane


def _release(plane: ControlPlane) -> None:
    """Remove the finalizers of CRDs that are being deleted; of the tests' resources none is left in them."""
    found = kubectl(plane.kubeconfig, "get", "crd", *DEFINITIONS, "--ignore-not-found", "-o", "name")
    for name in subprocess.run(found, timeout=60, check=True, capture_output=True, text=True).stdout.split():
        command = kubectl(plane.kubeconfig, "patch", name, "--type=merge", "-p", '{"metadata":{"finalizers":null}}')
        subprocess.run(command, timeout=60, check=False)  # it may have gone meanwhile


@pytest.fixture
def place(plane: ControlPlane) -> Iterator[str]:
    """A namespace for one test; afterwards everything installed is removed, including the CRDs."""
    name = f"chart-{os.urandom(4).hex()}"
    yield name
    uninstall(Release("tunes", name))
    command = kubectl(plane.kubeconfig, "delete", "crd", *DEFINITIONS, "--ignore-not-found", "--timeout=20s")
    if subprocess.run(command, timeout=60, check=False).returncode != 0:
        # The finalizer of a CRD that is deleted soon after its creation fails at first, and waits ever longer.
        _release(plane)


@pytest.mark.parametrize("name", CASES)
def test_the_api_server_accepts_every_object(plane: ControlPlane, name: str) -> None:
    namespace = f"dry-{os.urandom(4).hex()}"
    watched = [f"{namespace}-a", f"{namespace}-b"]
    for one in (namespace, *watched):
        restricted_namespace(plane, one)
    more = {"watchNamespaces": watched, "api": {"namespace": watched[0]}} if name == "two namespaces" else {}
    objects = documents(Release("tunes", namespace, values=merge(CASES[name], more)))
    assert len(dry_run(plane, namespace, objects).splitlines()) == len(objects)


@pytest.mark.parametrize("name", ["demo", "kept", "external", "everything"])
def test_pods_are_admitted_under_the_restricted_level(plane: ControlPlane, name: str) -> None:
    namespace = f"pods-{os.urandom(4).hex()}"
    restricted_namespace(plane, namespace)
    objects = documents(Release("tunes", namespace, values=CASES[name]))
    for account in of_kind(objects, "ServiceAccount"):
        plane.api.post(f"/api/v1/namespaces/{namespace}/serviceaccounts", dict(account))
    placed = [
        {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": f"pod-{at}", **one["metadata"]}, "spec": one["spec"]}
        for at, one in enumerate(pods(objects))
    ]
    assert len(dry_run(plane, namespace, placed).splitlines()) == len(placed)


def test_the_restricted_level_is_enforced(plane: ControlPlane) -> None:
    namespace = f"pods-{os.urandom(4).hex()}"
    restricted_namespace(plane, namespace)
    careless = {"containers": [{"name": "c", "image": "i"}]}
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}, "spec": careless}
    with pytest.raises(AssertionError, match="violates PodSecurity"):
        dry_run(plane, namespace, [pod])


def test_the_namespace_is_created_with_the_restricted_level(plane: ControlPlane, place: str) -> None:
    install_case("demo", place)
    assert RESTRICTED.items() <= plane.api.get(f"/api/v1/namespaces/{place}")["metadata"]["labels"].items()


def test_generated_secrets_survive_an_upgrade_and_the_id_is_permanent(plane: ControlPlane, place: str) -> None:
    release = install_case("demo", place)
    deployment = f"/apis/apps/v1/namespaces/{place}/deployments/tunes-api"
    secrets, [install_id] = data(plane, place, *GENERATED), data(plane, place, INSTALL_ID)
    pods = plane.api.get(deployment)["spec"]["template"]
    assert install_id["installId"]
    assert all(value for secret in secrets for value in secret.values())

    install_case("demo", place, {"maxActive": 3})
    assert data(plane, place, *GENERATED) == secrets
    assert data(plane, place, INSTALL_ID) == [install_id]
    assert plane.api.get(deployment)["spec"]["template"] == pods, "nothing of the API changed, so it runs on"

    uninstall(release)
    install_case("demo", place)
    assert data(plane, place, INSTALL_ID) == [install_id]
    assert data(plane, place, *GENERATED) != secrets


def test_an_upgrade_restarts_what_reads_a_secret_that_has_changed(plane: ControlPlane, place: str) -> None:
    restricted_namespace(plane, place)
    secrets = f"/api/v1/namespaces/{place}/secrets"
    for name in ("api-key", "bucket", "redis"):
        plane.api.post(secrets, {"metadata": {"name": name}, "stringData": {"key": "first"}})

    def templates() -> dict[str, Object]:
        install_case("external", place)
        deployments = f"/apis/apps/v1/namespaces/{place}/deployments"
        return {part: plane.api.get(f"{deployments}/tunes-{part}")["spec"]["template"] for part in ("api", "operator")}

    first = templates()
    assert "first" not in first["api"]["metadata"]["annotations"]["stemyard.dev/secrets"]
    assert templates() == first
    plane.api.merge(f"{secrets}/api-key", {"stringData": {"key": "second"}})
    rotated = templates()
    assert (rotated["api"] == first["api"], rotated["operator"] == first["operator"]) == (False, False)
    plane.api.merge(f"{secrets}/bucket", {"stringData": {"key": "second"}})
    again = templates()
    assert (again["api"] == rotated["api"], again["operator"] == rotated["operator"]) == (False, False)


ROTATED: Mapping[str, tuple[Object, str, str, set[str]]] = {
    "the API key": ({"api": {"secretKey": "n" * 40}}, "tunes-api", "API_SECRET_KEY", {"api", "operator"}),
    "Valkey's password": (
        {"valkey": {"password": "n" * 32}},
        "tunes-redis",
        "VALKEY_PASSWORD",
        {"api", "operator", "valkey"},
    ),
    "the store's keys": (
        {"objectStore": {"accessKeyId": "n" * 20, "secretAccessKey": "n" * 40}},
        "tunes-object-store",
        "R2_SECRET_ACCESS_KEY",
        {"api", "operator", "store"},
    ),
    "the master secret of webhooks": (
        {"webhooks": {"masterSecret": "n" * 40}},
        "tunes-api",
        "WEBHOOK_MASTER_SECRET",
        {"api", "operator"},
    ),
}
"""What the chart generates: the values that replace it, its Secret and key, and the parts that are restarted."""


@pytest.mark.parametrize("name", ROTATED)
def test_what_was_generated_is_replaced_by_a_value_that_is_set_once(plane: ControlPlane, place: str, name: str) -> None:
    values, secret, key, restarted = ROTATED[name]

    def templates() -> dict[str, Object]:
        deployments = plane.api.get(f"/apis/apps/v1/namespaces/{place}/deployments")["items"]
        return {one["metadata"]["name"].removeprefix("tunes-"): one["spec"]["template"] for one in deployments}

    def stored() -> str:
        [found] = data(plane, place, ("secrets", secret))
        return b64decode(found[key]).decode()

    install_case("demo", place)
    first, generated = templates(), stored()
    install_case("demo", place, values)
    rotated = templates()
    assert generated != stored() == "n" * len(generated)
    assert {part for part in first if rotated[part] != first[part]} == restarted
    install_case("demo", place)
    assert stored() == "n" * len(generated)
    assert templates() == rotated


def test_another_id_for_the_same_release_is_refused(plane: ControlPlane, place: str) -> None:
    install_case("demo", place)
    [install_id] = data(plane, place, INSTALL_ID)
    with pytest.raises(InstallError, match=r"install\.id: this release already has the id"):
        install_case("demo", place, {"install": {"id": "another"}})
    assert data(plane, place, INSTALL_ID) == [install_id]


def test_a_second_release_for_the_same_namespace_is_refused(plane: ControlPlane, place: str) -> None:
    install_case("demo", place)
    second = Release("others", f"{place}-others")
    values = {"crds": {"enabled": False}, "watchNamespaces": [place], "api": {"namespace": place}}
    try:
        with pytest.raises(
            InstallError, match=f'the release "tunes" runs the SeparationJobs of the namespace "{place}"'
        ):
            install(replace(second, values=merge(CASES["demo"], values)), print, timeout=30, wait=False)
        assert Helm().status(second) is None
        install_case("demo", place)
    finally:
        uninstall(second)


def test_values_that_are_no_longer_set_return_to_defaults(plane: ControlPlane, place: str) -> None:
    release = install_case("default", place, {"operator": {"replicas": 2}})
    assert Helm().user_values(release) == dict(release.values)
    install_case("default", place)
    deployment = plane.api.get(f"/apis/apps/v1/namespaces/{place}/deployments/tunes-operator")
    assert deployment["spec"]["replicas"] == 1


@pytest.mark.parametrize("name", ["demo", "everything"])
def test_uninstalling_keeps_separations_and_the_id_and_nothing_else(plane: ControlPlane, place: str, name: str) -> None:
    release = install_case(name, place)
    path = separations_path(place)
    plane.api.post(path, SEPARATION)
    uninstall(release)
    assert [one["metadata"]["name"] for one in plane.api.get(path)["items"]] == ["song"]
    assert Helm().status(release) is None
    options = ("get", KINDS, "-n", place, "-l", "app.kubernetes.io/instance=tunes", "-o", "name")
    command = kubectl(plane.kubeconfig, *options)
    left = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    assert left.stdout.split() == ["configmap/tunes-install"]


def test_watched_namespaces_get_their_objects_and_lose_them_on_uninstall(plane: ControlPlane, place: str) -> None:
    watched = [f"{place}-a", f"{place}-b"]
    for one in watched:
        restricted_namespace(plane, one)
    release = install_case("two namespaces", place, {"watchNamespaces": watched, "api": {"namespace": watched[0]}})
    command = kubectl(plane.kubeconfig, "get", KINDS, "-l", "app.kubernetes.io/instance=tunes", "-o", "name")

    def present(namespace: str) -> set[str]:
        done = subprocess.run([*command, "-n", namespace], capture_output=True, text=True, timeout=60, check=True)
        return {line for line in done.stdout.split() if not line.startswith("clusterrole")}

    role, binding = ("role.rbac.authorization.k8s.io", "rolebinding.rbac.authorization.k8s.io")
    policy = "networkpolicy.networking.k8s.io"
    both = {
        "serviceaccount/tunes-separator",
        f"{role}/tunes-operator",
        f"{binding}/tunes-operator",
        f"{policy}/tunes-separator",
        f"{policy}/tunes-fetch",
    }
    assert present(watched[0]) == both | {f"{role}/tunes-api", f"{binding}/tunes-api"}
    assert present(watched[1]) == both
    uninstall(release)
    assert [present(one) for one in watched] == [set(), set()]


@pytest.fixture
def previous(tmp_path: Path) -> Path:
    with tarfile.open(PREVIOUS) as archive:
        archive.extractall(tmp_path, filter="data")
    return tmp_path / "stemyard"


def first_separation(plane: ControlPlane, place: str) -> Object:
    """Create a SeparationJob once the API server serves the CRD."""
    made: list[Object] = []

    def created() -> bool:
        with contextlib.suppress(ApiRefusedError):
            made.append(plane.api.post(separations_path(place), SEPARATION))
        return bool(made)

    eventually(created)
    return made[0]


@pytest.mark.parametrize("name", ["demo", "kept", "external"])
def test_an_upgrade_from_the_previous_chart_keeps_data_and_can_be_rolled_back(
    plane: ControlPlane, place: str, previous: Path, name: str
) -> None:
    values = only_known(merge(CASES[name], WITHOUT_CLAIMS), previous)
    install(Release("tunes", place, previous, values), print, timeout=60, wait=False)
    separation = first_separation(plane, place)
    made = [one for one in GENERATED if name == "demo" or (name, one[1]) == ("kept", "tunes-api")]
    secrets, kept = data(plane, place, *made), data(plane, place, INSTALL_ID)
    deployment = f"/apis/apps/v1/namespaces/{place}/deployments/tunes-operator"
    before = plane.api.get(deployment)["spec"]["template"]

    release = install_case(name, place)
    assert data(plane, place, INSTALL_ID) == kept
    for old, new in zip(secrets, data(plane, place, *made), strict=True):
        assert {key: new[key] for key in old.keys() & STAYING} == {key: old[key] for key in old.keys() & STAYING}
    path = f"{separations_path(place)}/song"
    assert plane.api.get(path)["metadata"]["uid"] == separation["metadata"]["uid"]
    assert plane.api.get(deployment)["spec"]["template"] != before

    Helm().rollback(release, timeout=60)
    assert Helm().status(release) == "deployed"
    assert plane.api.get(deployment)["spec"]["template"] == before
    assert plane.api.get(path)["metadata"]["uid"] == separation["metadata"]["uid"]


STAYING = {"API_SECRET_KEY", "VALKEY_PASSWORD", "R2_ACCESS_KEY_ID", "R2_SECRET_ACCESS_KEY"}
"""Keys of Secrets that are credentials; others are derived from them."""


def only_known(values: Object, chart: Path) -> Object:
    """Return those values that an older chart supports."""
    return _known(values, yaml.safe_load((chart / "values.yaml").read_text()))


def _known(values: Object, defaults: Object) -> Object:
    return {
        name: _known(value, defaults[name]) if isinstance(value, dict) and defaults[name] else value
        for name, value in values.items()
        if name in defaults
    }


def test_the_notes_contain_the_commands(plane: ControlPlane, place: str) -> None:
    release = install_case("demo", place)
    notes = Helm().notes(release)
    for part in (
        f"kubectl -n {place} rollout status deployment/tunes-api deployment/tunes-operator",
        "$STEMYARD_URL/separate-audio",
        f"kubectl -n {place} get separationjobs --watch",
        f"helm test tunes --namespace {place} --logs --timeout 720s",
        '-d \'{"search_query": "Song Title Artist"}\'',
        "YouTube is on. You, who deploy this, answer for the right",
        "--set sources.youtube.enabled=false",
    ):
        assert part in notes
    install_case("demo", place, {"sources": {"youtube": {"enabled": False}}})
    notes = Helm().notes(release)
    assert "YouTube" not in notes
    assert "search_query" not in notes, "it would be refused"
    assert '-d \'{"url": "https://example.com/song.mp3"}\'' in notes


def test_the_notes_read_address_and_key(plane: ControlPlane, place: str) -> None:
    address = {"addresses": [{"type": "Hostname", "address": "node"}, {"type": "InternalIP", "address": "192.0.2.7"}]}
    plane.api.post("/api/v1/nodes", {"metadata": {"name": "node"}, "status": address})
    release = install_case("demo", place)
    lines = [one.strip() for one in Helm().notes(release).splitlines() if "export STEMYARD_" in one]
    program = " ".join(kubectl(plane.kubeconfig))
    script = "\n".join([*(line.replace("kubectl", program) for line in lines), "echo $STEMYARD_URL $STEMYARD_API_KEY"])
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, timeout=30, check=True)
    url, key = done.stdout.split()
    assert url == "http://192.0.2.7:30550"
    assert len(key) == 40


def test_a_refused_installation_leaves_no_objects(plane: ControlPlane, place: str) -> None:
    release = Release("tunes", place)
    with pytest.raises(InstallError, match="nowhere to keep stems"):
        install(release, print, timeout=30, wait=False)
    assert Helm().status(release) is None
    with pytest.raises(HelmError):
        Helm().notes(release)


@pytest.mark.parametrize("revisions", [1, 2])
def test_an_interrupted_installation_is_resumed(plane: ControlPlane, place: str, revisions: int) -> None:
    for replicas in range(1, revisions + 1):
        install_case("default", place, {"operator": {"replicas": replicas}})
    [install_id] = data(plane, place, INSTALL_ID)
    state = "pending-install" if revisions == 1 else "pending-upgrade"
    interrupted(plane, place, revisions, state)
    said: list[str] = []
    release = Release("tunes", place, values=merge(CASES["default"], WITHOUT_CLAIMS))
    assert Helm().status(release) == state
    install(release, said.append, timeout=60, wait=False)
    assert said[0] == f"an earlier run left tunes in state {state}: undoing it"
    assert Helm().status(release) == "deployed"
    assert data(plane, place, INSTALL_ID) == [install_id]


def interrupted(plane: ControlPlane, place: str, revision: int, state: str) -> None:
    """Leave the newest revision in the state of an interrupted Helm."""
    path = f"/api/v1/namespaces/{place}/secrets/sh.helm.release.v1.tunes.v{revision}"
    stored = json.loads(gzip.decompress(b64decode(b64decode(plane.api.get(path)["data"]["release"]))))
    stored["info"]["status"] = state
    packed = b64encode(b64encode(gzip.compress(json.dumps(stored).encode()))).decode()
    plane.api.merge(path, {"data": {"release": packed}, "metadata": {"labels": {"status": state}}})


def test_a_timeout_names_what_the_installation_waits_for(plane: ControlPlane, place: str) -> None:
    said: list[str] = []
    release = Release("tunes", place, values=merge(CASES["default"], WITHOUT_CLAIMS))
    with pytest.raises(InstallError, match="waiting for tunes-api: no pod yet"):
        install(release, said.append, timeout=5)
    assert "waiting for tunes-operator: no pod yet" in said
