"""Songs leased to workers by the real operator, over a real API server and store; the tests are the workers."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from localcluster.control_plane import ControlPlane
from stemyard_contract.failures import FailureCode
from stemyard_contract.handover import (
    DESK_FINISHED_PATH,
    DESK_LINKS_PATH,
    DESK_PROGRESS_PATH,
    Assignment,
    MarkReference,
    Outcome,
    WorkStage,
)
from stemyard_contract.leasing import DESK_LEASE_PATH, LeaseRequest, SongEnd
from stemyard_operator.model.job import job_of
from tests.support.operator_world import Operator, World, eventually, world

FETCH, SEPARATE = WorkStage
PROFILES = {"profiles": {"default": {"separate": {"worker": {"songs": 10, "idleSeconds": 5}}}}}


@pytest.fixture
def running(control_plane: ControlPlane, tmp_path: Path) -> Iterator[World]:
    (tmp_path / "profiles.json").write_text(json.dumps(PROFILES))
    with world(control_plane, tmp_path) as found:
        found.environment |= {"PROFILES_FILE": str(tmp_path / "profiles.json"), "MAX_ACTIVE_FETCH": "100"}
        yield found


@pytest.fixture
def operator(running: World) -> Iterator[Operator]:
    with running.operating(DESK_URL="http://desk") as found:
        yield found


class WorkerPod:
    """A worker's pod as the operator sees it."""

    def __init__(self, running: World, desk: str, job: dict[str, Any]) -> None:
        self.running, self.desk, self.job = running, desk, job
        self.pod = running.run(job)
        self.uid: str = self.pod["metadata"]["uid"]
        self.token = running.token(self.pod)
        typed = job_of(job)
        assert typed is not None
        self.shape = typed.shape
        self.ended: list[SongEnd] = []
        self.holding: list[str] = []

    def call(self, path: str, body: dict[str, Any]) -> httpx.Response:
        return httpx.post(self.desk + path, json=body, headers={"Authorization": f"Bearer {self.token}"}, timeout=20)

    def ask(self, *, wanted: bool = True, shape: str = "") -> httpx.Response:
        request = LeaseRequest(
            shape=shape or self.shape, wanted=wanted, holding=self.holding, ended=self.ended, starting_seconds=1
        )
        return self.call(DESK_LEASE_PATH, json.loads(request.dump()))

    def lease(self) -> Assignment:
        """Ask until there is a song."""
        found: list[Assignment] = []

        def asked() -> bool:
            response = self.ask()
            if response.status_code == 200:
                found.append(Assignment.model_validate_json(response.text))
            return bool(found)

        eventually(asked)
        self.holding.append(found[0].uid)
        self.ended = []
        return found[0]

    def publish(self, song: Assignment) -> MarkReference:
        """Write mark and files of a song, as the pod does."""
        return self.running.publish_of(song.name, SEPARATE, song.run, self.uid)

    def end(self, song: Assignment, code: FailureCode | None = None, mark: MarkReference | None = None) -> None:
        self.holding.remove(song.uid)
        outcome = Outcome(stage=SEPARATE, code=code, mark=mark)
        self.ended.append(SongEnd(uid=song.uid, run=song.run, outcome=outcome))


def workers(running: World) -> list[dict[str, Any]]:
    return [job for name, job in running.jobs().items() if name.startswith("stemyard-worker-")]


def own_jobs(running: World) -> list[str]:
    return [name for name in running.jobs() if "-s1-" in name]


def fetch(running: World, *names: str, **spec: Any) -> None:
    for name in names:
        running.create(name, **spec)
    for name in names:
        job = running.wait_job(FETCH, name=name)
        running.succeed(job, running.run(job))


def start_worker(running: World, operator: Operator, number: int = 0) -> WorkerPod:
    eventually(lambda: len(workers(running)) > number)
    return WorkerPod(running, operator.desk, workers(running)[number])


def reference(song: Assignment) -> dict[str, str]:
    return {"name": song.name, "uid": song.uid}


def status(response: httpx.Response) -> tuple[int, str]:
    return response.status_code, response.json()["code"]


def test_one_worker_separates_several_songs(running: World, operator: Operator) -> None:
    fetch(running, "a", "b", "c")
    pod = start_worker(running, operator)
    done = []
    for _ in range(3):
        song = pod.lease()
        found = running.separation(song.name).status
        assert found.lease is not None
        assert (found.phase, found.lease.pod_uid) == ("Separating", pod.uid)
        assert (found.job, found.pod) == (pod.job["metadata"]["name"], pod.pod["metadata"]["name"])
        pod.end(song, mark=pod.publish(song))
        done.append(song.name)
    assert pod.ask().status_code == 204
    assert sorted(done) == ["a", "b", "c"], "none twice, none lost"
    eventually(lambda: all(running.phase(name) == "Completed" for name in done))
    assert len(workers(running)) == 1
    assert own_jobs(running) == []


def test_an_answer_that_was_lost_is_given_again(running: World, operator: Operator) -> None:
    fetch(running, "a", "b")
    pod = start_worker(running, operator)
    first = pod.lease()
    pod.holding = []
    assert pod.lease() == first
    assert pod.lease().name != first.name


def test_what_a_worker_may_do_follows_from_its_leases(running: World, operator: Operator) -> None:
    fetch(running, "a", "b")
    pod = start_worker(running, operator)
    song = pod.lease()
    other = {"name": "b", "uid": running.separation("b").uid}
    if song.name == "b":
        other = {"name": "a", "uid": running.separation("a").uid}
    file = {"file": "vocals.mp3", "method": "PUT", "bytes": 5}
    given = pod.call(DESK_LINKS_PATH, {"files": [file], "separation": reference(song)})
    assert given.status_code == 200, given.text
    assert f"test/stems/{running.namespace}.{song.name}/" in given.json()["links"][0]["url"]
    source = pod.call(
        DESK_LINKS_PATH, {"files": [{"file": "audio.flac", "method": "GET"}], "separation": reference(song)}
    )
    assert httpx.get(source.json()["links"][0]["url"]).content == b"fLaC" * 100
    assert status(pod.call(DESK_LINKS_PATH, {"files": [file], "separation": other})) == (409, "LINK_REFUSED")
    assert status(pod.call(DESK_LINKS_PATH, {"files": [file]})) == (422, "INVALID_REQUEST")
    gone = {"name": "no-such-song", "uid": "no-such-uid"}
    assert status(pod.call(DESK_LINKS_PATH, {"files": [file], "separation": gone})) == (409, "LINK_REFUSED")
    report = {"stage": "separate", "sequence": 1, "fraction": 0.5, "step": "separate"}
    assert pod.call(DESK_PROGRESS_PATH, {**report, "separation": reference(song)}).status_code == 204
    assert status(pod.call(DESK_PROGRESS_PATH, {**report, "separation": other})) == (409, "LINK_REFUSED")
    mark = {"key": "test/stems/x/manifest.json", "sha256": "0" * 64}
    told = pod.call(DESK_FINISHED_PATH, {"stage": "separate", "mark": mark, "separation": reference(song)})
    assert told.status_code == 403, "only the key at which it may write the mark of this song"
    assert status(pod.ask(shape="another")) == (409, "LINK_REFUSED")


def test_the_pod_of_one_song_leases_none(running: World, operator: Operator) -> None:
    running.create()
    pod = running.run(running.wait_job(FETCH))
    headers = {"Authorization": f"Bearer {running.token(pod)}"}
    asked = httpx.post(operator.desk + DESK_LEASE_PATH, json={"shape": "x"}, headers=headers)
    assert status(asked) == (403, "LINK_REFUSED")
    assert httpx.post(operator.desk + DESK_LEASE_PATH, json={"shape": "x"}).status_code == 401


def test_a_mark_that_is_said_completes_the_song_at_once(running: World, operator: Operator) -> None:
    fetch(running, "a")
    pod = start_worker(running, operator)
    song = pod.lease()
    mark = pod.publish(song)
    body = {"stage": "separate", "mark": mark.model_dump(), "separation": reference(song)}
    assert pod.call(DESK_FINISHED_PATH, body).status_code == 204
    eventually(lambda: running.phase("a") == "Completed")
    pod.end(song, mark=mark)
    assert pod.ask(wanted=False).status_code == 204, "an end that was recorded already changes nothing"


@pytest.mark.parametrize("change", [{"cancel": True}, {"suspend": True}])
def test_a_song_that_is_withdrawn_is_refused_and_its_neighbour_goes_on(
    running: World, operator: Operator, change: dict[str, Any]
) -> None:
    fetch(running, "a", "b")
    pod = start_worker(running, operator)
    song, other = pod.lease(), pod.lease()
    running.plane.api.merge(running.path("separationjobs", song.name), {"spec": change})
    file = {"file": "vocals.mp3", "method": "PUT", "bytes": 5}
    eventually(lambda: pod.call(DESK_LINKS_PATH, {"files": [file], "separation": reference(song)}).status_code == 409)
    pod.holding.remove(song.uid)
    pod.end(other, mark=pod.publish(other))
    assert pod.ask(wanted=False).status_code == 204
    eventually(lambda: running.phase(other.name) == "Completed")
    assert running.phase(song.name) == ("Cancelled" if "cancel" in change else "Suspended")


def test_a_worker_that_does_not_drop_a_song_is_ended(running: World, operator: Operator) -> None:
    fetch(running, "a", "b")
    pod = start_worker(running, operator)
    song, _ = pod.lease(), pod.lease()
    running.plane.api.merge(running.path("separationjobs", song.name), {"spec": {"cancel": True}})
    eventually(lambda: "deletionTimestamp" in workers(running)[0]["metadata"], seconds=40)


def test_a_failed_song_is_tried_again_alone(running: World, operator: Operator) -> None:
    fetch(running, "a", "b")
    pod = start_worker(running, operator)
    song, other = pod.lease(), pod.lease()
    pod.end(song, FailureCode.INTERNAL_IO)
    assert pod.ask(wanted=False).status_code == 204
    found = running.separation(song.name).status
    assert found.attempts is not None
    assert (found.lease, found.attempts.failed) == (None, 1)
    pod.ended = []
    pod.end(other, mark=pod.publish(other))
    pod.ask(wanted=False)
    running.finish(pod.job, pod.pod, 0)
    job = running.wait_job(SEPARATE, 2, song.name)
    running.succeed(job, running.run(job))
    eventually(lambda: running.phase(song.name) == "Completed")


def test_a_crash_is_counted_for_no_song_and_each_is_tried_alone(running: World, operator: Operator) -> None:
    fetch(running, "a", "b")
    pod = start_worker(running, operator)
    names = [pod.lease().name, pod.lease().name]
    running.finish(pod.job, pod.pod, 139)
    left = set(names)

    def own_jobs() -> dict[str, dict[str, Any]]:
        """The Jobs of their second attempts; there is a slot for one, which either may take first."""
        jobs = running.jobs().items()
        return {name: job for name in left for key, job in jobs if re.fullmatch(rf"{name}-[0-9a-f]+-s1-2", key)}

    while left:
        eventually(own_jobs)
        [(name, job)] = own_jobs().items()
        running.succeed(job, running.run(job))
        left.remove(name)
    eventually(lambda: all(running.phase(name) == "Completed" for name in names))
    for name in names:
        attempts = running.separation(name).status.attempts
        assert attempts is not None
        assert (attempts.failed, attempts.disruptions) == (0, 1)


def test_a_song_of_a_worker_that_was_deleted_goes_to_another(running: World, operator: Operator) -> None:
    fetch(running, "a")
    pod = start_worker(running, operator)
    first = pod.lease()
    background = {"propagationPolicy": "Background", "gracePeriodSeconds": "0"}
    query = "&".join(f"{key}={value}" for key, value in background.items())
    running.plane.api.delete(running.path("jobs", pod.job["metadata"]["name"]) + f"?{query}")
    eventually(lambda: running.separation("a").status.lease is None)
    again = start_worker(running, operator)
    song = again.lease()
    assert song.uid == first.uid
    again.end(song, mark=again.publish(song))
    again.ask(wanted=False)
    eventually(lambda: running.phase("a") == "Completed")


def test_a_new_leader_knows_the_leases(running: World) -> None:
    with running.operating(DESK_URL="http://desk") as operator:
        fetch(running, "a", "b")
        pod = start_worker(running, operator)
        song = pod.lease()
    with running.operating(DESK_URL="http://desk") as operator:
        pod.desk = operator.desk
        pod.end(song, mark=pod.publish(song))
        assert pod.lease().name != song.name
        eventually(lambda: running.phase(song.name) == "Completed")
        attempts = running.separation(song.name).status.attempts
        assert attempts is not None
        assert (attempts.separate, attempts.disruptions) == (1, 0)
