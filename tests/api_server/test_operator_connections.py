"""An unreliable network between the operator and a real API server: every separation still completes once."""

import json
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
from stemyard_contract.separationjob import GROUP, KIND, PLURAL
from stemyard_operator.model.job import job_of
from tests.api_server.test_operator_desk import links, problem, put
from tests.api_server.test_operator_faults import done_once, leaders
from tests.support import operator_world
from tests.support.faulty_proxy import GONE, Fault, ProxiedRequest, Proxy, clean, when
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

ABSENT = json.dumps(
    {
        "kind": "Status",
        "status": "Failure",
        "code": 404,
        "reason": "NotFound",
        "message": "not found",
        "details": {"name": "song", "group": GROUP, "kind": PLURAL},
    }
).encode()

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
    """Act as the kubelet until all have ended, and as the Deployment, which restarts the operator."""
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
            before, proxy.plan = proxy.faults_applied, when(pattern, fault)
            world.create(f"song-{number}")
            play(world, operator, [f"song-{number}"])
            eventually(lambda b=before: proxy.faults_applied > b)  # type: ignore[misc]
            proxy.plan = clean
            done_once(world, f"song-{number}")


@pytest.mark.parametrize("status", [429, 503])
def test_a_busy_api_server_is_asked_again_only_when_it_allows_that(world: World, proxy: Proxy, status: int) -> None:
    asked: list[float] = []
    refuse = when(JOB_POST, Fault(status=status, retry_after=4))

    def plan(request: ProxiedRequest) -> Fault | None:
        if request.method == "POST" and request.path.endswith("/jobs"):
            asked.append(time.monotonic())
        return refuse(request)

    proxy.plan = plan
    with world.operating(RESYNC_SECONDS="1"):
        world.create()
        eventually(lambda: asked)
        world.plane.api.merge(world.path("separationjobs", "song"), {"spec": {"priority": 1}})
        world.wait_job(FETCH)
    assert asked[1] - asked[0] >= 4


@pytest.mark.parametrize("seed", [1, 2])
def test_separations_complete_while_a_third_of_all_calls_fail(world: World, proxy: Proxy, seed: int) -> None:
    chance = random.Random(seed)

    def plan(request: ProxiedRequest) -> Fault | None:
        return chance.choice(MIXED) if not request.watch and chance.random() < 0.33 else None

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
    assert proxy.faults_applied > 30
    for name in names:
        done_once(world, name)


def test_lost_events_are_recovered_by_the_resync(world: World, proxy: Proxy) -> None:
    proxy.sieve = lambda _: b""
    with world.operating(POD_NAME="operator-0", RESYNC_SECONDS="2") as operator:
        world.create()
        play(world, operator, ["song"])
    done_once(world)


def test_a_cancellation_whose_event_was_lost_is_noticed_before_the_next_job(world: World, proxy: Proxy) -> None:
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


def test_expired_watches_restart(world: World, proxy: Proxy) -> None:
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


def test_a_frozen_api_server_ends_the_leader_without_losses(world: World, proxy: Proxy) -> None:
    """Connections stay open but carry nothing, here for half a minute instead of minutes."""
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


def test_a_late_write_of_a_paused_leader_changes_nothing(world: World, proxy: Proxy) -> None:
    """The write is under way when the process is stopped, and arrives while another replica leads."""
    with world.operating(POD_NAME="first") as first:
        eventually(lambda: leaders(world) == "first")
        direct = {"KUBECONFIG": str(world.plane.kubeconfig_of_account(world.namespace, ACCOUNT))}
        with world.operating(POD_NAME="second", **direct) as second:
            held = threading.Event()

            def plan(request: ProxiedRequest) -> Fault | None:
                if request.method == "PATCH" and not held.is_set():
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


def silence(operator: Operator) -> float:
    """Return the seconds since the last event of a watch."""
    return operator.metrics()["stemyard_watch_age_seconds", ()]


def test_a_standby_that_lags_reads_before_it_refuses_a_link(world: World, proxy: Proxy) -> None:
    direct = {"KUBECONFIG": str(world.plane.kubeconfig_of_account(world.namespace, ACCOUNT))}
    with world.operating(POD_NAME="leader", **direct):
        world.create()
        world.separate()
        with world.operating(POD_NAME="standby") as standby:
            # its list and its watch are behind it, so that it sees nothing of what follows
            eventually(lambda: silence(standby) > 1)
            world.plane.api.merge(world.path("separationjobs", "song"), {"spec": {"priority": 1}})
            eventually(lambda: silence(standby) < 1)
            proxy.sieve = lambda _: b""
            world.plane.api.merge(world.path("separationjobs", "song"), {"spec": {"run": 2}})
            token = world.token(world.run(world.wait_job(FETCH, run=2)))
            answer = links(standby, token, put("audio.flac"))
            assert answer.status_code == 200, answer.text
            world.plane.api.merge(world.path("separationjobs", "song"), {"spec": {"cancel": True}})
            assert problem(links(standby, token, put("audio.flac"))) == (403, "LINK_REFUSED")


@pytest.mark.parametrize("hours", [-2, 2])
def test_a_clock_that_is_off_by_hours_changes_nothing(world: World, hours: int) -> None:
    """A pod that has not started yet is not considered stuck."""
    operator = world.operator(POD_NAME="operator-0")
    operator.server.command = [sys.executable, "-c", WRONG_CLOCK.format(hours=hours)]
    try:
        operator.start()
        world.create()
        job = world.wait_job(FETCH)
        pod = world.pod(job)
        eventually(lambda: "Fetched" in {one.type for one in world.separation().status.conditions})
        time.sleep(7)
        assert world.phase() == "Pending"
        world.succeed(job, pod)
        play(world, operator, ["song"])
    finally:
        operator.kill()
    finished = world.separation().status.finished_at
    assert finished is not None
    assert abs(datetime.now(UTC) - finished) < timedelta(minutes=2)
    done_once(world)


def test_separations_complete_after_an_outage_of_store_and_mirror(world: World) -> None:
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


@pytest.mark.parametrize("body", [b"404 page not found", ABSENT], ids=["of a proxy", "of an API server"])
def test_a_404_for_a_separation_that_exists_deletes_nothing(world: World, proxy: Proxy, body: bytes) -> None:
    with world.operating(POD_NAME="operator-0", RESYNC_SECONDS="2") as operator:
        world.create()
        play(world, operator, ["song"])
        stems = world.objects("stems/")
        before, proxy.plan = proxy.faults_applied, when(STATUS, Fault(status=404, body=body))
        world.plane.api.merge(world.path("separationjobs", "song"), {"spec": {"run": 2}})
        eventually(lambda: proxy.faults_applied > before)
        eventually(lambda: world.phase() == "Fetching")
        assert world.objects("stems/") == stems
        play(world, operator, ["song"])
        assert len(world.objects("stems/")) == 3
        world.plane.api.delete(world.path("separationjobs", "song"))
        eventually(lambda: world.objects("stems/") == [])
