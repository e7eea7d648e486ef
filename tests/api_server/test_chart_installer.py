"""An installation by somebody who has the rights of the installation page and no others."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from charts.helm import Helm, HelmError, Release, merge
from charts.install import uninstall
from localcluster.control_plane import ControlPlane
from tests.chart.installed import WITHOUT_CLAIMS, kubeconfig_of, restricted_namespace
from tests.chart.rendered import CASES, RELEASE, Object

PAGE = (Path(__file__).parents[2] / "docs/07-install.md").read_text()
[TEXT] = re.findall(r"(?ms)^```yaml[^\n]*\n([^`]+?name: stemyard-installer[^`]+?)^```", PAGE)
ROLE = yaml.safe_load(TEXT)
RBAC = "/apis/rbac.authorization.k8s.io/v1"
GROUP = "rbac.authorization.k8s.io"
PLACE = "by-installer"
SUBJECTS = [{"kind": "ServiceAccount", "name": "installer", "namespace": PLACE}]


@pytest.fixture(scope="module")
def plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    """A control plane of its own: the CRD is the installer's to create."""
    with ControlPlane(tmp_path_factory.mktemp("installer")) as plane:
        restricted_namespace(plane, PLACE)
        plane.api.post(f"/api/v1/namespaces/{PLACE}/serviceaccounts", {"metadata": {"name": "installer"}})
        # a controller, which does not run here, puts these three together to the role `admin`
        for part in ("view", "edit", "admin"):
            bind(plane, f"{RBAC}/namespaces/{PLACE}/rolebindings", f"system:aggregate-to-{part}")
        yield plane


def bind(plane: ControlPlane, path: str, role: str) -> None:
    reference = {"apiGroup": GROUP, "kind": "ClusterRole", "name": role}
    plane.api.post(path, {"metadata": {"name": role}, "roleRef": reference, "subjects": SUBJECTS})


def release(values: Object | None = None) -> Release:
    return Release(RELEASE, PLACE, values=merge(merge(CASES["demo"], WITHOUT_CLAIMS), values or {}))


def test_the_rights_of_the_page_are_enough_and_needed(plane: ControlPlane, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUBECONFIG", str(kubeconfig_of(plane, PLACE, "installer")))
    with pytest.raises(HelmError, match="forbidden"):
        Helm().apply(release(), wait=False, timeout=60)
    plane.api.post(f"{RBAC}/clusterroles", ROLE)
    bind(plane, f"{RBAC}/clusterrolebindings", ROLE["metadata"]["name"])
    Helm().apply(release(), wait=False, timeout=60)
    Helm().apply(release({"maxActive": 3}), wait=False, timeout=60)
    assert Helm().status(release()) == "deployed"
    uninstall(release())
    assert Helm().status(release()) is None
