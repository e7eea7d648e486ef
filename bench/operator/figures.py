"""Both operators in one run with interleaved batches, so that other load on the machine affects them equally."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from statistics import median, quantiles

from bench.operator.client import Document
from bench.operator.load import Load, completed, fill, resource_bytes
from bench.operator.system import Measured, System
from bench.separation.figures import Figure
from tests.support.operator_world import INSTALL

_NAMESPACES = ("ours", "beside-idle", "two-replicas", "idiomatic", "idiomatic-lent-store")
_WARM = 10
_COUNTED = frozenset({"separationjobs", "separationjobs/status", "jobs"})
_SETTLE_SECONDS = 45
_RESYNC_SECONDS = 15
_SWEEP_SECONDS = 600


@dataclass(frozen=True)
class Plan:
    jobs: int
    rounds: int
    at_once: int
    idle: int
    live: int
    steady_seconds: float


@dataclass
class Side:
    """One operator and the measurements of its batches."""

    load: Load
    operator: Measured
    cpu_ms: list[float] = field(default_factory=list)
    """CPU milliseconds of the operator per separation, by batch."""
    rates: list[float] = field(default_factory=list)
    """Separations a second, by batch."""

    async def batch(self, number: int, at_once: int) -> None:
        before = self.operator.cpu_seconds()
        seconds = await self.load.batch(number, at_once)
        self.cpu_ms.append((self.operator.cpu_seconds() - before) / number * 1000)
        self.rates.append(number / seconds)


async def figures(made: System, plan: Plan) -> AsyncIterator[Figure]:
    """Yield all figures."""
    spaces = ours, beside, pair, theirs, lent = [made.namespace(name) for name in _NAMESPACES]
    async with AsyncExitStack() as stack:
        loads = [await stack.enter_async_context(Load.watching(made.access, one)) for one in spaces]
        alone = Side(loads[0], stack.enter_context(made.ours(ours)))
        await alone.load.batch(_WARM, _WARM)
        await fill(made.access, beside, await completed(made.access, ours), made.store_file, 0, plan.idle)
        crowded = Side(loads[1], stack.enter_context(made.ours(beside)))
        paired = Side(loads[2], stack.enter_context(made.ours(pair)))
        await paired.load.batch(_WARM, _WARM)
        standby = stack.enter_context(made.ours(pair, replica=2))
        other = Side(loads[3], stack.enter_context(made.idiomatic(theirs)))
        helped = Side(loads[4], stack.enter_context(made.idiomatic(lent, IDIOMATIC_STORE="lent")))
        before = standby.cpu_seconds()
        async for figure in _batches(plan, alone, other, helped, crowded, paired):
            yield figure
        yield Figure("operator.standby_cpu", (standby.cpu_seconds() - before) / plan.jobs * 1000, "ms/separation")
        yield Figure("operator.standby_memory", standby.mebibytes("VmRSS"), "MiB", 256)
        async for figure in _steady(plan, alone):
            yield figure
        for side in (alone, paired, other, helped):
            await side.load.delete(list(side.load.timelines))
        for figure in _writes(made, alone, other):
            yield figure
    await fill(made.access, beside, await completed(made.access, beside), made.store_file, plan.idle, plan.live)
    async for figure in _many(made, beside, plan.live):
        yield figure


async def memory(made: System, plan: Plan) -> AsyncIterator[Figure]:
    """Yield the figures of an operator with many completed separations only."""
    namespace = made.namespace("many")
    async with Load.watching(made.access, namespace) as load:
        with made.ours(namespace):
            await load.batch(1, 1)
    await fill(made.access, namespace, await completed(made.access, namespace), made.store_file, 0, plan.live)
    async for figure in _many(made, namespace, plan.live):
        yield figure


async def _batches(
    plan: Plan, alone: Side, other: Side, helped: Side, crowded: Side, paired: Side
) -> AsyncIterator[Figure]:
    size = plan.jobs // plan.rounds
    for side in (other, helped, crowded):
        await side.load.batch(_WARM, _WARM)
    sides = [alone, other, helped, crowded, paired]
    for _ in range(plan.rounds):
        for side in sides:
            await side.batch(size, plan.at_once)
        sides.reverse()  # alternate the order, so that a slowdown affects all sides equally
    yield Figure("operator.rate", plan.rounds / sum(1 / rate for rate in alone.rates), "separations/s", 5, "more")
    yield Figure("operator.idiomatic_rate", plan.rounds / sum(1 / rate for rate in other.rates), "separations/s")
    yield Figure("operator.cpu", median(alone.cpu_ms), "ms/separation")
    yield Figure("operator.idiomatic_cpu", median(other.cpu_ms), "ms/separation")
    yield Figure("operator.lent_store_cpu", median(helped.cpu_ms), "ms/separation")
    yield Figure("operator.cpu_vs_idiomatic", _ratio(alone, other), "x", 0.5)
    yield Figure("operator.cpu_vs_lent_store", _ratio(alone, helped), "x")
    yield Figure("operator.cpu_beside_idle", _ratio(crowded, alone), "x", 1.1)
    yield Figure("operator.cpu_beside_standby", _ratio(paired, alone), "x", 1.1)
    rates = [without / with_idle for with_idle, without in zip(crowded.rates, alone.rates, strict=True)]
    yield Figure("operator.time_beside_idle", median(rates), "x", 1.1)


def _ratio(one: Side, other: Side) -> float:
    return median(mine / yours for mine, yours in zip(one.cpu_ms, other.cpu_ms, strict=True))


async def _steady(plan: Plan, alone: Side) -> AsyncIterator[Figure]:
    latencies = await alone.load.steadily(2, plan.steady_seconds)
    cuts = quantiles(latencies, n=100)
    yield Figure("operator.event_to_status_p50", cuts[49], "s")
    yield Figure("operator.event_to_status_p99", cuts[98], "s", 2)


def _writes(made: System, alone: Side, other: Side) -> list[Figure]:
    """Count the writes in the API server's audit log, including the client's create and delete, and refused writes."""
    counted, events = Counter[str](), Counter[str]()
    for write in made.writes():
        counted[write["namespace"]] += write["resource"] in _COUNTED
        events[write["namespace"]] += write["resource"] == "events"
    mine, yours = alone.load, other.load
    return [
        Figure("operator.api_writes", counted[mine.namespace] / len(mine.timelines), "writes/separation", 7),
        Figure("operator.events", events[mine.namespace] / len(mine.timelines), "events/separation", 4),
        Figure("operator.idiomatic_api_writes", counted[yours.namespace] / len(yours.timelines), "writes/separation"),
        Figure("operator.idiomatic_events", events[yours.namespace] / len(yours.timelines), "events/separation"),
    ]


async def _many(made: System, namespace: str, live: int) -> AsyncIterator[Figure]:
    """Start an operator with all separations present and a sweep due, and measure it then and when it is idle."""
    stray = f"{INSTALL}/stems/{namespace}.stray/0123/"
    made.store_file(f"{stray}vocals.mp3")
    with made.ours(namespace, RESYNC_SECONDS=str(_RESYNC_SECONDS), SWEEP_SECONDS="86400") as operator:
        start = operator.cpu_seconds()
        found = await _swept(made)
        if found["orphans"] != [stray]:
            raise RuntimeError(f"the sweep found {found}")
        written, cpu = len(made.writes()), operator.cpu_seconds()
        await asyncio.sleep(_SETTLE_SECONDS)
        idle = [one for one in made.writes()[written:] if one["user"] == "ours" and one["resource"] != "leases"]
        yield Figure("operator.memory_peak", operator.mebibytes("VmHWM"), "MiB", 256)
        yield Figure("operator.memory", operator.mebibytes("VmRSS"), "MiB", 256)
        yield Figure("operator.start_cpu", start, "s")
        yield Figure("operator.sweep_cpu", cpu - start, "s")
        yield Figure("operator.idle_cpu", (operator.cpu_seconds() - cpu) / _SETTLE_SECONDS, "cores")
        yield Figure("operator.idle_writes", len(idle), "writes", 0)
    yield Figure("operator.resource_size", await resource_bytes(made.access, namespace) / 1024, "KiB/separation")
    yield Figure("operator.mirror_size", made.mirror_bytes() / live / 1024, "KiB/separation")


async def _swept(made: System) -> Document:
    """Wait for the first sweep; return what it found."""
    for _ in range(_SWEEP_SECONDS):
        found = made.sweep()
        if found is not None:
            return found
        await asyncio.sleep(1)
    raise TimeoutError("no sweep has ended")
