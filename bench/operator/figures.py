"""Both operators in one run with interleaved batches, so that other load on the machine affects them equally."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from statistics import median, quantiles

from bench.operator.load import Load, completed, fill
from bench.operator.system import Measured, System
from bench.separation.figures import Figure

_NAMESPACES = ("ours", "beside-idle", "idiomatic", "idiomatic-lent-store")
_WARM = 10
_COUNTED = frozenset({"separationjobs", "separationjobs/status", "jobs"})
_SETTLE_SECONDS = 45
_RESYNC_SECONDS = 15


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
    spaces = ours, beside, theirs, lent = [made.namespace(name) for name in _NAMESPACES]
    async with AsyncExitStack() as stack:
        loads = [await stack.enter_async_context(Load.watching(made.access, one)) for one in spaces]
        alone = Side(loads[0], stack.enter_context(made.ours(ours)))
        await alone.load.batch(_WARM, _WARM)
        await fill(made.access, beside, await completed(made.access, ours), 0, plan.idle)
        crowded = Side(loads[1], stack.enter_context(made.ours(beside)))
        other = Side(loads[2], stack.enter_context(made.idiomatic(theirs)))
        helped = Side(loads[3], stack.enter_context(made.idiomatic(lent, IDIOMATIC_STORE="lent")))
        async for figure in _batches(plan, alone, other, helped, crowded):
            yield figure
        async for figure in _steady(plan, alone):
            yield figure
        for side in (alone, other, helped):
            await side.load.delete(list(side.load.timelines))
        for figure in _writes(made, alone, other):
            yield figure
    await fill(made.access, beside, await completed(made.access, beside), plan.idle, plan.live)
    async for figure in _many(made, beside):
        yield figure


async def _batches(plan: Plan, alone: Side, other: Side, helped: Side, crowded: Side) -> AsyncIterator[Figure]:
    size = plan.jobs // plan.rounds
    for side in (other, helped, crowded):
        await side.load.batch(_WARM, _WARM)
    sides = [alone, other, helped, crowded]
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


async def _many(made: System, namespace: str) -> AsyncIterator[Figure]:
    """Start an operator with all separations present, let it resync a few times, and measure memory, CPU and writes."""
    with made.ours(namespace, RESYNC_SECONDS=str(_RESYNC_SECONDS)) as operator:
        written, cpu = len(made.writes()), operator.cpu_seconds()
        await asyncio.sleep(_SETTLE_SECONDS)
        idle = [one for one in made.writes()[written:] if one["user"] == "ours" and one["resource"] != "leases"]
        yield Figure("operator.memory_peak", operator.mebibytes("VmHWM"), "MiB", 256)
        yield Figure("operator.memory", operator.mebibytes("VmRSS"), "MiB", 256)
        yield Figure("operator.start_cpu", cpu, "s")
        yield Figure("operator.idle_cpu", (operator.cpu_seconds() - cpu) / _SETTLE_SECONDS, "cores")
        yield Figure("operator.idle_writes", len(idle), "writes", 0)
