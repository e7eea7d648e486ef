"""An object store that hangs: connections stay open and nothing comes over them."""

import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from localcluster.control_plane import ControlPlane
from stemyard_contract.handover import WorkStage
from tests.api_server.test_operator_desk import links, put
from tests.support.operator_world import World, eventually, world

FETCH, SEPARATE = WorkStage
ENDED = 12


@pytest.fixture
def running(control_plane: ControlPlane, tmp_path: Path) -> Iterator[World]:
    with world(control_plane, tmp_path) as found:
        found.environment |= {"POD_NAME": "operator-0", "WORKERS": "2", "MAX_ACTIVE": "20", "MAX_ACTIVE_FETCH": "20"}
        yield found


def pause_store(running: World, *, paused: bool) -> None:
    process = running.store.server.process
    assert process is not None
    process.send_signal(signal.SIGSTOP if paused else signal.SIGCONT)


def test_new_separations_and_cancellations_do_not_wait_for_a_store_that_hangs(running: World) -> None:
    names = [f"song-{number}" for number in range(ENDED)]
    with running.operating() as operator:
        for name in [*names, "unwanted"]:
            running.create(name)
        jobs = {name: running.wait_job(FETCH, name=name) for name in [*names, "unwanted"]}
        pods = {name: running.run(job) for name, job in jobs.items()}
        eventually(lambda: running.phase("unwanted") == "Fetching")
        for name in names:
            running.succeed(jobs[name], pods[name])
            pause_store(running, paused=True)
            break
        try:
            for name in names[1:]:
                # the commit mark cannot be written now; what counts is that the operator looks for it
                running.finish(jobs[name], pods[name], 0)
            time.sleep(2)
            begun = time.monotonic()
            running.create("new")
            running.wait_job(FETCH, name="new")
            running.plane.api.merge(running.path("separationjobs", "unwanted"), {"spec": {"cancel": True}})
            eventually(lambda: jobs["unwanted"]["metadata"]["name"] not in live(running), 10)
            assert time.monotonic() - begun < 10
            assert operator.is_ready()
        finally:
            pause_store(running, paused=False)
        running.separate("new")


def test_the_desk_serves_while_the_store_does_not_answer(running: World) -> None:
    """Links are signed without the store, and separators wait for it themselves."""
    with running.operating() as operator:
        running.create("song")
        job = running.wait_job(FETCH)
        pod = running.run(job)
        operator.kill()
        pause_store(running, paused=True)
        try:
            operator.start()
            answer = links(operator, running.token(pod), put("audio.flac"))
            assert answer.status_code == 200, answer.text
        finally:
            pause_store(running, paused=False)
        running.succeed(job, pod)
        job = running.wait_job(SEPARATE)
        running.succeed(job, running.run(job))
        eventually(lambda: running.phase() == "Completed")


def live(running: World) -> list[str]:
    return [name for name, job in running.jobs().items() if "deletionTimestamp" not in job["metadata"]]
