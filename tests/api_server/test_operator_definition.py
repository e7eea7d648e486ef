"""An operator that is newer than the cluster's definition says so, and goes on once the definition is upgraded."""

import copy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from localcluster.control_plane import ControlPlane
from stemyard_contract.handover import WorkStage
from tests.api_server.conftest import CRD_FILE, CRDS, install_crd
from tests.support.operator_world import World, eventually, world

FETCH, SEPARATE = WorkStage
UNKNOWN = "device"
"""A field of the result that the older definition lacks; every completed status has it."""


def older(definition: dict[str, Any]) -> dict[str, Any]:
    """The definition as it was before the field."""
    found = copy.deepcopy(definition)
    [version] = found["spec"]["versions"]
    result = version["schema"]["openAPIV3Schema"]["properties"]["status"]["properties"]["result"]
    del result["properties"][UNKNOWN]
    result["required"].remove(UNKNOWN)
    return found


@pytest.fixture
def behind(tmp_path: Path) -> Iterator[World]:
    """A cluster of its own: the definition is the whole cluster's."""
    definition = yaml.safe_load(CRD_FILE.read_text())
    with ControlPlane(tmp_path / "plane") as plane:
        install_crd(plane, older(definition))
        with world(plane, tmp_path) as found:
            yield found


def warnings(behind: World) -> list[dict[str, Any]]:
    listed = behind.plane.api.get(behind.path("events"))["items"]
    return [event for event in listed if event["reason"] == "OldDefinition"]


def test_an_older_definition_is_named_and_its_upgrade_ends_the_wait(behind: World) -> None:
    with behind.operating() as operator:
        behind.create()
        fetch = behind.wait_job(FETCH)
        behind.succeed(fetch, behind.run(fetch))
        separate = behind.wait_job(SEPARATE)
        behind.succeed(separate, behind.run(separate))
        eventually(lambda: warnings(behind))
        [event] = warnings(behind)
        assert event["type"] == "Warning"
        assert f"status.result.{UNKNOWN}: field not declared in schema" in event["message"]
        assert "crds.enabled=true" in event["message"]
        refused = ("stemyard_kubernetes_requests_total", ("500", "separationjobs/status", "patch"))
        assert operator.metrics()[refused] >= 1
        assert behind.phase() == "Separating"
        definition = yaml.safe_load(CRD_FILE.read_text())
        behind.plane.api.apply(f"{CRDS}/{definition['metadata']['name']}", definition)
        eventually(lambda: behind.phase() == "Completed", 60)
        assert len(warnings(behind)) == 1
        assert len(behind.jobs()) <= len(WorkStage)
