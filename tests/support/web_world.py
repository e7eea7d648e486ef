"""The whole system except kubelet and browser, each part a process; the real separator runs separations."""

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from localcluster.control_plane import ControlPlane
from stemyard_contract.handover import ASSIGNMENT_VARIABLE, DESK_PROGRESS_PATH, Assignment, Progress, WorkStage
from tests.support import api_world, operator_world, separator_process
from tests.support.operator_world import Operator, eventually
from tests.support.servers import Api, api_process
from tests.support.youtube_server import FakeYoutube


@dataclass(frozen=True)
class Work:
    """A Job whose pod is running; the test acts as the kubelet."""

    world: "World"
    job: dict[str, Any]
    pod: dict[str, Any]

    @property
    def stage(self) -> WorkStage:
        return self.assignment.stage

    @property
    def assignment(self) -> Assignment:
        [container] = self.job["spec"]["template"]["spec"]["containers"]
        text = next(entry["value"] for entry in container["env"] if entry["name"] == ASSIGNMENT_VARIABLE)
        return Assignment.model_validate_json(text)

    def report(self, fraction: float, step: str, sequence: int = 1) -> None:
        """Report progress to the desk, as the separator does."""
        progress = Progress(stage=self.stage, sequence=sequence, fraction=fraction, step=step)
        headers = {"Authorization": f"Bearer {self.world.cluster.token(self.pod)}"}
        url = self.world.operator.desk + DESK_PROGRESS_PATH
        eventually(lambda: httpx.post(url, content=progress.dump(), headers=headers).status_code == 204)

    def separate(self) -> None:
        """Run the separator, and write its result to pod and Job."""
        folder = self.world.folder / self.pod["metadata"]["name"]
        folder.mkdir()
        (folder / "pod-token").write_text(self.world.cluster.token(self.pod))
        ended = separator_process.run(
            self.assignment,
            folder,
            STEMYARD_TOKEN_PATH=str(folder / "pod-token"),
            STEMYARD_POD_UID=self.pod["metadata"]["uid"],
            **self.world.youtube.environment,
        )
        assert ended.outcome is not None, ended.output
        self.world.cluster.finish(self.job, self.pod, ended.exit_code, ended.outcome.dump())

    def fail(self, code: str) -> None:
        """End it with a failure code."""
        self.world.cluster.fail(self.job, self.pod, code)


@dataclass
class World:
    """The whole system."""

    cluster: operator_world.World
    operator: Operator
    api: Api
    youtube: FakeYoutube
    folder: Path
    environment: dict[str, str]

    @contextlib.contextmanager
    def another_api(self, **settings: str) -> Iterator[Api]:
        """Run another API with other settings; the store's CORS rules do not allow its page."""
        with api_process(self.folder, {**self.environment, **settings}) as api:
            yield api

    @property
    def url(self) -> str:
        return self.api.url

    def work(self, track: str, stage: WorkStage, attempt: int = 1, run: int = 1) -> Work:
        """The Job of a stage of a track, started."""
        name = f"sep-{track}"
        eventually(lambda: self.exists(track))
        job = self.cluster.wait_job(stage, attempt, name, run)
        return Work(self, job, self.cluster.run(job))

    def separate(self, track: str, run: int = 1) -> None:
        """Run both stages of a track."""
        for stage in WorkStage:
            self.work(track, stage, run=run).separate()

    def wait_completed(self, track: str) -> None:
        """Wait until the API reports a track as completed."""
        with self.api.client() as client:
            eventually(lambda: client.get(f"/job/{track}").json()["status"] == "completed")

    def submit(self, **request: Any) -> str:
        """Request a separation without the page."""
        with self.api.client() as client:
            answer = client.post("/separate-audio", json=request)
            answer.raise_for_status()
            return str(answer.json()["track_id"])

    def exists(self, track: str) -> bool:
        """Whether there is a SeparationJob for a track."""
        items = self.cluster.plane.api.get(self.cluster.path("separationjobs"))["items"]
        return any(item["metadata"]["name"] == f"sep-{track}" for item in items)

    def stop_jobs(self, track: str) -> None:
        """Remove finalizers of Jobs that are being deleted, as the garbage collector does once their pods are gone."""

        def ending() -> list[str]:
            return [name for name, job in self.cluster.jobs().items() if "deletionTimestamp" in job["metadata"]]

        eventually(lambda: [name for name in ending() if name.startswith(f"sep-{track}")])
        for name in ending():
            self.cluster.plane.api.merge(self.cluster.path("jobs", name), {"metadata": {"finalizers": None}})


@contextlib.contextmanager
def world(plane: ControlPlane, folder: Path, **extra: str) -> Iterator[World]:
    """Start everything; `extra` are environment variables of the API."""
    with contextlib.ExitStack() as stack:
        cluster = stack.enter_context(operator_world.world(plane, folder))
        api_world.grant(plane, cluster.namespace)
        operator = stack.enter_context(cluster.operating(MAX_ACTIVE="100", MAX_ACTIVE_FETCH="100"))
        environment = {
            "KUBECONFIG": str(plane.kubeconfig_of_account(cluster.namespace, api_world.ACCOUNT)),
            "STEMYARD_INSTALL_ID": operator_world.INSTALL,
            "STEMYARD_NAMESPACE": cluster.namespace,
            "REDIS_URL": cluster.environment["REDIS_URL"],
            **cluster.store.environment,
            "API_KEYS_FILE": str(api_world.keys_file(folder)),
            **extra,
        }
        api = stack.enter_context(api_process(folder, environment))
        allow_pages(cluster, api.url)
        youtube = stack.enter_context(FakeYoutube())
        yield World(cluster, operator, api, youtube, folder, environment)


def allow_pages(cluster: operator_world.World, *origins: str) -> None:
    """Allow exactly the pages of these origins to upload to the store and read from it, as a deployment does."""
    command = [sys.executable, "-m", "stemyard_operator", "bucket-rules"]
    command += [part for origin in origins for part in ("--origin", origin)]
    subprocess.run(command, env={**os.environ, **cluster.environment}, check=True, stdout=subprocess.DEVNULL)
