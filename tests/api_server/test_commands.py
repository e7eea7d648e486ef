"""The pages' commands for a cluster, against a real API server without nodes: kubectl, and the chart by Helm."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from localcluster import tools
from localcluster.control_plane import ControlPlane
from localcluster.folders import here
from tests.release.test_docs import PAGES, page
from tests.support.command_blocks import HELM, needs_cluster, run_blocks

IN_A_CLUSTER = [path for path in PAGES if needs_cluster(path)]
AFTER = {"09-operations.md": "07-install.md"}
"""Pages that go on where another ends."""


@pytest.fixture
def plane(tmp_path: Path) -> Iterator[ControlPlane]:
    """A control plane for each page, as each begins with an empty cluster."""
    with ControlPlane(tmp_path / "control-plane") as started:
        yield started


def test_the_pages_for_clusters_are_found() -> None:
    names = {path.name for path in IN_A_CLUSTER}
    assert {"your-cluster.md", "gpu-on-gke.md", "kueue-per-team.md", "07-install.md", "09-operations.md"} <= names


@pytest.mark.parametrize("path", IN_A_CLUSTER, ids=page)
def test_commands_run(path: Path, tmp_path: Path, plane: ControlPlane) -> None:
    kubectl = tools.path_of("kubectl", here())
    assert os.access(kubectl, os.X_OK)
    programs = {"helm": HELM, "kubectl": kubectl}
    before = [path.with_name(AFTER[path.name])] if path.name in AFTER else []
    assert run_blocks(path, tmp_path / "page", programs, before, KUBECONFIG=str(plane.kubeconfig))
