"""The cost of deliveries, and of reconciles while ten thousand deliveries to unresponsive consumers are pending."""

import contextlib
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from bench.separation.figures import Figure
from localcluster.control_plane import ControlPlane, free_port
from stemyard_operator.model.separation import separation_of
from tests.api_server.conftest import install_crd
from tests.support import operator_world
from tests.support.operator_world import Operator, World, eventually
from tests.support.servers import Server

CLAIMS = 64
DEAD = 10
"""Consumers that never answer."""


@dataclass(frozen=True)
class Bench:
    """An operator's environment and a webhook consumer."""

    world: World
    port: int

    def url(self, path: str, address: int = 1) -> str:
        return f"http://127.0.0.{address}:{self.port}{path}"

    def create(self, prefix: str, number: int, targets: int, path: str, dead: int = 1) -> None:
        """Create SeparationJobs that fail immediately, each with `targets` webhook addresses."""
        claims = [{"key": f"key-{one}", "webhook": self.url(f"{path}/{one}", 1 + one % dead)} for one in range(targets)]
        with ThreadPoolExecutor(8) as pool:
            names = [f"{prefix}-{one}" for one in range(number)]
            list(pool.map(lambda name: self.world.create(name, model="nope", claims=claims), names))

    def states(self, prefix: str) -> tuple[int, int, int]:
        """Return the numbers of ended separations, completed deliveries and pending deliveries."""
        listed = self.world.plane.api.get(self.world.path("separationjobs"))["items"]
        typed = [separation_of(one, self.world.namespace) for one in listed]
        found = [one.status for one in typed if one.name.startswith(f"{prefix}-")]
        boxes = [box for one in found for box in one.webhooks]
        ended = sum(one.phase == "Failed" for one in found)
        return ended, sum(box.delivered_at is not None for box in boxes), sum(box.pending for box in boxes)


@contextlib.contextmanager
def bench() -> Iterator[Bench]:
    with tempfile.TemporaryDirectory() as name, ControlPlane(Path(name) / "plane") as plane:
        install_crd(plane)
        port = free_port()
        sink = Server("sink", [sys.executable, "-m", "bench.webhooks.sink", str(port)], port, Path.cwd())
        sink = Server(sink.name, sink.command, port, Path(name), {"PYTHONPATH": str(Path(__file__).parents[2])})
        with sink.running(), operator_world.world(plane, Path(name)) as world:
            origins = ",".join(f"http://127.0.0.{one}:{port}" for one in range(1, 1 + DEAD))
            world.environment |= {"WEBHOOK_ALLOWED_ORIGINS": origins, "WEBHOOK_SECRET": "a secret of the bench"}
            world.environment |= {"WEBHOOK_CONCURRENCY_PER_TARGET": "32"}
            yield Bench(world, port)


def cpu_seconds(operator: Operator) -> float:
    assert operator.server.process is not None
    fields = Path(f"/proc/{operator.server.process.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def deliveries(made: Bench, separations: int) -> Iterator[Figure]:
    """Measure deliveries end to end: final status written, signed, sent, recorded; minus the cost without webhooks."""
    spent = {}
    for prefix, targets in (("alone", 0), ("notified", CLAIMS)):
        made.create(prefix, separations, targets, "/hook")
        wanted = (separations, separations * targets, 0)
        with made.world.operating() as operator:
            cpu, started = cpu_seconds(operator), time.monotonic()
            eventually(lambda wanted=wanted, prefix=prefix: made.states(prefix) == wanted, 1800)  # type: ignore[misc]
            spent[prefix] = (cpu_seconds(operator) - cpu, time.monotonic() - started)
    count = separations * CLAIMS
    cpu = spent["notified"][0] - spent["alone"][0]
    yield Figure("webhooks.deliveries", count, "deliveries")
    yield Figure("webhooks.per_second", count / spent["notified"][1], "deliveries/s")
    yield Figure("webhooks.delivery_cpu", cpu / count * 1000, "ms/delivery")


def pending(made: Bench, rounds: int) -> Iterator[Figure]:
    """Measure separations without webhooks: with no pending deliveries, with many, and with none again."""
    separations = 10_000 // CLAIMS + 1
    found: dict[str, tuple[float, float]] = {}
    for name in ("before", "during", "after"):
        if name == "during":
            made.create("dead", separations, CLAIMS, "/never", DEAD)
        with made.world.operating() as operator:
            if name == "during":
                eventually(lambda: made.states("dead")[0] == separations, 600)
                yield Figure("webhooks.pending", made.states("dead")[2], "deliveries", 10_000, "more")
            found[name] = _ends(made, operator, name, rounds)
        if name == "during":
            for number in range(separations):
                made.world.plane.api.delete(made.world.path("separationjobs", f"dead-{number}"))
    for position, (what, unit) in enumerate((("latency", "ms"), ("cpu", "ms/separation"))):
        quiet = (found["before"][position] + found["after"][position]) / 2
        busy = found["during"][position]
        yield Figure(f"webhooks.reconcile_{what}_quiet", quiet, unit)
        yield Figure(f"webhooks.reconcile_{what}_pending", busy, unit)
        yield Figure(f"webhooks.reconcile_{what}_ratio", busy / quiet, "x", 1.1)


def _ends(made: Bench, operator: Operator, name: str, rounds: int) -> tuple[float, float]:
    """Return the median milliseconds from creation to end, and CPU milliseconds per separation."""
    took = []
    cpu = cpu_seconds(operator)
    for number in range(rounds):
        started = time.perf_counter()
        made.world.create(f"{name}-{number}", model="nope")
        while made.world.phase(f"{name}-{number}") != "Failed":
            time.sleep(0.002)
        took.append((time.perf_counter() - started) * 1000)
    return statistics.median(took), (cpu_seconds(operator) - cpu) / rounds * 1000
