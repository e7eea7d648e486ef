"""A pod says at the desk that its stage is done: the operator verifies the mark and goes on while the pod ends."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from localcluster.control_plane import ControlPlane
from stemyard_contract.handover import DESK_FINISHED_PATH, Finished, MarkReference, WorkStage
from tests.api_server.test_operator_store import pause_store
from tests.support.operator_world import Operator, World, eventually, stage_of, world

FETCH, SEPARATE = WorkStage


@pytest.fixture
def running(control_plane: ControlPlane, tmp_path: Path) -> Iterator[World]:
    with world(control_plane, tmp_path) as found:
        yield found


def say(
    running: World, operator: Operator, job: dict[str, Any], pod: dict[str, Any], mark: MarkReference
) -> httpx.Response:
    """Call the desk as the pod does."""
    headers = {"Authorization": f"Bearer {running.token(pod)}"}
    body = Finished(stage=stage_of(job), mark=mark).dump()
    return httpx.post(operator.desk + DESK_FINISHED_PATH, content=body, headers=headers, timeout=10)


def finish(running: World, operator: Operator, stage: WorkStage, name: str = "song") -> tuple[Any, Any]:
    """Run a stage until its pod has said so; pod and Job still live."""
    job = running.wait_job(stage, name=name)
    pod = running.run(job)
    assert say(running, operator, job, pod, running.publish(job, pod)).status_code == 204
    return job, pod


def ending(running: World) -> list[str] | None:
    """Return the names of the Jobs that are not counted yet."""
    usage = running.separation().status.usage
    assert usage is not None
    return usage.ending_jobs


def is_live(running: World, job: dict[str, Any]) -> bool:
    found = running.jobs()[job["metadata"]["name"]]
    return "deletionTimestamp" not in found["metadata"] and not found["status"].get("conditions")


def test_neither_step_waits_for_the_end_of_a_pod(running: World) -> None:
    with running.operating() as operator:
        running.create()
        fetch, _ = finish(running, operator, FETCH)
        separate, pod = finish(running, operator, SEPARATE)
        eventually(lambda: running.phase() == "Completed")
        assert is_live(running, fetch)
        assert is_live(running, separate)
        assert ending(running) == sorted(job["metadata"]["name"] for job in (fetch, separate))
        assert len(running.objects("stems/")) == 3
        writes = operator.metrics()["stemyard_kubernetes_requests_total", ("200", "separationjobs/status", "patch")]
        running.finish(separate, pod, 0)
        eventually(lambda: ending(running) == [fetch["metadata"]["name"]])
        scraped = operator.metrics()
        assert scraped["stemyard_kubernetes_requests_total", ("200", "separationjobs/status", "patch")] == writes + 1
        assert scraped["stemyard_stage_seconds_count", ("spleeter-2stems", "separate")] == 1
        assert scraped["stemyard_separations_ended_total", ("Completed",)] == 1


def test_a_place_is_taken_until_the_pod_is_gone(running: World) -> None:
    with running.operating(MAX_ACTIVE="1") as operator:
        for name in ("first", "second"):
            running.create(name)
            fetch, pod = finish(running, operator, FETCH, name)
            running.finish(fetch, pod, 0)
        separate, pod = finish(running, operator, SEPARATE, "first")
        eventually(lambda: running.phase("first") == "Completed")
        eventually(lambda: running.phase("second") == "Queued", 15)
        assert [name for name in running.jobs() if "-s1-" in name] == [separate["metadata"]["name"]]
        running.finish(separate, pod, 0)
        running.wait_job(SEPARATE, name="second")


def test_what_a_pod_says_is_not_believed_but_looked_at(running: World) -> None:
    """Another pod's key is refused; a mark that is not there, or of another digest, changes nothing."""
    with running.operating() as operator:
        running.create()
        job = running.wait_job(FETCH)
        pod, other = running.run(job), running.pod(job)
        theirs = running.publish(job, other)
        assert say(running, operator, job, pod, theirs).status_code == 403
        mark = running.publish(job, pod)
        forged = mark.model_copy(update={"sha256": "0" * 64})
        assert say(running, operator, job, pod, forged).status_code == 204
        client = running.store.client()
        content = client.get_object(Bucket=running.store.bucket, Key=mark.key)["Body"].read()
        client.delete_object(Bucket=running.store.bucket, Key=mark.key)
        assert say(running, operator, job, pod, mark).status_code == 204
        # the operator looks after it has answered, so the mark must stay away until it has done something later
        running.create("other")
        running.wait_job(FETCH, name="other")
        assert len([name for name in running.jobs() if "-s1-" in name]) == 0
        assert running.phase() == "Fetching"
        client.put_object(Bucket=running.store.bucket, Key=mark.key, Body=content)
        client.close()
        assert say(running, operator, job, pod, mark).status_code == 204
        running.wait_job(SEPARATE)


def test_a_pod_that_fails_after_its_mark_has_done_its_work(running: World) -> None:
    with running.operating() as operator:
        running.create()
        job, pod = finish(running, operator, FETCH)
        running.fail(job, pod, "INTERNAL")
        job, pod = finish(running, operator, SEPARATE)
        running.fail(job, pod, "INTERNAL")
        eventually(lambda: running.phase() == "Completed")
        assert len(running.jobs()) == 2


def test_the_word_is_lost_with_the_leader_and_the_end_of_the_job_counts(running: World) -> None:
    with running.operating(POD_NAME="operator-0") as operator:
        running.create()
        job, pod = finish(running, operator, FETCH)
        operator.kill()
    with running.operating(POD_NAME="operator-0") as operator:
        running.finish(job, pod, 0)
        job, pod = finish(running, operator, SEPARATE)
        eventually(lambda: running.phase() == "Completed")
        operator.kill()
    with running.operating(POD_NAME="operator-0") as operator:
        running.finish(job, pod, 0)
        eventually(lambda: not ending(running))
        assert operator.metrics()["stemyard_stage_seconds_count", ("spleeter-2stems", "separate")] == 1


def test_a_standby_refuses_and_closes_the_connection(running: World) -> None:
    with running.operating(POD_NAME="operator-0"), running.operating(POD_NAME="operator-1") as standby:
        running.create()
        job = running.wait_job(FETCH)
        pod = running.run(job)
        answer = say(running, standby, job, pod, running.publish(job, pod))
        assert (answer.status_code, answer.headers["connection"]) == (503, "close")
        assert answer.json()["code"] == "UNAVAILABLE"


@pytest.mark.parametrize("body", ['{"stage": "separate", "mark": {"key": "a", "sha256": "b"}}', "{}", "text"])
def test_invalid_words_get_a_named_error(running: World, body: str) -> None:
    with running.operating() as operator:
        running.create()
        pod = running.run(running.wait_job(FETCH))
        headers = {"Authorization": f"Bearer {running.token(pod)}"}
        answer = httpx.post(operator.desk + DESK_FINISHED_PATH, content=body, headers=headers, timeout=10)
        assert (answer.status_code, answer.json()["code"]) == (422, "INVALID_REQUEST")
        answer = httpx.post(operator.desk + DESK_FINISHED_PATH, content=body, timeout=10)
        assert (answer.status_code, answer.json()["code"]) == (401, "UNAUTHENTICATED")


def test_a_store_that_hangs_leaves_it_to_the_end_of_the_job(running: World) -> None:
    with running.operating() as operator:
        running.create()
        job = running.wait_job(FETCH)
        pod = running.run(job)
        mark = running.publish(job, pod)
        pause_store(running, paused=True)
        try:
            assert say(running, operator, job, pod, mark).status_code == 204
            running.create("other")
            running.wait_job(FETCH, name="other")
        finally:
            pause_store(running, paused=False)
        running.finish(job, pod, 0)
        running.wait_job(SEPARATE)
