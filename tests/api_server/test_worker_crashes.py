"""Real workers over a real operator, API server and store: one is killed at an awaited call, the leader in between.

Whatever is killed when, each song is completed once, by stems that its status names. All points together take long:
`make chaos`. Without that a seeded few are tried.
"""

import json
import os
import random
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from localcluster.control_plane import ControlPlane, free_port
from stemyard_contract.handover import SourceMark, WorkStage
from stemyard_contract.identity import object_prefix, object_token
from stemyard_contract.separationjob import Phase, Source
from stemyard_operator.model.job import Job, job_of
from tests.support import separator_process as separator
from tests.support.audio import write_wav
from tests.support.desk_double import DeskDouble
from tests.support.operator_world import INSTALL, Operator, World, world
from tests.support.pod_process import KILLED, PodProcess

FETCH, SEPARATE = WorkStage
SEED = 20261130
FEW = 2
ALL = bool(os.environ.get("STEMYARD_CHAOS"))
SONGS = 4
LIMIT_SECONDS = 300
PROFILES = {"profiles": {"default": {"separate": {"worker": {"songs": 50, "idleSeconds": 1}}}}}


@pytest.fixture(scope="module")
def fetched(tmp_path_factory: pytest.TempPathFactory) -> list[tuple[SourceMark, bytes]]:
    """What fetch leaves of each song: different audio, or its stems would be copied."""
    found, upload = [], Source.model_validate({"upload": {"id": "4b1d0a52-6f0e-4e0e-9d0e-0c6f3a0c1d11", "owner": "k"}})
    for number in range(SONGS):
        folder = tmp_path_factory.mktemp("fetch")
        noise = np.random.default_rng(number).normal(0, 0.1, (2, 44_100))
        with DeskDouble() as desk:
            desk.files["input"] = write_wav(folder / "noise.wav", noise).read_bytes()
            assert separator.run(separator.assignment(desk, upload), folder).exit_code == 0
            found.append((separator.fetched_mark(desk), desk.files["audio.flac"]))
    return found


class Play:
    """Some songs, the operator, and the processes of their pods; the test is the kubelet and the Job controller."""

    def __init__(self, running: World, fetched: list[tuple[SourceMark, bytes]], point: str, *, is_crash: bool) -> None:
        self.running, self.point, self.is_crash = running, point, is_crash
        self.fetched = {f"song-{number}": found for number, found in enumerate(fetched)}
        self.pods: dict[str, tuple[dict[str, Any], PodProcess]] = {}
        self.over: set[str] = set()
        self.leaders = 0
        self.killed = 0
        self.holders: dict[str, set[str]] = {}

    def run(self) -> dict[str, Any]:
        for name in self.fetched:
            self.running.create(name)
        operator = self.running.operator(DESK_PORT=self.running.environment["DESK_PORT"], DESK_URL=self.desk)
        operator.server.port = int(self.running.environment["DESK_PORT"])
        try:
            operator.start()
            self._until_over(operator)
            return self._found()
        finally:
            if operator.alive():
                operator.kill()
            for _, process in self.pods.values():
                process.kill()
            self._clear()

    @property
    def desk(self) -> str:
        return f"http://127.0.0.1:{self.running.environment['DESK_PORT']}"

    def _until_over(self, operator: Operator) -> None:
        deadline = time.monotonic() + LIMIT_SECONDS
        while not all(self.running.phase(name) == Phase.COMPLETED for name in self.fetched):
            logs = [process.log.read_text()[-2000:] for _, process in self.pods.values()]
            assert time.monotonic() < deadline, "\n".join([*logs, operator.server.log.read_text()[-6000:]])
            for raw in self.running.jobs().values():
                self._act(raw)
            self._check_leases()
            done = sum(self.running.phase(name) == Phase.COMPLETED for name in self.fetched)
            if done and not self.leaders:
                operator.kill()
                operator.start()
                self.leaders += 1
            time.sleep(0.05)

    def _act(self, raw: dict[str, Any]) -> None:
        job, uid = job_of(raw), raw["metadata"]["uid"]
        assert job is not None
        if not job.live or uid in self.over:
            return
        if uid in self.pods:
            self._end(raw, job)
        elif job.stage is FETCH:
            self._fetch(raw)
        else:
            self._start(raw, job)

    def _fetch(self, raw: dict[str, Any]) -> None:
        """Leave what fetch leaves."""
        pod = self.running.run(raw)
        self.over.add(raw["metadata"]["uid"])
        separation = self.running.separation(raw["metadata"]["ownerReferences"][0]["name"])
        mark, audio = self.fetched[separation.name]
        pod_uid = pod["metadata"]["uid"]
        own = mark.model_copy(update={"uid": separation.uid, "run": separation.spec.run, "pod_uid": pod_uid})
        token = object_token(separation.uid, own.run, pod_uid, FETCH.room)
        prefix = object_prefix(INSTALL, FETCH.room, separation.track_id, token)
        client = self.running.store.client()
        for name, content in (("audio.flac", audio), ("source.json", own.dump().encode())):
            client.put_object(Bucket=self.running.store.bucket, Key=prefix + name, Body=content)
        client.close()
        self.running.finish(raw, pod, 0)

    def _start(self, raw: dict[str, Any], job: Job) -> None:
        pod = self.running.run(raw)
        token = self.running.token(pod)
        is_first = bool(job.shape) and not any(process.folder for _, process in self.pods.values())
        point = self.point if is_first else ""
        process = PodProcess(raw, pod["metadata"]["uid"], token, self.running.folder / "pods", point)
        self.pods[job.uid] = (pod, process)

    def _end(self, raw: dict[str, Any], job: Job) -> None:
        pod, process = self.pods[job.uid]
        if not process.ended():
            return
        self.over.add(job.uid)
        if process.exit_code == KILLED:
            self.killed += 1
            if not self.is_crash:
                self.running.disrupt(pod)
        self.running.finish(raw, pod, process.exit_code, process.message)

    def _check_leases(self) -> None:
        """Note which pods hold each song: no two at a time, as the status has room for one only."""
        for name in self.fetched:
            lease = self.running.separation(name).status.lease
            if lease is not None:
                self.holders.setdefault(name, set()).add(lease.pod_uid)

    def _found(self) -> dict[str, Any]:
        """Return the final state without what may differ: which pod made the stems, and how often it was tried."""
        found: dict[str, Any] = {}
        for name, (mark, _) in self.fetched.items():
            status = self.running.separation(name).status
            assert status.result is not None
            assert status.result.manifest_key is not None
            manifest = json.loads(self._object(status.result.manifest_key))
            assert manifest["uid"] == self.running.separation(name).uid
            assert manifest["sourceAudioSha256"] == mark.audio_sha256
            stems = {stem: len(self._object(file.key)) == file.bytes for stem, file in status.result.stems.items()}
            attempts = status.attempts
            assert attempts is not None
            found[name] = (status.phase, stems, attempts.failed, status.lease, status.result.copied_from)
            assert attempts.disruptions <= 1, "its neighbour costs a song at most one more try"
        return found

    def _object(self, key: str) -> bytes:
        client = self.running.store.client()
        try:
            return bytes(client.get_object(Bucket=self.running.store.bucket, Key=key)["Body"].read())
        finally:
            client.close()

    def points(self) -> list[str]:
        """Every point that the first worker reached."""
        first = next(process for _, process in self.pods.values())
        return list(dict.fromkeys(first.trace.read_text().splitlines()))

    def _clear(self) -> None:
        for kind in ("separationjobs", "jobs", "pods"):
            self.running.plane.api.delete(
                self.running.path(kind) + "?propagationPolicy=Background&gracePeriodSeconds=0"
            )
        client = self.running.store.client()
        for key in self.running.objects():
            client.delete_object(Bucket=self.running.store.bucket, Key=key)
        client.close()


@pytest.fixture(scope="module")
def running(control_plane: ControlPlane, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("workers")
    (folder / "profiles.json").write_text(json.dumps(PROFILES))
    with world(control_plane, folder) as found:
        found.environment |= {
            "PROFILES_FILE": str(folder / "profiles.json"),
            "POD_NAME": "operator-0",
            "DESK_PORT": str(free_port()),
            "MAX_ACTIVE": "2",
            "RETRY_BASE_SECONDS": "0.2",
        }
        yield found


def test_a_worker_that_is_killed_at_any_call_loses_no_song_and_makes_none_twice(
    running: World, fetched: list[tuple[SourceMark, bytes]], capsys: pytest.CaptureFixture[str]
) -> None:
    whole = Play(running, fetched, "", is_crash=False)
    expected, known = whole.run(), whole.points()
    assert whole.leaders == 1
    assert all(len(pods) == 1 for pods in whole.holders.values()), "without a fault, each song is leased once"
    draw = random.Random(SEED)
    chosen = known if ALL else draw.sample(known, FEW)
    reached = 0
    for number, point in enumerate(chosen):
        play = Play(running, fetched, point, is_crash=number % 2 == 1)
        assert play.run() == expected, point
        reached += play.killed
    with capsys.disabled():
        print(f"\nworker's crash points: {len(known)} enumerated, {len(chosen)} tried, {reached} reached", end=" ")
    assert len(known) >= 20
