"""The page on GitOps: its SeparationJobs are applied again and again, by server-side apply, with a real operator."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from localcluster.control_plane import ControlPlane
from localcluster.kube_api import APPLY
from stemyard_contract.handover import WorkStage
from tests.support.operator_world import World, eventually, world

PAGE = (Path(__file__).parents[2] / "docs/13-gitops.md").read_text()
DOCUMENTS: list[dict[str, Any]] = [yaml.safe_load(text) for text in re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)]


def declared(kind: str) -> dict[str, Any]:
    [found] = [one for one in DOCUMENTS if one.get("kind") == kind]
    return found


@pytest.fixture
def running(control_plane: ControlPlane, tmp_path: Path) -> Iterator[World]:
    with world(control_plane, tmp_path) as found:
        yield found


def sync(running: World, **spec: Any) -> dict[str, Any]:
    """Apply what the page declares as Argo CD and Flux do, with these fields in addition."""
    manifest = declared("SeparationJob")
    name = manifest["metadata"]["name"]
    body = {**manifest, "metadata": {"name": name}, "spec": {**manifest["spec"], **spec}}
    path = f"{running.path('separationjobs', name)}?fieldManager=argocd-controller&force=true"
    return dict(running.plane.api._json("PATCH", path, body, APPLY))


def test_later_syncs_neither_fail_nor_undo_what_was_done(running: World) -> None:
    name = declared("SeparationJob")["metadata"]["name"]
    hook = {"url": "https://hooks.example.com/done"}
    stated = {"run": 1, "cancel": False, "webhooks": [hook]}
    with running.operating():
        uid = sync(running, **stated)["metadata"]["uid"]
        assert "ttlSecondsAfterFinished" not in sync(running, **stated)["spec"]
        running.separate(name)
        sync(running, **stated)
        running.plane.api.merge(running.path("separationjobs", name), {"spec": {"run": 2}})
        running.wait_job(WorkStage.FETCH, name=name, run=2)
        assert sync(running, **stated)["spec"]["run"] == 1
        for stage in WorkStage:
            job = running.wait_job(stage, name=name, run=2)
            running.succeed(job, running.run(job))
        eventually(lambda: running.phase(name) == "Completed" and running.separation(name).status.run == 2)
        # a webhook removed in git, then everything that git need not state
        sync(running, run=1, cancel=False)
        stored = sync(running)
        assert (stored["metadata"]["uid"], stored["spec"]["webhooks"]) == (uid, [])
        eventually(lambda: running.separation(name).status.observed_generation == stored["metadata"]["generation"])
        assert running.separation(name).status.run == 2
        sync(running, run=3)
        running.wait_job(WorkStage.FETCH, name=name, run=3)


def test_a_cancellation_taken_back_by_git_stays_one_once_it_is_done(running: World) -> None:
    name = declared("SeparationJob")["metadata"]["name"]
    with running.operating():
        sync(running, cancel=False)
        job = running.wait_job(WorkStage.FETCH, name=name)["metadata"]["name"]
        running.plane.api.merge(running.path("separationjobs", name), {"spec": {"cancel": True}})
        eventually(lambda: "deletionTimestamp" in running.jobs()[job]["metadata"])
        running.plane.api.merge(running.path("jobs", job), {"metadata": {"finalizers": None}})
        eventually(lambda: running.phase(name) == "Cancelled")
        assert sync(running, cancel=False)["spec"]["cancel"] is False
        eventually(lambda: running.separation(name).generation == running.separation(name).status.observed_generation)
        assert running.phase(name) == "Cancelled"


def test_the_manifests_for_argo_cd_and_flux_say_what_the_page_says() -> None:
    assert "ServerSideApply=true" in declared("Application")["spec"]["syncPolicy"]["syncOptions"]
    [check] = declared("Kustomization")["spec"]["healthCheckExprs"]
    job = declared("SeparationJob")
    assert (check["apiVersion"], check["kind"]) == (job["apiVersion"], job["kind"])
    assert not {"run", "cancel", "claims", "ttlSecondsAfterFinished"} & set(job["spec"]), json.dumps(job)
    assert list(declared("ConfigMap")["data"]) == ["resource.customizations.health.stemyard.dev_SeparationJob"]
