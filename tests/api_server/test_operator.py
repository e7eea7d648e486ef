"""The operator as a real process: from a SeparationJob to published stems, through failures and restarts."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from localcluster.control_plane import ControlPlane
from stemyard_contract.handover import DESK_PROGRESS_PATH, WorkStage
from stemyard_contract.identity import job_name
from stemyard_contract.mirror import MirrorRecord
from tests.support.operator_world import World, eventually, world

FETCH, SEPARATE = WorkStage


@pytest.fixture
def running(control_plane: ControlPlane, tmp_path: Path) -> Iterator[World]:
    with world(control_plane, tmp_path) as found:
        yield found


def record(running: World, name: str = "song") -> MirrorRecord | None:
    with running.redis() as client:
        text = client.get(running.keys.record(f"{running.namespace}.{name}"))
    return MirrorRecord.model_validate_json(str(text)) if text else None


def events(running: World) -> list[str]:
    return sorted(event["reason"] for event in running.plane.api.get(running.path("events"))["items"])


def test_a_song_is_separated(running: World) -> None:
    with running.operating():
        running.create()
        job = running.wait_job(FETCH)
        eventually(lambda: running.phase() == "Fetching")
        pod = running.run(job)
        running.succeed(job, pod)
        job = running.wait_job(SEPARATE)
        pod = running.run(job)
        eventually(lambda: running.phase() == "Separating")
        key = running.succeed(job, pod)
        eventually(lambda: running.phase() == "Completed")
        found = running.separation()
        assert found.status.result is not None
        assert found.status.result.manifest_key == key
        assert {(stem.lufs, stem.true_peak) for stem in found.status.result.stems.values()} == {(-14.2, -1.1)}
        assert found.status.started_at is not None
        assert found.status.usage is not None
        assert {condition.status for condition in found.status.conditions} == {"True"}
        assert sorted(running.objects("stems/")) == sorted([key, *(s.key for s in found.status.result.stems.values())])
        assert running.objects("work/") == []
        assert running.objects("owner.json") == ["test/owner.json"]
        eventually(lambda: (record(running) or found.status).phase == "Completed")
        mirrored = record(running)
        assert mirrored is not None
        assert mirrored.stem_keys == {stem: file.key for stem, file in found.status.result.stems.items()}
        assert events(running) == ["Completed", "Fetching", "Separating"]
        assert int(found.resource_version) > 0


def test_an_emptied_redis_is_filled_again(running: World) -> None:
    with running.operating(RESYNC_SECONDS="1"):
        running.create()
        eventually(lambda: record(running))
        with running.redis() as client:
            client.flushall()
        eventually(lambda: record(running))
        with running.redis() as client:
            assert client.zrange(running.keys.queue, 0, -1) == [f"{running.namespace}.song"]


def test_a_dead_redis_delays_nothing_else(running: World) -> None:
    running.valkey.stop()
    with running.operating():
        running.create()
        running.separate()
        running.valkey.start()
        eventually(lambda: record(running))
        found = record(running)
        assert found is not None
        assert found.finished


def test_progress_in_redis_that_nobody_can_read_delays_nothing(running: World) -> None:
    with running.operating(POD_NAME="operator-0"):
        running.create()
        job = running.wait_job(FETCH)
        running.succeed(job, running.run(job))
        job = running.wait_job(SEPARATE)
        pod = running.run(job)
        eventually(lambda: running.phase() == "Separating")
    running.redis().set(running.keys.progress(running.separation().track_id), '{"of": "another version"}')
    with running.operating(POD_NAME="operator-0"):
        running.succeed(job, pod)
        eventually(lambda: running.phase() == "Completed")


def test_a_failure_is_retried_and_reported(running: World) -> None:
    with running.operating():
        running.create(retryPolicy={"limit": 1})
        for attempt in (1, 2):
            job = running.wait_job(FETCH, attempt)
            running.fail(job, running.run(job), "SOURCE_NETWORK")
        eventually(lambda: running.phase() == "Failed")
        failure = running.separation().status.failure
        assert failure is not None
        assert (failure.code, failure.stage, failure.retryable) == ("SOURCE_NETWORK", "fetch", True)
        eventually(lambda: events(running) == ["Failed", "Fetching", "Retrying"])


def test_without_an_outcome_the_mark_is_found_by_listing(running: World) -> None:
    with running.operating():
        running.create()
        for stage in WorkStage:
            job = running.wait_job(stage)
            running.succeed(job, running.run(job), outcome=False)
        eventually(lambda: running.phase() == "Completed")


def test_cancel_waits_until_the_job_is_deleted(running: World) -> None:
    with running.operating():
        running.create()
        job = running.wait_job(FETCH)
        running.run(job)
        running.plane.api.merge(running.path("separationjobs", "song"), {"spec": {"cancel": True}})
        eventually(lambda: "deletionTimestamp" in running.jobs()[job["metadata"]["name"]]["metadata"])
        found = running.jobs()[job["metadata"]["name"]]
        assert found["metadata"]["finalizers"] == ["foregroundDeletion"]
        assert running.phase() == "Fetching"
        running.plane.api.merge(running.path("jobs", job["metadata"]["name"]), {"metadata": {"finalizers": None}})
        eventually(lambda: running.phase() == "Cancelled")


def test_suspend_and_resume(running: World) -> None:
    with running.operating():
        running.create(retryPolicy={"limit": 0})
        job = running.wait_job(FETCH)
        running.succeed(job, running.run(job))
        job = running.wait_job(SEPARATE)
        running.run(job)
        song, name = running.path("separationjobs", "song"), job["metadata"]["name"]
        running.plane.api.merge(song, {"spec": {"suspend": True}})
        eventually(lambda: "deletionTimestamp" in running.jobs()[name]["metadata"])
        assert running.phase() != "Suspended"
        running.plane.api.merge(running.path("jobs", name), {"metadata": {"finalizers": None}})
        eventually(lambda: running.phase() == "Suspended")
        mirrored = record(running)
        assert mirrored is not None
        eventually(lambda: (record(running) or mirrored).phase == "Suspended")
        running.plane.api.merge(song, {"spec": {"suspend": False}})
        job = running.wait_job(SEPARATE, attempt=2)
        running.succeed(job, running.run(job))
        eventually(lambda: running.phase() == "Completed")
        assert events(running) == ["Completed", "Fetching", "Separating", "Suspended"]


def test_an_orphaned_job_is_deleted(running: World) -> None:
    """As after `kubectl delete --cascade=orphan`; a foreign Job with such a name is left alone."""
    pod = {"restartPolicy": "Never", "containers": [{"name": "c", "image": "x"}]}
    labels = {"app.kubernetes.io/managed-by": "stemyard-operator"}
    for name, more in (("song-0123abcd-s1-1", {"stemyard.dev/separationjob": "song"}), ("other-0123abcd-s1-1", {})):
        job = {"metadata": {"name": name, "labels": {**labels, **more}}, "spec": {"template": {"spec": pod}}}
        running.plane.api.post(running.path("jobs"), job)
    with running.operating(RESYNC_SECONDS="1"):
        eventually(lambda: "deletionTimestamp" in running.jobs()["song-0123abcd-s1-1"]["metadata"])
        assert "deletionTimestamp" not in running.jobs()["other-0123abcd-s1-1"]["metadata"]


@pytest.mark.parametrize("value", [None, "Helm"])
def test_a_job_whose_label_somebody_takes_away_is_followed_to_its_end(running: World, value: str | None) -> None:
    with running.operating(RESYNC_SECONDS="3") as operator:
        running.create()
        for stage in WorkStage:
            job = running.wait_job(stage)
            pod = running.run(job)
            labels = {"metadata": {"labels": {"app.kubernetes.io/managed-by": value}}}
            running.plane.api.merge(running.path("jobs", job["metadata"]["name"]), labels)
            time.sleep(4)
            running.succeed(job, pod)
        eventually(lambda: running.phase() == "Completed")
        status = running.separation().status
        assert status.attempts is not None
        assert (status.attempts.fetch, status.attempts.separate, status.attempts.failed) == (1, 1, 0)
        assert "no decision about" not in operator.server.log.read_text()


def test_another_run_replaces_the_stems(running: World) -> None:
    with running.operating():
        running.create()
        running.separate()
        before = running.objects("stems/")
        running.plane.api.merge(running.path("separationjobs", "song"), {"spec": {"run": 2}})
        for stage in WorkStage:
            job = running.wait_job(stage, run=2)
            running.succeed(job, running.run(job))
        eventually(lambda: running.separation().status.run == 2 and running.phase() == "Completed")
        assert len(running.objects("stems/")) == 3
        assert not set(before) & set(running.objects("stems/"))


def test_an_expired_separation_is_deleted_with_its_objects(running: World) -> None:
    with running.operating():
        running.create(ttlSecondsAfterFinished=0)
        for stage in WorkStage:
            job = running.wait_job(stage)
            running.succeed(job, running.run(job))
        eventually(lambda: running.plane.api.get(running.path("separationjobs"))["items"] == [])
        eventually(lambda: running.objects("stems/") == [])
        eventually(lambda: record(running) is None)


def test_a_foreign_job_of_the_same_name_is_a_conflict(running: World) -> None:
    separation = running.create()
    name = job_name("song", separation.uid, FETCH, 1, 1)
    pod = {"restartPolicy": "Never", "containers": [{"name": "c", "image": "x"}]}
    job = {"metadata": {"name": name}, "spec": {"template": {"spec": pod}}}
    running.plane.api.post(running.path("jobs"), job)
    with running.operating():
        eventually(lambda: running.phase() == "Failed")
        failure = running.separation().status.failure
        assert failure is not None
        assert failure.code == "NAME_CONFLICT"


def test_a_job_being_deleted_is_awaited(running: World) -> None:
    separation = running.create()
    name = job_name("song", separation.uid, FETCH, 1, 1)
    owner = {"apiVersion": "stemyard.dev/v1alpha1", "kind": "SeparationJob", "controller": True}
    owner |= {"name": "song", "uid": separation.uid}
    pod = {"restartPolicy": "Never", "containers": [{"name": "c", "image": "x"}]}
    # without our label, so that no watch shows it: only the conflict does
    metadata = {"name": name, "ownerReferences": [owner], "finalizers": ["example.com/hold"]}
    old = running.plane.api.post(running.path("jobs"), {"metadata": metadata, "spec": {"template": {"spec": pod}}})
    running.plane.api.delete(running.path("jobs", name))
    with running.operating():
        time.sleep(3)
        assert running.jobs()[name]["metadata"]["uid"] == old["metadata"]["uid"]
        assert running.phase() in {"", "Pending"}
        running.plane.api.merge(running.path("jobs", name), {"metadata": {"finalizers": None}})
        eventually(lambda: running.phase() == "Fetching")
        assert running.jobs()[name]["metadata"]["uid"] != old["metadata"]["uid"]


def test_concurrency_is_limited_and_the_oldest_start_first(running: World) -> None:
    with running.operating(MAX_ACTIVE="1"):
        names = ["first", "second", "third"]
        for name in names:
            running.create(name)
            time.sleep(1.1)  # creation times have whole seconds
        fetches = {name: running.wait_job(FETCH, name=name) for name in names}
        for name in reversed(names):
            running.succeed(fetches[name], running.run(fetches[name]))
        job = running.wait_job(SEPARATE, name="third")
        eventually(lambda: running.phase("first") == "Queued", 15)
        assert [n for n in running.jobs() if "-s1-" in n] == [job["metadata"]["name"]]
        running.succeed(job, running.run(job))
        job = running.wait_job(SEPARATE, name="first")
        assert len([n for n in running.jobs() if "-s1-" in n]) == 2
        running.succeed(job, running.run(job))
        running.wait_job(SEPARATE, name="second")


def test_a_separation_takes_three_status_writes(running: World) -> None:
    """Fetching, Separating, and the final one: nothing else is written to the resource."""
    with running.operating() as operator:
        running.create()
        running.separate()
        managed = running.plane.api.get(running.path("separationjobs", "song"))["metadata"]["managedFields"]
        assert [one["manager"] for one in managed if one.get("subresource") == "status"] == ["stemyard-operator"]
        told = [json.loads(line) for line in operator.server.log.read_text().splitlines()]
        transitions = [line for line in told if " to " in line["message"]]
        assert [line["message"] for line in transitions] == [
            "new to Fetching",
            "Fetching to Separating",
            "Separating to Completed",
        ]
        assert {line["track_id"] for line in transitions} == {f"{running.namespace}.song"}
        assert [line["stage"] for line in transitions] == ["fetch", "separate", "separate"]


def test_metrics_count_a_separation(running: World) -> None:
    with running.operating() as operator:
        running.create()
        running.separate()
        scraped = operator.metrics()
        assert scraped["stemyard_separations", ("Completed",)] == 1
        assert scraped["stemyard_separations_ended_total", ("Completed",)] == 1
        assert scraped["stemyard_leader", ()] == 1
        assert scraped["stemyard_stage_seconds_count", ("spleeter-2stems", "fetch")] == 1
        assert scraped["stemyard_stage_seconds_count", ("spleeter-2stems", "separate")] == 1
        assert scraped["stemyard_queue_wait_seconds_count", ("default", running.namespace)] == 1
        assert scraped["stemyard_kubernetes_requests_total", ("201", "jobs", "create")] == 2
        assert scraped["stemyard_kubernetes_requests_total", ("200", "separationjobs/status", "patch")] == 3
        assert scraped["stemyard_mirror_waiting", ()] == 0
        assert scraped["stemyard_resync_age_seconds", ()] < 120


def test_the_mirror_is_rebuilt_by_one_command(running: World) -> None:
    """Records of deleted resources are removed, even unlisted ones; records of existing ones are rewritten."""
    with running.operating():
        running.create()
        running.separate()
        track = f"{running.namespace}.song"
        with running.redis() as client:
            eventually(lambda: '"phase":"Completed"' in str(client.get(running.keys.record(track))))
    with running.redis() as client:
        before = client.get(running.keys.record(track))
        ghost = MirrorRecord.model_validate_json(before or "").model_copy(update={"track_id": "ghost"}).dump()
        client.flushall()
        client.set(running.keys.record("ghost"), ghost)
        command = [sys.executable, "-m", "stemyard_operator", "remirror"]
        environment = {**os.environ, **running.environment}
        ended = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
        assert ended.returncode == 0, ended.stderr
        assert json.loads(ended.stderr.splitlines()[-1])["records"] == 1
        assert client.get(running.keys.record(track)) == before
        assert client.zrange(running.keys.tracks, 0, -1) == [track]
        assert client.get(running.keys.record("ghost")) is None
        running.valkey.stop()
        ended = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
        assert ended.returncode == 1
        assert "Redis" in ended.stderr
        running.valkey.start()


def test_after_a_failover_states_are_correct_and_counters_restart(running: World) -> None:
    with running.operating(POD_NAME="first") as first:
        running.create()
        running.separate()
        with running.operating(POD_NAME="second") as second:
            assert ("stemyard_separations", ("Completed",)) not in second.metrics()
            first.server.stop(signal.SIGTERM)
            eventually(lambda: second.metrics()["stemyard_leader", ()] == 1)
            scraped = second.metrics()
            assert scraped["stemyard_separations", ("Completed",)] == 1
            assert scraped["stemyard_separations_ended_total", ("Completed",)] == 0


def test_a_second_pod_of_a_job_counts_as_a_disruption(running: World) -> None:
    with running.operating():
        running.create()
        job = running.wait_job(FETCH)
        first = running.run(job)
        eventually(lambda: running.separation().status.job)
        time.sleep(1)
        path = running.path("jobs", job["metadata"]["name"]) + "/status"
        running.plane.api.merge(path, {"status": {"active": 0, "ready": 0}})
        time.sleep(1)
        second = running.run(job)
        eventually(lambda: (attempts := running.separation().status.attempts) and attempts.disruptions == 1)
        assert first["metadata"]["uid"] != second["metadata"]["uid"]
        running.succeed(job, second)
        running.wait_job(SEPARATE)
        attempts = running.separation().status.attempts
        assert attempts is not None
        assert attempts.fetch == 1


def test_a_pod_replaced_while_there_was_no_leader_counts_as_a_disruption(running: World) -> None:
    with running.operating(POD_NAME="first") as operator:
        running.create()
        job = running.wait_job(FETCH)
        running.succeed(job, running.run(job))
        job = running.wait_job(SEPARATE)
        first = running.run(job)
        eventually(lambda: running.separation().status.pod == first["metadata"]["name"])
        operator.kill()
    running.plane.api.delete(running.path("pods", first["metadata"]["name"]) + "?gracePeriodSeconds=0")
    with running.operating(POD_NAME="second"):
        second = running.run(job)
        eventually(lambda: (attempts := running.separation().status.attempts) and attempts.disruptions == 1)
        running.succeed(job, second)
        eventually(lambda: running.phase() == "Completed")
    status = running.separation().status
    assert status.attempts is not None
    assert (status.attempts.separate, status.attempts.disruptions) == (1, 1)
    assert status.pod == second["metadata"]["name"]


def test_progress_reported_to_a_standby_reaches_the_resource(running: World) -> None:
    with running.operating(POD_NAME="leader"), running.operating(POD_NAME="standby") as standby:
        running.create()
        job = running.wait_job(FETCH)
        token = running.token(running.run(job))
        body = {"stage": "fetch", "sequence": 1, "fraction": 0.7, "step": "download"}
        headers = {"Authorization": f"Bearer {token}"}
        answer = httpx.post(standby.desk + DESK_PROGRESS_PATH, json=body, headers=headers)
        assert answer.status_code == 204, answer.text
        assert running.separation().status.progress == 0
        eventually(lambda: running.separation().status.progress == 7, 45)


def test_invalid_configuration_ends_the_process_with_a_clear_error(running: World) -> None:
    operator = running.operator(PROFILES_FILE="/nowhere.yaml")
    with pytest.raises(RuntimeError, match=r"PROFILES_FILE /nowhere\.yaml"):
        operator.start()
    assert operator.server.process is not None
    assert operator.server.process.wait(10) == 1
    assert "Traceback" not in operator.server.log.read_text()
