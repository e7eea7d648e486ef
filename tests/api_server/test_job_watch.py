"""The watch of Jobs at a real API server behind an unreliable network: it resumes and misses nothing."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any, cast

import aiohttp
import pytest

from localcluster.control_plane import ControlPlane
from stemyard_operator.clients import kubernetes as cluster_module
from stemyard_operator.clients.kubernetes import KubernetesClient
from stemyard_operator.health import Health
from stemyard_operator.informer import job_watch
from stemyard_operator.informer.event_handlers import EventHandlers
from stemyard_operator.informer.job_watch import JOB_SELECTOR, JobWatch
from stemyard_operator.namespaces import Namespaces
from tests.support.faulty_proxy import GONE, Fault, ProxiedRequest, Proxy


class Recorded:
    """Records the watch's events in place of the event handlers."""

    def __init__(self) -> None:
        self.jobs: list[str] = []
        self.gone: list[str] = []

    def job(self, resource: dict[str, Any]) -> None:
        if resource["metadata"]["name"] == "broken":
            raise KeyError("spec")
        self.jobs.append(resource["metadata"]["name"])

    def job_gone(self, uid: str) -> None:
        self.gone.append(uid)


class Jobs:
    """Jobs of a namespace without a kubelet."""

    def __init__(self, plane: ControlPlane, namespace: str) -> None:
        self._plane = plane
        self._path = f"/apis/batch/v1/namespaces/{namespace}/jobs"

    def create(self, name: str, *, ours: bool = True, **annotations: str) -> str:
        labels = dict([JOB_SELECTOR.split("=")]) if ours else {}
        pod = {"restartPolicy": "Never", "containers": [{"name": "one", "image": "none"}]}
        metadata = {"name": name, "labels": labels, "annotations": annotations}
        job = self._plane.api.post(self._path, {"metadata": metadata, "spec": {"template": {"spec": pod}}})
        return str(job["metadata"]["uid"])

    def delete(self, name: str) -> None:
        self._plane.api.delete(f"{self._path}/{name}?propagationPolicy=Background")


@pytest.fixture
def jobs(control_plane: ControlPlane, namespace: str) -> Jobs:
    return Jobs(control_plane, namespace)


@pytest.fixture
def proxy(control_plane: ControlPlane) -> Iterator[Proxy]:
    pair = control_plane.identities.client_pair("admin")
    with Proxy(control_plane, (pair.certificate, pair.key)).running() as found:
        yield found


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster_module, "_WATCH_TIMEOUT", aiohttp.ClientTimeout(total=None, sock_read=1))


@pytest.fixture
async def recorded(
    proxy: Proxy, namespace: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Recorded]:
    """Records a running watch, which pauses briefly after failures."""
    monkeypatch.setenv("KUBECONFIG", str(proxy.kubeconfig(tmp_path)))
    monkeypatch.setattr(job_watch, "_PAUSE_BASE", 0.01)
    cluster, recorded = await KubernetesClient.connect(), Recorded()
    health = Health(60, Namespaces([namespace]))
    watch = asyncio.create_task(JobWatch(cluster, cast("EventHandlers", recorded), health, namespace).run())
    try:
        yield recorded
    finally:
        watch.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await watch
        await cluster.close()


async def until(true: Callable[[], bool], seconds: float = 20) -> None:
    async with asyncio.timeout(seconds):
        while not true():  # noqa: ASYNC110 - nothing tells of it
            await asyncio.sleep(0.02)


def remembering(proxy: Proxy) -> list[str]:
    """Return a list that records the resourceVersions of new watches."""
    versions: list[str] = []

    def plan(one: ProxiedRequest) -> Fault | None:
        if one.watch:
            versions.append(one.version)
        return None

    proxy.plan = plan
    return versions


async def test_a_watch_starts_with_all_labelled_jobs(jobs: Jobs, recorded: Recorded) -> None:
    jobs.create("first")
    jobs.create("foreign", ours=False)
    uid = jobs.create("second")
    await until(lambda: {*recorded.jobs} == {"first", "second"})
    jobs.delete("second")
    await until(lambda: recorded.gone == [uid])
    assert {*recorded.jobs} == {"first", "second"}


async def test_a_broken_watch_resumes_at_its_version(jobs: Jobs, recorded: Recorded, proxy: Proxy) -> None:
    jobs.create("before")
    await until(lambda: recorded.jobs == ["before"])
    versions = remembering(proxy)
    proxy.sieve = lambda _: b"\n" if not versions else None  # the connection ends in the middle of this event
    jobs.create("during")
    await until(lambda: "during" in recorded.jobs)
    jobs.create("after")
    await until(lambda: "after" in recorded.jobs)
    assert recorded.jobs == ["before", "during", "after"]
    assert all(versions)


async def test_an_expired_watch_starts_with_all_jobs(jobs: Jobs, recorded: Recorded, proxy: Proxy) -> None:
    jobs.create("before")
    await until(lambda: recorded.jobs == ["before"])
    versions = remembering(proxy)
    proxy.sieve = lambda _: GONE if not versions else None
    jobs.create("during")
    await until(lambda: "during" in recorded.jobs)
    assert versions[0] == ""
    assert recorded.jobs.count("before") == 2


@pytest.mark.usefixtures("impatient")
async def test_a_silent_connection_is_closed(jobs: Jobs, recorded: Recorded, proxy: Proxy) -> None:
    jobs.create("before")
    await until(lambda: recorded.jobs == ["before"])
    proxy.mute = True
    jobs.create("during")
    await until(lambda: "during" in recorded.jobs)


async def test_a_long_object_and_a_failing_handler(jobs: Jobs, recorded: Recorded) -> None:
    jobs.create("long", remark="x" * 200_000)
    jobs.create("broken")
    jobs.create("next")
    await until(lambda: recorded.jobs == ["long", "next"])


@pytest.mark.parametrize("fault", [Fault(status=503), Fault(status=403), Fault(status=410), Fault(cut=True)], ids=str)
async def test_watches_back_off_while_the_api_server_refuses_them(
    jobs: Jobs, recorded: Recorded, proxy: Proxy, fault: Fault
) -> None:
    jobs.create("before")
    await until(lambda: recorded.jobs == ["before"])
    count = 0

    def plan(request: ProxiedRequest) -> Fault | None:
        nonlocal count
        count += request.watch
        return fault if request.watch else None

    proxy.plan = plan
    proxy.sieve = lambda _: b"\n" if not count else None
    jobs.create("during")
    await until(lambda: count >= 4)
    await asyncio.sleep(1)
    assert count <= 12  # a hundred, were the pauses always the same
    proxy.plan = lambda _: None
    await until(lambda: "during" in recorded.jobs)


@pytest.mark.parametrize("words", ["<h1>Welcome</h1>", "[]", '{"type": "MODIFIED", "object": {}}'])
async def test_an_invalid_event_restarts_the_watch(jobs: Jobs, recorded: Recorded, proxy: Proxy, words: str) -> None:
    jobs.create("before")
    await until(lambda: recorded.jobs == ["before"])
    versions = remembering(proxy)
    proxy.sieve = lambda _: words.encode() + b"\n" if not versions else None
    jobs.create("during")
    await until(lambda: "during" in recorded.jobs)
