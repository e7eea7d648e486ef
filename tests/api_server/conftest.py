"""One real API server for this folder's tests: etcd and kube-apiserver, started once, with the CRDs installed."""

import time
from collections.abc import AsyncIterator, Generator, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from localcluster.control_plane import ControlPlane
from stemyard_operator.clients.kubernetes import KubernetesClient
from tests.support.api_world import World as ApiWorld
from tests.support.operator_world import World

_LOG_CHARACTERS = 6000

CRD_FOLDER = Path(__file__).parents[2] / "charts/stemyard/files/crds"
CRD_FILE = CRD_FOLDER / "separationjobs.yaml"
CRDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark everything below this folder as needing an API server."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.api_server)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Show the servers' logs of a failed test, because rare failures cannot be reproduced."""
    report = yield
    for found in getattr(item, "funcargs", {}).values():
        if report.failed and isinstance(found, World):
            for log in sorted(found.folder.glob("*.log")):
                report.sections.append((log.name, log.read_text(errors="replace")[-_LOG_CHARACTERS:]))
    return report


def install_crd(plane: ControlPlane, definition: dict[str, Any] | None = None) -> None:
    """Create the committed CRDs, or the one that is given, and wait until the API server serves them."""
    committed = [yaml.safe_load(file.read_text()) for file in CRD_FOLDER.iterdir()]
    for crd in committed if definition is None else [definition]:
        _install(plane, crd)


def _install(plane: ControlPlane, crd: dict[str, Any]) -> None:
    plane.api.apply(f"{CRDS}/{crd['metadata']['name']}", crd)
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        conditions = plane.api.get(f"{CRDS}/{crd['metadata']['name']}")["status"]["conditions"] or []
        by_type = {condition["type"]: condition for condition in conditions}
        if by_type.get("Established", {}).get("status") == "True":
            return
        time.sleep(0.05)
    pytest.fail(f"the CRD was not established: {conditions}")


@pytest.fixture(scope="session")
def control_plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    """A control plane with the CRDs; each test uses its own namespace."""
    with ControlPlane(tmp_path_factory.mktemp("control-plane")) as plane:
        install_crd(plane)
        yield plane


@pytest.fixture
def namespace(control_plane: ControlPlane, request: pytest.FixtureRequest) -> str:
    """A fresh namespace for one test."""
    name = f"t-{abs(hash(request.node.nodeid)):x}-{time.monotonic_ns():x}"[:60]
    control_plane.api.post("/api/v1/namespaces", {"metadata": {"name": name}})
    return name


@pytest.fixture
async def cluster(running: World, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[KubernetesClient]:
    """A connection with the operator's rights, in the world of the test's module."""
    monkeypatch.setenv("KUBECONFIG", running.environment["KUBECONFIG"])
    found = await KubernetesClient.connect()
    yield found
    await found.close()


@pytest.fixture
def client(running: ApiWorld) -> Iterator[httpx.Client]:
    """A client with a key of its own, of an API that has forgotten what it counted."""
    running.forget()
    with running.client("team-a") as opened:
        yield opened
