"""Between the operator and a real API server is a network: whatever it does, separations end once and well."""

import random
import signal
import sys
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from localcluster.control_plane import ControlPlane
from stemyard_contract.handover import WorkStage
from stemyard_contract.separationjob import KIND
from stemyard_operator.model.job import job_of
from tests.api_server.test_operator_faults import done_once, leaders
from tests.support import operator_world
from tests.support.faulty_proxy import GONE, Asked, Fault, Proxy, clean, when
from tests.support.operator_world import ACCOUNT, Operator, World, eventually

FETCH, SEPARATE = WorkStage
JOB_POST = r"POST .*/jobs$"
STATUS = r"PATCH .*/status$"
ONE_BY_ONE = [
    (JOB_POST, Fault(status=409)),
    (JOB_POST, Fault(status=409, reaches=True)),
    (JOB_POST, Fault(status=429, retry_after=1)),
    (JOB_POST, Fault(status=500, reaches=True)),
    (JOB_POST, Fault(cut=True)),
    (JOB_POST, Fault(cut=True, reaches=True)),
    (JOB_POST, Fault(hang=True, reaches=True)),
    (STATUS, Fault(status=409)),
    (STATUS, Fault(status=429, retry_after=1)),
    (STATUS, Fault(status=503, retry_after=1)),
    (STATUS, Fault(status=504, reaches=True)),
    (STATUS, Fault(cut=True, reaches=True)),
    (STATUS, Fault(hang=True)),
    (r"GET .*/separationjobs/", Fault(status=500)),
    (r"GET .*/pods$", Fault(cut=True)),
    (r"POST .*/events$", Fault(status=403)),
    (r"PUT .*/leases/", Fault(status=409)),
    (r"GET .*/leases/", Fault(hang=True)),
    (r"GET .*/(jobs|separationjobs)$", Fault(status=410)),
    (r"GET .*/(jobs|separationjobs)$", Fault(status=200, body=b"<h1>Welcome</h1>")),
]
MIXED = [
    Fault(status=409),
    Fault(status=429, retry_after=1),
    Fault(status=500),
    Fault(status=503, reaches=True),
    Fault(cut=True),
    Fault(cut=True, reaches=True),
    Fault(delay=0.5),
]


WRONG_CLOCK = """
from datetime import UTC, datetime, timedelta
from stemyard_operator.clients import server_clock as clock
made = clock.ServerClock.__init__
def wrong(self):
    made(self)
    self.local_now = lambda: datetime.now(UTC) + timedelta(hours={hours})
clock.ServerClock.__init__ = wrong
from stemyard_operator.__main__ import main
main()
"""


@pytest.fixture
def world(control_plane: ControlPlane, tmp_path: Path) -> Iterator[World]:
    with operator_world.world(control_plane, tmp_path) as found:
        found.environment |= {"RETRY_BASE_SECONDS": "0.2", "MAX_ACTIVE": "20", "MAX_ACTIVE_FETCH": "20"}
        yield found


@pytest.fixture
def proxy(world: World) -> Iterator[Proxy]:
    with proxy_of(world).running() as found:
        world.environment["KUBECONFIG"] = str(found.kubeconfig(world.folder))
        yield found


def proxy_of(world: World) -> Proxy:
    pair = world.plane.identities.client_pair(f"system:serviceaccount:{world.namespace}:{ACCOUNT}")
    return Proxy(world.plane, (pair.certificate, pair.key))


def play(world: World, operator: Operator, names: list[str], seconds: float = 90) -> None:
    """Take the kubelet's part until all have ended, and the Deployment's: start the operator anew when it ends."""
    deadline = time.monotonic() + seconds
    while any(world.phase(name) != "Completed" for name in names):
        assert time.monotonic() < deadline, operator.server.log.read_text()[-3000:]
        if not operator.alive():
            operator.server.launch()
        for raw in world.jobs().values():
            job = job_of(raw)
            if job is not None and job.live:
                world.succeed(raw, world.run(raw))
        time.sleep(0.05)


def test_one_fault_at_each_kind_of_call(world: World, proxy: Proxy) -> None:
    with world.operating(POD_NAME="operator-0", RESYNC_SECONDS="2") as operator:
        for number, (pattern, fault) in enumerate(ONE_BY_ONE):
            before, proxy.plan = proxy.befallen, when(pattern, fault)
            world.create(f"song-{number}")
            play(world, operator, [f"song-{number}"])
            eventually(lambda b=before: proxy.befallen > b)  # type: ignore[misc]
            proxy.plan = clean
            done_once(world, f"song-{number}")


@pytest.mark.parametrize("seed", [1, 2])
def test_a_third_of_all_calls_go_wrong(world: World, proxy: Proxy, seed: int) -> None:
    chance = random.Random(seed)

    def plan(asked: Asked) -> Fault | None:
        return chance.choice(MIXED) if not asked.watch and chance.random() < 0.33 else None

    names = [f"song-{number}" for number in range(6)]
    for name in names:
        world.create(name)
    proxy.plan = plan
    operator = world.operator(POD_NAME="operator-0", RESYNC_SECONDS="3")
    try:
        operator.server.launch()
        play(world, operator, names, 240)
    finally:
        if operator.alive():
            operator.kill()
    assert proxy.befallen > 30
    for name in names:
        done_once(world, name)


def test_events_that_get_lost_are_made_up_for_by_the_resync(world: World, proxy: Proxy) -> None:
    proxy.sieve = lambda _: b""
    with world.operating(POD_NAME="operator-0", RESYNC_SECONDS="2") as operator:
        world.create()
        play(world, operator, ["song"])
    done_once(world)


def test_a_cancellation_that_was_not_heard_of_is_found_before_the_next_job_is_made(world: World, proxy: Proxy) -> None:
    def sieve(event: dict[str, Any]) -> bytes | None:
        return b"" if event["object"]["kind"] == KIND else None

    with world.operating(POD_NAME="operator-0"):
        world.create()
        job = world.wait_job(FETCH)
        pod = world.run(job)
        eventually(lambda: world.phase() == "Fetching")
        proxy.sieve = sieve
        world.plane.api.merge(world.path("separationjobs", "song"), {"spec": {"cancel": True}})
        world.succeed(job, pod)
        eventually(lambda: world.phase() == "Cancelled")
    assert [name.rpartition("-")[0][-2:] for name in world.jobs()] == ["f1"]


def test_watches_that_are_too_old_begin_again(world: World, proxy: Proxy) -> None:
    expired: list[str] = []

    def sieve(event: dict[str, Any]) -> bytes | None:
        if len(expired) == 6:
            return None
        expired.append(event["type"])
        return GONE

    proxy.sieve = sieve
    names = [f"song-{number}" for number in range(6)]
    with world.operating(POD_NAME="operator-0") as operator:
        # a list after a 410 may show what several events would have told, so that one song need not take all six
        for name in names:
            world.create(name)
            play(world, operator, [name])
    assert len(expired) == 6
    for name in names:
        done_once(world, name)


def test_an_api_server_that_freezes_ends_the_leader_and_nothing_is_lost(world: World, proxy: Proxy) -> None:
    """Connections stay open and nothing comes over them; half a minute stands for the minutes that this may take."""
    with world.operating(POD_NAME="operator-0") as operator:
        world.create("before")
        job = world.wait_job(FETCH, name="before")
        pod = world.run(job)
        proxy.deaf = True
        begun = time.monotonic()
        world.succeed(job, pod)
        world.create("during")
        eventually(lambda: not operator.alive(), 20)
        assert operator.server.process is not None
        assert operator.server.process.returncode == 1
        assert time.monotonic() - begun < 15
        operator.server.launch()
        time.sleep(max(0.0, begun + 30 - time.monotonic()))
        assert operator.alive()
        assert not operator.is_ready()
        proxy.deaf = False
        play(world, operator, ["before", "during"])
    for name in ("before", "during"):
        done_once(world, name)


def test_a_late_write_of_a_leader_that_was_paused_changes_nothing(world: World, proxy: Proxy) -> None:
    """Its write is under way when it is stopped, and arrives when another has long led."""
    with world.operating(POD_NAME="first") as first:
        eventually(lambda: leaders(world) == "first")
        direct = {"KUBECONFIG": str(world.plane.kubeconfig_of_account(world.namespace, ACCOUNT))}
        with world.operating(POD_NAME="second", **direct) as second:
            held = threading.Event()

            def plan(asked: Asked) -> Fault | None:
                if asked.method == "PATCH" and not held.is_set():
                    held.set()
                    return Fault(delay=25)
                return None

            proxy.plan = plan
            world.create()
            assert held.wait(20)
            assert first.server.process is not None
            first.server.process.send_signal(signal.SIGSTOP)
            stopped = time.monotonic()
            eventually(lambda: leaders(world) == "second", 25)
            assert time.monotonic() - stopped < 20
            play(world, second, ["song"])
            settled = world.separation()
            writes = len(proxy.answers)
            eventually(lambda: any(one[0] == "PATCH" for one in proxy.answers), 40)
            assert {status for method, _, status in proxy.answers[writes:] if method == "PATCH"} <= {409}
            first.server.process.send_signal(signal.SIGCONT)
            resumed = time.monotonic()
            while first.alive():
                assert time.monotonic() - resumed < 60, first.server.log.read_text()[-6000:]
                time.sleep(0.05)
            assert first.server.process.returncode == 1
            assert world.separation() == settled
            assert leaders(world) == "second"
    done_once(world)


@pytest.mark.parametrize("hours", [-2, 2])
def test_a_clock_that_is_hours_wrong_changes_nothing(world: World, hours: int) -> None:
    """A pod that does not start at once is not taken for one that never will."""
    operator = world.operator(POD_NAME="operator-0")
    operator.server.command = [sys.executable, "-c", WRONG_CLOCK.format(hours=hours)]
    try:
        operator.start()
        world.create()
        job = world.wait_job(FETCH)
        pod = world.pod(job)
        eventually(lambda: "Fetched" in {one.type for one in world.separation().status.conditions})
        time.sleep(7)
        assert world.phase() == "Fetching"
        world.succeed(job, pod)
        play(world, operator, ["song"])
    finally:
        operator.kill()
    finished = world.separation().status.finished_at
    assert finished is not None
    assert abs(datetime.now(UTC) - finished) < timedelta(minutes=2)
    done_once(world)


def test_a_store_and_a_mirror_that_go_away_for_a_while(world: World) -> None:
    with world.operating(POD_NAME="operator-0") as operator:
        world.create()
        job = world.wait_job(FETCH)
        world.succeed(job, world.run(job))
        world.store.server.stop()
        world.valkey.stop()
        world.create("during")
        eventually(lambda: "object store" in operator.server.log.read_text())
        assert world.phase() != "Completed"
        world.store.server.start()
        world.valkey.start()
        play(world, operator, ["song", "during"])
        with world.redis() as client:
            eventually(lambda: client.zcard(world.keys.tracks) == 2, 30)
            client.flushall()
    with world.operating(POD_NAME="operator-0", RESYNC_SECONDS="1"), world.redis() as client:
        eventually(lambda: client.zcard(world.keys.tracks) == 2, 30)
    for name in ("song", "during"):
        done_once(world, name)
