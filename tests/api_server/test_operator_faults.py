"""The operator is killed, loses its lease, or writes outdated state: nothing is lost or done twice."""

import asyncio
import os
import random
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from localcluster.control_plane import ControlPlane
from stemyard_contract.handover import WorkStage
from stemyard_operator.clients.kubernetes import KubernetesClient
from stemyard_operator.clients.kubernetes_paths import leases_path
from stemyard_operator.clients.leader_election import LeaderElector, Lease
from stemyard_operator.errors import ConflictError, NotFoundError, NotLeadingError
from stemyard_operator.model.job import job_of
from tests.support.operator_world import World, eventually, world

FETCH, SEPARATE = WorkStage


@pytest.fixture
def running(control_plane: ControlPlane, tmp_path: Path) -> Iterator[World]:
    with world(control_plane, tmp_path) as found:
        yield found


def done_once(running: World, name: str = "song") -> None:
    """Check that two Jobs were created, the stems exist once, and the source audio is deleted."""
    stages = sorted(job.rpartition("-")[0][-2:] + job[-2:] for job in running.jobs() if job.startswith(f"{name}-"))
    assert stages == ["f1-1", "s1-1"]
    track = f"{running.namespace}.{name}"
    assert len(running.objects(f"stems/{track}/")) == 3
    assert running.objects(f"work/{track}/") == []


def test_the_operator_is_killed_between_the_two_jobs(running: World) -> None:
    with running.operating(POD_NAME="operator-0") as operator:
        running.create()
        job = running.wait_job(FETCH)
        pod = running.run(job)
        operator.kill()
        running.succeed(job, pod)
    with running.operating(POD_NAME="operator-0"):
        job = running.wait_job(SEPARATE)
        running.succeed(job, running.run(job))
        eventually(lambda: running.phase() == "Completed")
    done_once(running)


def test_the_operator_is_killed_repeatedly(running: World) -> None:
    """Several songs; each operator process runs from a fraction of a second to a few seconds."""
    chance = random.Random(20261122)
    names = [f"song-{number}" for number in range(8)]
    operator = running.operator(POD_NAME="operator-0", MAX_ACTIVE="3")
    for name in names:
        running.create(name)
    lives = 0
    try:
        for _ in range(40):
            operator.server.start()
            until = time.monotonic() + chance.uniform(0.02, 0.4)
            while time.monotonic() < until:
                take_part(running)
                time.sleep(0.02)
            operator.kill()
            lives += 1
            if all(running.phase(name) == "Completed" for name in names):
                break
        else:
            operator.server.start()
            deadline = time.monotonic() + 60
            while time.monotonic() < deadline and any(running.phase(name) != "Completed" for name in names):
                take_part(running)
                time.sleep(0.05)
    finally:
        if operator.alive():
            operator.kill()
    assert lives > 3, "it was too fast to be killed on the way"
    for name in names:
        assert running.phase(name) == "Completed"
        done_once(running, name)


def take_part(running: World) -> None:
    """End every Job that has not ended."""
    for job in running.jobs().values():
        typed = job_of(job)
        if typed is not None and typed.live:
            running.succeed(job, running.run(job))


def leaders(running: World) -> str:
    found = running.plane.api.get(leases_path(running.namespace, "stemyard-operator"))
    return str(found["spec"]["holderIdentity"])


def test_a_standby_takes_over_from_a_killed_leader(running: World) -> None:
    with running.operating(POD_NAME="first") as first:
        eventually(lambda: leaders(running) == "first")
        with running.operating(POD_NAME="second") as second:
            running.create()
            running.wait_job(FETCH)
            assert "leading" not in second.server.log.read_text().replace(first.server.log.read_text(), "")
            first.kill()
            begun = time.monotonic()
            eventually(lambda: leaders(running) == "second")
            assert time.monotonic() - begun > 3
            job = running.wait_job(FETCH)
            running.succeed(job, running.run(job))
            job = running.wait_job(SEPARATE)
            running.succeed(job, running.run(job))
            eventually(lambda: running.phase() == "Completed")
    done_once(running)


def test_a_standby_queues_nothing_and_takes_over_everything(running: World) -> None:
    queue = {state: ("stemyard_reconcile_queue", (state,)) for state in ("due", "later")}
    with running.operating(POD_NAME="first", RESYNC_SECONDS="1") as first:
        eventually(lambda: leaders(running) == "first")
        with running.operating(POD_NAME="second", RESYNC_SECONDS="1") as second:
            names = [f"song-{number}" for number in range(5)]
            for name in names:
                running.create(name)
            eventually(lambda: sum(first.metrics()[key] for key in queue.values()) > 0)
            running.separate(names[0])
            time.sleep(2.5)
            found = second.metrics()
            assert {state: found[key] for state, key in queue.items()} == {"due": 0, "later": 0}
            first.server.stop(signal.SIGTERM)
            for name in names[1:]:
                running.separate(name)


def test_a_signal_releases_the_lease(running: World) -> None:
    with running.operating(POD_NAME="first") as first, running.operating(POD_NAME="second"):
        eventually(lambda: leaders(running) == "first")
        assert first.server.stop(signal.SIGTERM) == 0
        eventually(lambda: leaders(running) == "second", 8)


def test_an_operator_that_loses_its_lease_exits(running: World) -> None:
    with running.operating(POD_NAME="first") as first:
        eventually(lambda: leaders(running) == "first")
        lease = running.plane.api.get(leases_path(running.namespace, "stemyard-operator"))
        running.plane.api.merge(
            leases_path(running.namespace, "stemyard-operator"), {"spec": {"holderIdentity": "somebody else"}}
        )
        eventually(lambda: not first.alive(), 15)
        assert first.server.process is not None
        assert first.server.process.returncode == 1
        assert lease["spec"]["leaseDurationSeconds"] == 12


@pytest.mark.usefixtures("cluster")
async def test_a_write_begins_only_if_the_lease_outlives_it(running: World) -> None:
    now = 1000.0
    lease = Lease(lambda: now)
    cluster = await KubernetesClient.connect(fence=lease.fence)
    elector = LeaderElector(cluster, lease, running.namespace, "other", "me")
    with pytest.raises(NotLeadingError):
        await cluster.create_job(running.namespace, {})
    await elector.acquire()
    lease.fence()
    now += 8.5
    assert not lease.is_leading()
    assert lease.is_held()
    lease.fence()
    now += 1.0
    with pytest.raises(NotLeadingError):
        lease.fence()
    await elector.release()
    assert not lease.is_held()
    with pytest.raises(NotLeadingError):
        lease.fence()
    await cluster.close()


async def test_a_status_from_an_older_state_is_refused(running: World, cluster: KubernetesClient) -> None:
    first = running.create()
    await cluster.apply_status(running.namespace, "song", first.resource_version, {"title": "one"})
    with pytest.raises(ConflictError):
        await cluster.apply_status(running.namespace, "song", first.resource_version, {"title": "two"})
    running.plane.api.delete(running.path("separationjobs", "song"))
    with pytest.raises(NotFoundError):
        await cluster.apply_status(running.namespace, "song", first.resource_version, {"title": "three"})
    again = running.create()
    with pytest.raises(ConflictError):
        await cluster.apply_status(running.namespace, "song", first.resource_version, {"title": "four"})
    assert running.separation().status.title is None
    whole = await cluster.apply_status(running.namespace, "song", again.resource_version, {"title": "a", "job": "b"})
    version = int(whole["metadata"]["resourceVersion"])
    cut = await cluster.apply_status(running.namespace, "song", version, {"title": "a"})
    assert "job" not in cut["status"]


async def test_two_replicas_never_lead_at_once(running: World, cluster: KubernetesClient) -> None:
    leases = [Lease() for _ in range(4)]
    electors = [
        LeaderElector(cluster, lease, running.namespace, "race", f"replica-{number}")
        for number, lease in enumerate(leases)
    ]
    waiting = [asyncio.create_task(elector.acquire()) for elector in electors]
    await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
    await asyncio.sleep(0.5)
    assert sum(lease.is_leading() for lease in leases) == 1
    for task in waiting:
        task.cancel()


def test_the_operator_waits_for_the_store(running: World) -> None:
    running.store.server.stop()
    operator = running.operator()
    try:
        with operator.server.log.open("ab") as log:
            operator.server.process = subprocess.Popen(
                operator.server.command, env={**os.environ, **operator.server.environment}, stderr=log
            )
        eventually(lambda: "R2_BUCKET" in operator.server.log.read_text())
        assert operator.alive()
        assert not operator.is_ready()
        running.store.server.start()
        eventually(operator.is_ready, 60)
    finally:
        operator.kill()
