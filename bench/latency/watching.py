"""Separates one song on the cluster and notes when each step is seen: by watches, by the pods' logs and by the API."""

import asyncio
import json
import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import httpx

from demo.system import System
from stemyard_client import StemyardError
from stemyard_contract.separationjob import LABEL_JOB, LABEL_STAGE
from stemyard_operator.clients.kubernetes import KubernetesClient
from stemyard_operator.clients.kubernetes_paths import jobs_path, pods_path, separations_path

_POLL_SECONDS: Final = 0.02
_WATCHING_SECONDS: Final = 1.0
"""For the watches to deliver what exists already."""
_LONGEST_SECONDS: Final = 300.0
_LATE_SECONDS: Final = 30.0
"""Longest wait for the Jobs' ends after the links."""


@dataclass
class Sightings:
    """When each step of a SeparationJob was first seen, in seconds of the wall clock, which its node shares."""

    at: dict[str, dict[str, float]] = field(default_factory=dict)
    pods: dict[str, dict[str, str]] = field(default_factory=dict)
    """Pod of each stage."""

    def note(self, name: str, step: str, moment: float | None = None) -> None:
        self.at.setdefault(name, {}).setdefault(step, moment or time.time())

    def separation(self, resource: Mapping[str, Any]) -> None:
        name = resource["metadata"]["name"]
        self.note(name, "seen")
        if (resource.get("status") or {}).get("phase") == "Completed":
            self.note(name, "completed")

    def job(self, resource: Mapping[str, Any]) -> None:
        name, stage = _owner(resource), resource["metadata"]["labels"][LABEL_STAGE]
        self.note(name, f"{stage}_job")
        ends = (resource.get("status") or {}).get("conditions") or []
        if any(one["type"] in {"Complete", "Failed"} and one["status"] == "True" for one in ends):
            self.note(name, f"{stage}_ended")

    def pod(self, resource: Mapping[str, Any]) -> None:
        labels = resource["metadata"].get("labels") or {}
        if LABEL_STAGE not in labels:
            return
        name, stage = labels[LABEL_JOB], labels[LABEL_STAGE]
        self.note(name, f"{stage}_pod")
        self.pods.setdefault(name, {})[stage] = resource["metadata"]["name"]
        if resource["spec"].get("nodeName"):
            self.note(name, f"{stage}_scheduled")

    def log(self, name: str, stage: str, text: str) -> None:
        """Note what a pod's log says, by the container runtime's timestamps."""
        for line in text.splitlines():
            stamp, _, entry = line.partition(" ")
            with suppress(ValueError):
                told, moment = json.loads(entry), datetime.fromisoformat(stamp).timestamp()
                if told["message"] == "stage started":
                    self.note(name, f"{stage}_line", moment)
                    if told.get("process_seconds") is not None:
                        self.note(name, f"{stage}_process", moment - told["process_seconds"])
                elif told["message"] in {"commit mark written", "stage succeeded"}:
                    # images older than the first have only the second
                    self.note(name, f"{stage}_mark", moment)


def _owner(resource: Mapping[str, Any]) -> str:
    return str(resource["metadata"]["ownerReferences"][0]["name"])


@asynccontextmanager
async def watching(system: System) -> AsyncIterator[Sightings]:
    """Watch the installation's namespace while the block runs."""
    os.environ["KUBECONFIG"] = str(system.kubeconfig)
    client, sightings = await KubernetesClient.connect(), Sightings()
    kinds = {
        separations_path(system.namespace): sightings.separation,
        jobs_path(system.namespace): sightings.job,
        pods_path(system.namespace): sightings.pod,
    }

    async def watch(path: str) -> None:
        version = ""
        while True:  # the API server ends a watch after some minutes
            async for kind, version, resource in client.watch(path, "", version):  # noqa: B007, B020 - continues there
                if kind in {"ADDED", "MODIFIED"} and (path != jobs_path(system.namespace) or _is_ours(resource)):
                    kinds[path](resource)

    tasks = [asyncio.create_task(watch(path)) for path in kinds]
    try:
        await asyncio.sleep(_WATCHING_SECONDS)
        yield sightings
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await client.close()


def _is_ours(resource: Mapping[str, Any]) -> bool:
    return LABEL_STAGE in (resource["metadata"].get("labels") or {})


async def separated(system: System, sightings: Sightings, song: Path) -> dict[str, float]:
    """Separate an uploaded song; return the seconds from the POST to each step. The track is deleted afterwards.

    Raises:
        StemyardError: it failed or timed out.
    """
    with system.service.stemyard() as stemyard:
        upload_id = await asyncio.to_thread(stemyard.upload, song)
    headers = {"X-API-Key": system.service.api_key}
    async with httpx.AsyncClient(base_url=system.service.url, headers=headers, timeout=30) as client:
        begun = time.time()
        answer = (await client.post("/separate-audio", json={"upload_id": upload_id})).raise_for_status().json()
        track = str(answer["track_id"])
        name = f"sep-{track}"
        sightings.note(name, "answered")
        await _wait_for_links(client, track)
        sightings.note(name, "links")
        await _wait_for_ends(sightings, name)
        for stage, pod in sightings.pods[name].items():
            text = await asyncio.to_thread(system.kubectl, "logs", pod, "--timestamps")
            sightings.log(name, stage, text)
        (await client.delete(f"/job/{track}")).raise_for_status()
        await _wait_until_deleted(client, track)
    return {step: at - begun for step, at in sightings.at[name].items()}


async def _wait_for_links(client: httpx.AsyncClient, track: str) -> None:
    async def has_links() -> bool:
        state = (await client.get(f"/job/{track}")).raise_for_status().json()
        if state["status"] == "failed":
            raise StemyardError(f"{state.get('code')}: {state['error']}")
        return state["status"] == "completed" and bool(state["result"]["vocals_url"])

    if not await _until(has_links, _LONGEST_SECONDS):
        raise StemyardError(f"track {track} timed out")


async def _wait_for_ends(sightings: Sightings, name: str) -> None:
    async def have_ended() -> bool:
        return {"fetch_ended", "separate_ended"} <= sightings.at[name].keys()

    await _until(have_ended, _LATE_SECONDS)


async def _wait_until_deleted(client: httpx.AsyncClient, track: str) -> None:
    """The next song must not find the stems of this one: it would get copies of them."""

    async def is_gone() -> bool:
        return (await client.get(f"/job/{track}")).status_code == httpx.codes.NOT_FOUND

    await _until(is_gone, _LATE_SECONDS)


async def _until(holds: Callable[[], Awaitable[bool]], seconds: float) -> bool:
    """Ask until a condition holds; return whether it did in time."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if await holds():
            return True
        await asyncio.sleep(_POLL_SECONDS)
    return False
