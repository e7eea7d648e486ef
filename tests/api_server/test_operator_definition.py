"""An operator that is newer than the cluster's CRD reports it, and continues once the CRD is upgraded."""

import copy
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import yaml

from localcluster.control_plane import ControlPlane
from localcluster.errors import ApiRefusedError
from stemyard_contract.handover import WorkStage
from tests.api_server.conftest import CRD_FILE, CRDS, install_crd
from tests.api_server.test_crd import manifest
from tests.support.operator_world import World, eventually, world

FETCH, SEPARATE = WorkStage
UNKNOWN = "device"
"""A field of the result that the older CRD lacks; every completed status has it."""


def older(definition: dict[str, Any]) -> dict[str, Any]:
    """Return the CRD without the field."""
    found = copy.deepcopy(definition)
    [version] = found["spec"]["versions"]
    result = version["schema"]["openAPIV3Schema"]["properties"]["status"]["properties"]["result"]
    del result["properties"][UNKNOWN]
    result["required"].remove(UNKNOWN)
    return found


@pytest.fixture
def behind(tmp_path: Path) -> Iterator[World]:
    """A separate cluster, because the CRD is cluster-wide."""
    definition = yaml.safe_load(CRD_FILE.read_text())
    with ControlPlane(tmp_path / "plane") as plane:
        install_crd(plane, older(definition))
        with world(plane, tmp_path) as found:
            yield found


def warnings(behind: World) -> list[dict[str, Any]]:
    listed = behind.plane.api.get(behind.path("events"))["items"]
    return [event for event in listed if event["reason"] == "OldDefinition"]


def test_an_outdated_crd_is_reported_until_it_is_upgraded(behind: World) -> None:
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


def lenient(definition: dict[str, Any]) -> dict[str, Any]:
    """The definition as it was before URLs and queries were checked as the types check them."""
    found = copy.deepcopy(definition)
    [version] = found["spec"]["versions"]
    source = version["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]["source"]["properties"]
    for field in ("url", "searchQuery"):
        del source[field]["x-kubernetes-validations"]
    return found


def test_a_status_that_cannot_be_read_keeps_the_operator_from_nothing(
    control_plane: ControlPlane, tmp_path: Path
) -> None:
    """The CRD's format of times lets in more than there are; the operator starts all the same."""
    with world(control_plane, tmp_path) as found:
        lease = {"podUid": "x", "since": "0000-01-01T00:00:00Z", "attempt": 1}
        paths = [found.path("separationjobs", f"bad-{number}") for number in range(3)]
        for number, path in enumerate(paths):
            found.create(f"bad-{number}")
            status = {"run": 1, "finishedAt": "0000-01-01T00:00:00Z", "lease": lease}
            found.plane.api.merge(path + "/status", {"status": status})
        with found.operating():
            found.create()
            found.separate()
            for path in paths:
                eventually(partial(has_failed, found.plane, path))


def has_failed(plane: ControlPlane, path: str) -> bool:
    return bool(plane.api.get(path)["status"].get("phase") == "Failed")


def has_status(plane: ControlPlane, path: str) -> bool:
    return "status" in plane.api.get(path)


def test_what_an_older_definition_let_in_is_refused_and_the_others_go_on(tmp_path: Path) -> None:
    sources = ({"url": "https://h:port/"}, {"url": "https://example.com/a\u3000b"}, {"searchQuery": "a\x85b"})
    with ControlPlane(tmp_path / "plane") as plane:
        install_crd(plane, lenient(yaml.safe_load(CRD_FILE.read_text())))
        with world(plane, tmp_path) as found, found.operating():
            for number, source in enumerate(sources):
                plane.api.post(found.path("separationjobs"), manifest({"source": source}, f"bad-{number}"))
            found.create()
            found.separate()
            for number in range(len(sources)):
                path = found.path("separationjobs", f"bad-{number}")
                eventually(partial(has_status, plane, path))
                status = plane.api.get(path)["status"]
                conditions = {one["type"]: (one["status"], one["reason"]) for one in status["conditions"]}
                assert conditions["Accepted"] == ("False", "Invalid")
                assert (status["phase"], status["failure"]["code"]) == ("Failed", "INVALID_REQUEST")
            events = [one["reason"] for one in plane.api.get(found.path("events"))["items"] if one["type"] == "Warning"]
            assert events == ["Failed"] * len(sources)


def test_the_watch_comes_back_after_the_definition_was_away(tmp_path: Path) -> None:
    definition = yaml.safe_load(CRD_FILE.read_text())
    path = f"{CRDS}/{definition['metadata']['name']}"
    with ControlPlane(tmp_path / "plane") as plane:
        install_crd(plane)
        with world(plane, tmp_path) as found, found.operating(RESYNC_SECONDS="3600") as operator:
            found.create("before")
            found.separate("before")
            plane.api.delete(path)
            readable = ("stemyard_namespace_readable", (found.namespace,))
            eventually(lambda: operator.metrics()[readable] == 0, 120)
            install_crd(plane)
            eventually(lambda: is_created(found, "after"))
            found.separate("after")
            assert operator.alive()
            assert operator.is_ready()


def is_created(found: World, name: str) -> bool:
    """Create a SeparationJob; return False while the API server does not serve the kind yet."""
    try:
        found.create(name)
    except ApiRefusedError:
        return False
    return True
