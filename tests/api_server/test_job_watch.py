"""The watch of Jobs, at a real API server behind a bad network: it goes on from where it was, and misses nothing."""

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
from tests.support.faulty_proxy import GONE, Asked, Fault, Proxy


class Told:
    """What the watch tells of, in the intake's place."""

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
    """Jobs of a namespace that nobody runs."""

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
async def told(proxy: Proxy, namespace: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Told]:
    """What a running watch tells of, pausing shortly where it fails."""
    monkeypatch.setenv("KUBECONFIG", str(proxy.kubeconfig(tmp_path)))
    monkeypatch.setattr(job_watch, "_PAUSE_BASE", 0.01)
    cluster, told = await KubernetesClient.connect(), Told()
    watch = asyncio.create_task(JobWatch(cluster, cast("EventHandlers", told), Health(60), namespace).run())
    try:
        yield told
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
    """Return the versions that watches go on from, as they are asked for from now on."""
    asked: list[str] = []

    def plan(one: Asked) -> Fault | None:
        if one.watch:
            asked.append(one.version)
        return None

    proxy.plan = plan
    return asked


async def test_it_begins_with_all_that_is_there_and_tells_of_ours_only(jobs: Jobs, told: Told) -> None:
    jobs.create("first")
    jobs.create("foreign", ours=False)
    uid = jobs.create("second")
    await until(lambda: {*told.jobs} == {"first", "second"})
    jobs.delete("second")
    await until(lambda: told.gone == [uid])
    assert {*told.jobs} == {"first", "second"}


async def test_after_a_break_it_goes_on_from_where_it_was(jobs: Jobs, told: Told, proxy: Proxy) -> None:
    jobs.create("before")
    await until(lambda: told.jobs == ["before"])
    asked = remembering(proxy)
    proxy.sieve = lambda _: b"\n" if not asked else None  # the connection ends in the middle of this event
    jobs.create("during")
    await until(lambda: "during" in told.jobs)
    jobs.create("after")
    await until(lambda: "after" in told.jobs)
    assert told.jobs == ["before", "during", "after"]
    assert all(asked)


async def test_where_its_version_is_too_old_it_begins_with_all_that_is_there(
    jobs: Jobs, told: Told, proxy: Proxy
) -> None:
    jobs.create("before")
    await until(lambda: told.jobs == ["before"])
    asked = remembering(proxy)
    proxy.sieve = lambda _: GONE if not asked else None
    jobs.create("during")
    await until(lambda: "during" in told.jobs)
    assert asked[0] == ""
    assert told.jobs.count("before") == 2


@pytest.mark.usefixtures("impatient")
async def test_a_connection_on_which_nothing_comes_any_more_is_given_up(jobs: Jobs, told: Told, proxy: Proxy) -> None:
    jobs.create("before")
    await until(lambda: told.jobs == ["before"])
    proxy.mute = True
    jobs.create("during")
    await until(lambda: "during" in told.jobs)


async def test_an_object_longer_than_a_buffer_and_one_that_breaks_the_intake(jobs: Jobs, told: Told) -> None:
    jobs.create("long", remark="x" * 200_000)
    jobs.create("broken")
    jobs.create("next")
    await until(lambda: told.jobs == ["long", "next"])


@pytest.mark.parametrize("fault", [Fault(status=503), Fault(status=403), Fault(status=410), Fault(cut=True)], ids=str)
async def test_an_api_server_that_turns_it_away_is_asked_less_and_less_often(
    jobs: Jobs, told: Told, proxy: Proxy, fault: Fault
) -> None:
    jobs.create("before")
    await until(lambda: told.jobs == ["before"])
    count = 0

    def plan(asked: Asked) -> Fault | None:
        nonlocal count
        count += asked.watch
        return fault if asked.watch else None

    proxy.plan = plan
    proxy.sieve = lambda _: b"\n" if not count else None
    jobs.create("during")
    await until(lambda: count >= 4)
    await asyncio.sleep(1)
    assert count <= 12  # a hundred, were the pauses always the same
    proxy.plan = lambda _: None
    await until(lambda: "during" in told.jobs)


@pytest.mark.parametrize("words", ["<h1>Welcome</h1>", "[]", '{"type": "MODIFIED", "object": {}}'])
async def test_words_that_are_no_event_begin_it_again(jobs: Jobs, told: Told, proxy: Proxy, words: str) -> None:
    jobs.create("before")
    await until(lambda: told.jobs == ["before"])
    asked = remembering(proxy)
    proxy.sieve = lambda _: words.encode() + b"\n" if not asked else None
    jobs.create("during")
    await until(lambda: "during" in told.jobs)
