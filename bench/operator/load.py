"""Asks for separations, as fast as they end or at a steady rate, and sees by watches when each step was told."""

import asyncio
import contextlib
import hashlib
import itertools
import time
from collections.abc import AsyncIterator
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
class Story:
    """When things happened to one separation and when its status said so, as one watcher saw them."""

    created: float = 0
    moments: dict[str, float] = field(default_factory=dict)
    phases: dict[str, float] = field(default_factory=dict)
    ended: asyncio.Event = field(default_factory=asyncio.Event)

    def latencies(self) -> list[float]:
        """Seconds from what happened until the status told: made, separate pod ready, separate Job complete."""
        pairs = [("made", "Fetching"), ("ready", "Separating"), ("complete", "Completed")]
        return [
            max(0.0, self.phases[phase] - self.moments[moment])
            for moment, phase in pairs
            if phase in self.phases and moment in self.moments
        ]


class Crowd:
    """Those who ask for separations in one namespace."""

    _numbers = itertools.count()

    def __init__(self, client: Client, namespace: str) -> None:
        self._client = client
        self.namespace = namespace
        self.stories: dict[str, Story] = {}

    @classmethod
    @contextlib.asynccontextmanager
    async def watching(cls, access: Access, namespace: str) -> AsyncIterator["Crowd"]:
        async with Client(access) as client, asyncio.TaskGroup() as group:
            crowd = cls(client, namespace)
            tasks = [group.create_task(crowd._separations()), group.create_task(crowd._jobs())]
            try:
                yield crowd
            finally:
                for task in tasks:
                    task.cancel()

    async def _separations(self) -> None:
        async for kind, one in self._client.watch(path(self.namespace)):
            story = self.stories.get(one["metadata"]["name"])
            if story is None or kind == "DELETED":
                continue
            now, phase = time.monotonic(), (one.get("status") or {}).get("phase")
            story.moments.setdefault("made", now)
            if phase:
                story.phases.setdefault(phase, now)
            if phase in {"Completed", "Failed", "Cancelled"}:
                story.ended.set()

    async def _jobs(self) -> None:
        jobs = f"/apis/batch/v1/namespaces/{self.namespace}/jobs"
        async for _, job in self._client.watch(jobs, labelSelector=f"{LABEL_STAGE}=separate"):
            story = self.stories.get(job["metadata"]["labels"][LABEL_JOB])
            if story is None:
                continue
            now, status = time.monotonic(), job.get("status") or {}
            if status.get("ready"):
                story.moments.setdefault("ready", now)
            if any(one["type"] == "Complete" and one["status"] == "True" for one in status.get("conditions") or []):
                story.moments.setdefault("complete", now)

    async def ask(self) -> Story:
        """Ask for one separation and wait for its end."""
        name = f"song-{next(self._numbers)}"
        story = self.stories[name] = Story()
        await self._client.call("POST", path(self.namespace), resource(name))
        async with asyncio.timeout(DEADLINE_SECONDS):
            await story.ended.wait()
        if "Completed" not in story.phases:
            raise RuntimeError(f"{self.namespace}/{name} ended as {set(story.phases)}")
        return story

    async def batch(self, number: int, at_once: int) -> float:
        """Have so many separated, so many at once; return the seconds it took."""
        room, begun = asyncio.Semaphore(at_once), time.monotonic()

        async def one() -> None:
            async with room:
                await self.ask()

        await asyncio.gather(*(one() for _ in range(number)))
        return time.monotonic() - begun

    async def steadily(self, rate: float, seconds: float) -> list[float]:
        """Ask at a steady rate; return all latencies."""
        tasks = []
        for _ in range(round(rate * seconds)):
            tasks.append(asyncio.create_task(self.ask()))
            await asyncio.sleep(1 / rate)
        stories = await asyncio.gather(*tasks)
        return [latency for story in stories for latency in story.latencies()]

    async def delete(self, names: list[str]) -> None:
        """Take separations back."""
        room = asyncio.Semaphore(16)

        async def one(name: str) -> None:
            async with room:
                with contextlib.suppress(RefusedError):
                    await self._client.call("DELETE", path(self.namespace, name))

        await asyncio.gather(*(one(name) for name in names))


async def fill(access: Access, namespace: str, like: Document, first: int, last: int) -> None:
    """Make completed separations like one that was completed in truth."""
    async with Client(access) as client:
        room = asyncio.Semaphore(32)

        async def one(number: int) -> None:
            name = f"idle-{number}"
            async with room:
                await client.call("POST", path(namespace), resource(name))
                status = {**like["status"], "trackId": f"{namespace}.{name}", "source": recording(like, name)}
                await client.merge(path(namespace, name, "status"), {"status": status})

        for start in range(first, last, 500):
            await asyncio.gather(*(one(number) for number in range(start, min(last, start + 500))))


def recording(like: Document, name: str) -> Document:
    """Return the source of a separation like that one, of another song."""
    return {**like["status"]["source"], "sha256": hashlib.sha256(name.encode()).hexdigest()}


async def completed(access: Access, namespace: str) -> Document:
    """Return a separation that was completed."""
    async with Client(access) as client:
        listed = await client.call("GET", path(namespace))
        return next(one for one in listed["items"] if one["status"]["phase"] == "Completed")
