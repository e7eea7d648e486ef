"""A real operator, API server and store; separator processes as its pods; songs that are fetched beforehand."""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from localcluster.control_plane import ControlPlane
from stemyard_contract.handover import SourceMark, WorkStage
from stemyard_contract.identity import object_prefix, object_token
from stemyard_contract.separationjob import Phase, Source
from stemyard_operator.model.job import job_of
from tests.api_server.conftest import install_crd
from tests.support import separator_process as separator
from tests.support.audio import write_wav
from tests.support.desk_double import DeskDouble
from tests.support.operator_world import INSTALL, World, world
from tests.support.pod_process import PodProcess

_RATE = 44_100
_LIMIT_SECONDS = 3600
Song = tuple[SourceMark, bytes]


@dataclass(frozen=True, slots=True)
class Pods:
    """Processes of separate Jobs: the module that they run, and further variables."""

    program: str
    environment: dict[str, str]
    running: dict[str, tuple[dict[str, Any], PodProcess]] = field(default_factory=dict)
    """By uid of the Job, those that have ended included."""
    over: set[str] = field(default_factory=set)
    """uids of Jobs whose end is written."""


def fetched(folder: Path, songs: int, seconds: float) -> list[Song]:
    """Return what fetch leaves of songs of this length, each of different audio: equal audio is separated once."""
    found = []
    upload = Source.model_validate({"upload": {"id": "4b1d0a52-6f0e-4e0e-9d0e-0c6f3a0c1d11", "owner": "k"}})
    times = np.arange(round(seconds * _RATE)) / _RATE
    for number in range(songs):
        own = folder / f"fetch-{number}"
        own.mkdir(parents=True)
        tone = 0.3 * np.sin(2 * np.pi * (110.0 + 10 * number) * times)
        with DeskDouble() as desk:
            desk.files["input"] = write_wav(own / "song.wav", np.stack([tone, 0.5 * tone])).read_bytes()
            ended = separator.run(separator.assignment(desk, upload, max_bytes=1 << 30), own)
            assert ended.exit_code == 0, ended.output
            found.append((separator.fetched_mark(desk), desk.files["audio.flac"]))
    return found


@contextmanager
def running(folder: Path, worker: dict[str, Any] | None) -> Iterator[World]:
    """Everything but the operator, with a profile with or without workers."""
    separate = {} if worker is None else {"worker": worker}
    (folder / "profiles.json").write_text(json.dumps({"profiles": {"default": {"separate": separate}}}))
    with ControlPlane(folder / "plane") as plane:
        install_crd(plane)
        with world(plane, folder) as found:
            found.environment |= {"PROFILES_FILE": str(folder / "profiles.json"), "MAX_ACTIVE_FETCH": "1000"}
            yield found


def measured(at: World, songs: list[Song], pods: Pods) -> float:
    """Separate songs that are all queued before the first one begins, with one place; return the seconds it takes."""
    names = {f"song-{number}": song for number, song in enumerate(songs)}
    for name in names:
        at.create(name)
    with at.operating(MAX_ACTIVE="1"):
        begun = time.monotonic()
        while not all(at.phase(name) == Phase.COMPLETED for name in names):
            assert time.monotonic() - begun < _LIMIT_SECONDS
            for raw in at.jobs().values():
                _act(at, raw, names, pods)
            time.sleep(0.02)
        seconds = time.monotonic() - begun
        for _, process in pods.running.values():
            process.process.wait(timeout=120)
    return seconds


def _act(at: World, raw: dict[str, Any], names: dict[str, Song], pods: Pods) -> None:
    """Act as kubelet and Job controller; what fetch leaves is there already."""
    job, uid = job_of(raw), raw["metadata"]["uid"]
    assert job is not None
    if not job.live or uid in pods.over:
        return
    if uid in pods.running:
        pod, process = pods.running[uid]
        if process.ended():
            pods.over.add(uid)
            at.finish(raw, pod, process.exit_code, process.message)
    elif job.stage is WorkStage.FETCH:
        pods.over.add(uid)
        pod = at.run(raw)
        _leave(at, raw["metadata"]["ownerReferences"][0]["name"], names, pod["metadata"]["uid"])
        at.finish(raw, pod, 0)
    else:
        pod = at.run(raw)
        process = PodProcess(
            raw, pod["metadata"]["uid"], at.token(pod), at.folder / "pods", program=pods.program, **pods.environment
        )
        pods.running[uid] = (pod, process)


def _leave(at: World, name: str, names: dict[str, Song], pod_uid: str) -> None:
    separation, (mark, audio) = at.separation(name), names[name]
    own = mark.model_copy(update={"uid": separation.uid, "run": separation.spec.run, "pod_uid": pod_uid})
    token = object_token(separation.uid, own.run, pod_uid, WorkStage.FETCH.room)
    prefix = object_prefix(INSTALL, WorkStage.FETCH.room, separation.track_id, token)
    client = at.store.client()
    for file, content in (("audio.flac", audio), ("source.json", own.dump().encode())):
        client.put_object(Bucket=at.store.bucket, Key=prefix + file, Body=content)
    client.close()
