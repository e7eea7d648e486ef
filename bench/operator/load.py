"""Creates separations, in batches or at a steady rate, and measures by watches when their status shows each step."""

import asyncio
import contextlib
import hashlib
import itertools
import json
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field

from bench.operator.client import Access, Client, Document, RefusedError
from stemyard_contract.separationjob import API_VERSION, GROUP, KIND, LABEL_JOB, LABEL_STAGE, PLURAL, VERSION

DEADLINE_SECONDS = 300


def path(namespace: str, name: str = "", part: str = "") -> str:
    parts = [f"/apis/{GROUP}/{VERSION}/namespaces/{namespace}/{PLURAL}", name, part]
    return "/".join(one for one in parts if one)


def resource(name: str, status: Document | None = None) -> Document:
    spec = {"source": {"url": f"https://example.com/{name}.mp3"}}
    body: Document = {"apiVersion": API_VERSION, "kind": KIND, "metadata": {"name": name}, "spec": spec}
    return body if status is None else {**body, "status": status}


@dataclass
class Timeline:
    """When the steps of one separation happened and when its status showed them, both as seen by one watcher."""

    created: float = 0
    moments: dict[str, float] = field(default_factory=dict)
    phases: dict[str, float] = field(default_factory=dict)
    ended: asyncio.Event = field(default_factory=asyncio.Event)

    def latencies(self) -> list[float]:
        """Return the seconds until the status showed each step: created, separate pod ready, separate Job complete."""
        pairs = [("made", "Fetching"), ("ready", "Separating"), ("complete", "Completed")]
        return [
            max(0.0, self.phases[phase] - self.moments[moment])
            for moment, phase in pairs
            if phase in self.phases and moment in self.moments
        ]


class Load:
    """Creates separations in one namespace and watches them."""

    _numbers = itertools.count()

    def __init__(self, client: Client, namespace: str) -> None:
        self._client = client
        self.namespace = namespace
        self.timelines: dict[str, Timeline] = {}

    @classmethod
    @contextlib.asynccontextmanager
    async def watching(cls, access: Access, namespace: str) -> AsyncIterator["Load"]:
        async with Client(access) as client, asyncio.TaskGroup() as group:
            load = cls(client, namespace)
            tasks = [group.create_task(load._separations()), group.create_task(load._jobs())]
            try:
                yield load
            finally:
                for task in tasks:
                    task.cancel()

    async def _separations(self) -> None:
        async for kind, one in self._client.watch(path(self.namespace)):
            timeline = self.timelines.get(one["metadata"]["name"])
            if timeline is None or kind == "DELETED":
                continue
            now, phase = time.monotonic(), (one.get("status") or {}).get("phase")
            timeline.moments.setdefault("made", now)
            if phase:
                timeline.phases.setdefault(phase, now)
            if phase in {"Completed", "Failed", "Cancelled"}:
                timeline.ended.set()

    async def _jobs(self) -> None:
        jobs = f"/apis/batch/v1/namespaces/{self.namespace}/jobs"
        async for _, job in self._client.watch(jobs, labelSelector=f"{LABEL_STAGE}=separate"):
            timeline = self.timelines.get(job["metadata"]["labels"][LABEL_JOB])
            if timeline is None:
                continue
            now, status = time.monotonic(), job.get("status") or {}
            if status.get("ready"):
                timeline.moments.setdefault("ready", now)
            if any(one["type"] == "Complete" and one["status"] == "True" for one in status.get("conditions") or []):
                timeline.moments.setdefault("complete", now)

    async def separate(self) -> Timeline:
        """Create one separation and wait for its end."""
        name = f"song-{next(self._numbers)}"
        timeline = self.timelines[name] = Timeline()
        await self._client.call("POST", path(self.namespace), resource(name))
        async with asyncio.timeout(DEADLINE_SECONDS):
            await timeline.ended.wait()
        if "Completed" not in timeline.phases:
            raise RuntimeError(f"{self.namespace}/{name} ended as {set(timeline.phases)}")
        return timeline

    async def batch(self, number: int, at_once: int) -> float:
        """Run `number` separations, `at_once` concurrently; return the seconds it took."""
        slots, started = asyncio.Semaphore(at_once), time.monotonic()

        async def one() -> None:
            async with slots:
                await self.separate()

        await asyncio.gather(*(one() for _ in range(number)))
        return time.monotonic() - started

    async def steadily(self, rate: float, seconds: float) -> list[float]:
        """Create separations at a steady rate; return all latencies."""
        tasks = []
        for _ in range(round(rate * seconds)):
            tasks.append(asyncio.create_task(self.separate()))
            await asyncio.sleep(1 / rate)
        timelines = await asyncio.gather(*tasks)
        return [latency for timeline in timelines for latency in timeline.latencies()]

    async def delete(self, names: list[str]) -> None:
        """Delete separations."""
        slots = asyncio.Semaphore(16)

        async def one(name: str) -> None:
            async with slots:
                with contextlib.suppress(RefusedError):
                    await self._client.call("DELETE", path(self.namespace, name))

        await asyncio.gather(*(one(name) for name in names))


async def fill(
    access: Access, namespace: str, like: Document, store_file: Callable[[str], None], first: int, last: int
) -> None:
    """Create completed separations with the status of a real one, and the objects of their results."""
    async with Client(access) as client:
        slots = asyncio.Semaphore(32)

        async def one(number: int) -> None:
            name = f"idle-{number}"
            status = status_like(like, namespace, name)
            async with slots:
                await client.call("POST", path(namespace), resource(name))
                await client.merge(path(namespace, name, "status"), {"status": status})
            for key in files_of(status):
                store_file(key)

        for start in range(first, last, 500):
            await asyncio.gather(*(one(number) for number in range(start, min(last, start + 500))))


def status_like(like: Document, namespace: str, name: str) -> Document:
    """Return the status of a separation for another name, with keys of its own."""
    text = json.dumps({**like["status"], "source": recording(like, name)})
    return dict(json.loads(text.replace(like["status"]["trackId"], f"{namespace}.{name}")))


def files_of(status: Document) -> list[str]:
    """Return the keys of a result: manifest, stems and their waveform peaks."""
    result = status["result"]
    stems = [stem["key"] for stem in result["stems"].values()]
    return [result["manifestKey"], *stems, *(f"{key.rpartition('.')[0]}.peaks.json" for key in stems)]


def recording(like: Document, name: str) -> Document:
    """Return the source of a separation with another song's hash."""
    return {**like["status"]["source"], "sha256": hashlib.sha256(name.encode()).hexdigest()}


async def completed(access: Access, namespace: str) -> Document:
    """Return a completed separation."""
    async with Client(access) as client:
        listed = await client.call("GET", path(namespace))
        return next(one for one in listed["items"] if one["status"]["phase"] == "Completed")


async def resource_bytes(access: Access, namespace: str) -> float:
    """Return the mean size of a separation as JSON, which is how the API server stores it."""
    async with Client(access) as client:
        listed = await client.call("GET", path(namespace), limit="500")
        return len(json.dumps(listed["items"], separators=(",", ":"))) / len(listed["items"])
