"""Every webhook arrives, despite bad consumers and a repeatedly killed operator; Outcomes and marks are real."""

import os
import threading
import time
from bisect import bisect
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from localcluster.control_plane import ControlPlane, free_port
from stemyard_contract.outbox import WebhookStatus
from stemyard_operator.model.job import job_of
from stemyard_operator.model.separation import separation_of
from tests.support import operator_world
from tests.support.operator_world import World
from tests.support.webhook_receiver import Receiver, break_off, first, hang, slow, status

SEPARATIONS = int(os.environ.get("STEMYARD_PROOF_SEPARATIONS", "48"))
"""`make chaos` takes 1,000."""
SCHEDULE = (0.0, 1.0, 2.0, 4.0, 8.0, 15.0, 30.0, 30.0, 30.0, 30.0)
DOWN_SECONDS = 8.0
BEHAVIOURS = {
    "/500": first(2, status(500)),
    "/hangs": first(1, hang(2)),
    "/breaks-off": first(2, break_off),
    "/redirects": first(1, status(302, Location="/nowhere")),
    "/410": status(410),
    "/slow": slow(0.3),
    "/good": slow(0),
}
DOWN = "/down"


@dataclass
class Kubelet:
    """Completes every Job with a pod, real files in the store, a commit mark and an Outcome."""

    world: World
    failed: list[BaseException] = field(default_factory=list)
    _done: set[str] = field(default_factory=set)
    _stop: threading.Event = field(default_factory=threading.Event)

    def _work(self) -> None:
        with ThreadPoolExecutor(4) as pool:
            while not self._stop.wait(0.2):
                new = [job for name, job in self.world.jobs().items() if name not in self._done and job_of(job)]
                self._done.update(job["metadata"]["name"] for job in new)
                for ended in list(pool.map(self._complete, new)):
                    if ended is not None:
                        self.failed.append(ended)

    def _complete(self, job: dict[str, Any]) -> BaseException | None:
        try:
            self.world.succeed(job, self.world.run(job))
        except Exception as error:  # noqa: BLE001 - told to the test, which runs in another thread
            return error
        return None

    @contextmanager
    def working(self) -> Iterator[None]:
        thread = threading.Thread(target=self._work)
        thread.start()
        try:
            yield
        finally:
            self._stop.set()
            thread.join()


@pytest.fixture
def world(control_plane: ControlPlane, tmp_path: Path) -> Iterator[World]:
    with operator_world.world(control_plane, tmp_path) as found:
        found.environment |= {
            "WEBHOOK_SCHEDULE": ",".join(map(str, SCHEDULE)),
            "WEBHOOK_TIMEOUT_SECONDS": "1",
            "WEBHOOK_BREAKER_SECONDS": "1",
            "WEBHOOK_CONCURRENCY_PER_TARGET": "16",
            "MAX_ACTIVE": "1000",
            "MAX_ACTIVE_FETCH": "1000",
        }
        yield found


def outboxes(world: World) -> dict[str, tuple[str, list[WebhookStatus]]]:
    """Return phase and outbox of every SeparationJob."""
    listed = world.plane.api.get(world.path("separationjobs"))["items"]
    return {
        one.name: (one.status.phase or "", one.status.webhooks)
        for one in (separation_of(found, world.namespace) for found in listed)
    }


def test_every_webhook_arrives_and_none_is_repeated_after_its_2xx_was_recorded(world: World) -> None:
    with ExitStack() as stack:
        receiver, later = stack.enter_context(Receiver()), free_port()
        receiver.behaviours = dict(BEHAVIOURS)
        paths = [*BEHAVIOURS, DOWN]
        names = {f"song-{number}": paths[number % len(paths)] for number in range(SEPARATIONS)}
        world.environment |= {
            "WEBHOOK_URL": receiver.url("/own"),
            "WEBHOOK_ALLOWED_ORIGINS": f"{receiver.url('')},http://127.0.0.1:{later}",
        }
        for name, path in names.items():
            base = f"http://127.0.0.1:{later}" if path == DOWN else receiver.url("")
            world.create(name, webhooks=[{"url": base + path}])
        kubelet = Kubelet(world)
        stack.enter_context(kubelet.working())
        recorded, kills, woken = kill_until_settled(world, stack, later)
        assert kubelet.failed == []
        found = outboxes(world)
        received = [*receiver.received, *woken.received]
    assert {phase for phase, _ in found.values()} == {"Completed"}
    expected = {(path, f"{world.namespace}.{name}") for name, path in names.items()}
    expected |= {("/own", track) for _, track in expected}
    assert {(got.path, got.payload["track_id"]) for got in received} == expected
    assert all(got.payload["status"] == "completed" and got.payload["result"]["vocals_url"] for got in received)
    assert [got for got in received if got.at > recorded.get(got.id, float("inf"))] == []
    final = {one.id: one for _, outbox in found.values() for one in outbox}
    assert {one.url.rpartition("/")[2] for one in final.values() if one.delivered_at is None} == {"410"}
    attempts: dict[str, list[float]] = {}
    for got in received:
        attempts.setdefault(got.id, []).append(got.at)
    for message, times in attempts.items():
        check_schedule(sorted(times), kills)
        assert 1 <= final[message].attempts <= len(times) + len(kills)
    repeated = sum(max(0, len(times) - final[message].attempts) for message, times in attempts.items())
    print(
        f"\n{len(names)} separations, {len(final)} deliveries, {len(received)} attempts arrived, "
        f"{len(kills)} operators killed, {repeated} attempts made again because their record was lost, "
        f"by path {dict(Counter(got.path for got in received))}"
    )


def kill_until_settled(world: World, stack: ExitStack, later: int) -> tuple[dict[str, float], list[float], Receiver]:
    """Start operators and kill them, until all is told; the consumer on port `later` comes up late.

    Returns when each delivery was seen recorded, the moments of the kills, and the late consumer.
    """
    recorded: dict[str, float] = {}
    kills: list[float] = []
    begun, woken, left = time.time(), None, True
    while left or len(kills) < 4:
        assert time.time() - begun < 300 + 3 * SEPARATIONS, "it does not come to an end"
        operator = world.operator(POD_NAME="operator-0")
        try:
            operator.start()
            time.sleep(2 + len(kills) % 5 + SEPARATIONS / 50)
            if woken is None and missed(world):
                time.sleep(DOWN_SECONDS)
                woken = stack.enter_context(Receiver(later))
        finally:
            operator.kill()
        kills.append(time.time())
        now, found = time.time(), outboxes(world)
        entries = [one for _, outbox in found.values() for one in outbox]
        recorded = {one.id: now for one in entries if one.delivered_at is not None} | recorded
        left = any(phase != "Completed" for phase, _ in found.values()) or any(one.pending for one in entries)
    with world.operating(POD_NAME="operator-0"):
        time.sleep(3)
    assert woken is not None
    return recorded, kills, woken


def missed(world: World) -> bool:
    """Whether an attempt at the unavailable consumer was recorded."""
    return any(one.url.endswith(DOWN) and one.attempts for _, box in outboxes(world).values() for one in box)


def check_schedule(times: list[float], kills: list[float]) -> None:
    """Check the scheduled pause between two attempts, unless a kill lost the record of the first."""
    kept = 0
    for before, after in pairwise(times):
        if bisect(kills, before) == bisect(kills, after):
            kept += 1
            assert after - before >= SCHEDULE[min(kept, len(SCHEDULE) - 1)] - 0.05, (times, kills)
