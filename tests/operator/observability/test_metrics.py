"""Metrics, and that their labels are bounded by the deployment's settings."""

import asyncio
import re
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from aiohttp.test_utils import TestClient, TestServer

from stemyard_contract.event_types import EventType
from stemyard_contract.handover import WorkStage
from stemyard_contract.mirror import AttemptRecord
from stemyard_contract.separationjob import Phase
from stemyard_operator.clients.kubernetes_paths import (
    jobs_path,
    leases_path,
    pods_path,
    rbac_verb_and_resource,
    separations_path,
)
from stemyard_operator.config.profiles import Gpu, Profile, StageProfile, Worker
from stemyard_operator.decision.actions import FindMark
from stemyard_operator.decision.status_change import Span, StatusChange, status_change_of
from stemyard_operator.health import Health
from stemyard_operator.informer.cluster_cache import ClusterCache
from stemyard_operator.mirror.writer import MirrorWriter
from stemyard_operator.namespaces import Namespaces
from stemyard_operator.observability.metrics import Metrics
from stemyard_operator.observability.readings import Reading
from stemyard_operator.workqueue import WorkQueue
from tests.operator.decision.test_webhook_outbox import ONE, OWN, finished
from tests.operator.world import NAMESPACE, SPEC, START, World, settings

FETCH, SEPARATE = WorkStage
READING = Reading(
    leader=True,
    phases={Phase.QUEUED: 3},
    due=1,
    later=2,
    retries=4,
    watch_age=5,
    resync_age=6,
    namespaces={"music": True, "lost": False},
    mirror_lag=7,
    mirror_waiting=8,
    dependencies={"store": False, "redis": True},
    webhooks_pending=9,
    webhook_consumers={"closed": 2, "open": 1},
)


class Told:
    """Configurable readings."""

    def __init__(self, reading: Reading) -> None:
        self.reading = reading

    def now(self) -> Reading:
        return self.reading


def metrics_of(reading: Reading = READING) -> Metrics:
    metrics = Metrics()
    metrics.expose(Told(reading))  # type: ignore[arg-type]
    return metrics


def value(metrics: Metrics, name: str, **labels: str) -> float | None:
    return metrics.registry.get_sample_value(name, labels)


def accounts(world: World) -> list[StatusChange]:
    """Return a list that records the status changes of a world."""
    found: list[StatusChange] = []
    write = world._write

    def watched(decision: Any) -> None:
        if decision.status is not None:
            mark = world.find(FindMark(SEPARATE))
            observed = world.observed(manifest=mark)
            found.append(status_change_of(observed, decision.status, world.now, world.config))
        write(decision)

    world._write = watched  # type: ignore[method-assign]
    return found


def through_fetch(world: World, seconds: float = 12) -> None:
    world.settle()
    world.run(world.job(FETCH))
    world.settle()
    world.wait(seconds)
    world.succeed(world.job(FETCH))
    world.settle()


def through_separate(world: World, seconds: float = 30) -> None:
    world.run(world.job(SEPARATE))
    world.settle()
    world.wait(seconds)
    world.succeed(world.job(SEPARATE))
    world.settle()


def stopped_while_separating(world: World, seconds: float, **wish: bool) -> None:
    world.run(world.job(SEPARATE))
    world.settle()
    world.wait(seconds)
    world.spec = {**SPEC, **wish}
    world.settle()
    world.vanish(world.job(SEPARATE))
    world.settle()


def gpu_world(**changes: Any) -> World:
    config = settings(**changes)
    config.__dict__["profiles"] = {"default": Profile(separate=StageProfile(gpu=Gpu(count=2)))}
    return World(config=config)


def test_a_separation_is_counted_once() -> None:
    world = gpu_world()
    found = accounts(world)
    through_fetch(world)
    world.wait(7)
    through_separate(world)
    assert world.phase() is Phase.COMPLETED
    assert [one.ended for one in found if one.ended] == [Phase.COMPLETED]
    assert [one.queue_wait.seconds for one in found if one.queue_wait is not None] == [7]
    assert [(stage.name, stage.seconds) for one in found for stage in one.stages] == [(FETCH, 12), (SEPARATE, 30)]
    assert [(one.whole.name, one.whole.seconds) for one in found if one.whole] == [("separation", 49)]
    assert sum(one.gpu_seconds for one in found) == 60
    assert all(one.failure is None and one.retry is None for one in found)


def test_failed_attempts_count_gpu_seconds() -> None:
    world = gpu_world()
    found = accounts(world)
    through_fetch(world)
    world.run(world.job(SEPARATE))
    world.settle()
    world.wait(10)
    world.end(world.job(SEPARATE), "Failed", exit_code=137, reason="OOMKilled")
    world.settle()
    assert [one.retry for one in found if one.retry] == [("separate", "OOMKilled")]
    [attempt] = [one.attempt for one in found if one.attempt]
    assert (attempt.name, attempt.seconds, attempt.error) == ("separate", 10, "OOMKilled")
    assert sum(one.gpu_seconds for one in found) == 20


def test_a_cancelled_run_counts_gpu_seconds_until_it_stops() -> None:
    world = gpu_world()
    found = accounts(world)
    through_fetch(world)
    stopped_while_separating(world, 10, cancel=True)
    assert [one.ended for one in found if one.ended] == [Phase.CANCELLED]
    assert sum(one.gpu_seconds for one in found) == 20


def test_a_cancelled_run_is_no_failure() -> None:
    world = World()
    found = accounts(world)
    world.settle()
    world.spec = {**SPEC, "cancel": True}
    world.settle()
    world.vanish(world.job(FETCH))
    world.settle()
    assert [one.ended for one in found if one.ended] == [Phase.CANCELLED]
    assert [one.failure for one in found if one.failure] == []


def test_failures_are_counted_by_stage_and_code() -> None:
    world = World(spec={**SPEC, "retryPolicy": {"limit": 0}})
    found = accounts(world)
    world.settle()
    world.end(world.job(FETCH), "Failed", exit_code=1)
    world.settle()
    assert [one.failure for one in found if one.failure] == [("fetch", "POD_FAILED")]


def test_labels_have_no_values_that_users_choose() -> None:
    world = World(spec={**SPEC, "model": "made-up", "profile": "made-up"})
    found = accounts(world)
    world.settle()
    assert {(one.profile, one.model) for one in found} == {("other", "other")}


def test_metric_names_and_values() -> None:
    metrics = metrics_of()
    one = StatusChange(
        World().separation,
        "default",
        "spleeter-2stems",
        queue_wait=Span("queue", START, START + timedelta(seconds=3)),
        stages=(Span(FETCH, START, START + timedelta(seconds=12)),),
        gpu_seconds=60,
        busy_gpu_seconds=12.1,
        ended=Phase.FAILED,
        failure=("fetch", "SOURCE_GONE"),  # type: ignore[arg-type]
        retry=("fetch", "SourceNetwork"),
    )
    metrics.status_written(one)
    metrics.status_written(replace(one, gpu_seconds=0.5, busy_gpu_seconds=0))
    metrics.worker_idle("default", 12, 2)
    metrics.status_written(StatusChange(World().separation, "default", "spleeter-2stems", reused=True))
    metrics.called("create", "jobs", 201)
    assert value(metrics, "stemyard_separations_ended_total", phase="Failed") == 2
    assert value(metrics, "stemyard_separations_ended_total", phase="Completed") == 0
    assert value(metrics, "stemyard_failures_total", stage="fetch", code="SOURCE_GONE") == 2
    assert value(metrics, "stemyard_retries_total", stage="fetch", reason="SourceNetwork") == 2
    assert value(metrics, "stemyard_queue_wait_seconds_sum", profile="default", watched_namespace=NAMESPACE) == 6
    assert value(metrics, "stemyard_stage_seconds_sum", stage="fetch", model="spleeter-2stems") == 24
    assert value(metrics, "stemyard_gpu_seconds_total", profile="default") == 60.5
    assert value(metrics, "stemyard_gpu_busy_seconds_total", profile="default") == 12.1
    assert value(metrics, "stemyard_worker_idle_seconds_total", profile="default") == 12
    assert value(metrics, "stemyard_gpu_idle_seconds_total", profile="default") == 24
    held_over_busy = value(metrics, "stemyard_gpu_held_over_busy", profile="default")
    assert held_over_busy == pytest.approx((60 + 0.5 + 12 * 2) / 12.1)
    assert value(metrics, "stemyard_cache_hits_total", level="recording") == 1
    assert value(metrics, "stemyard_kubernetes_requests_total", verb="create", resource="jobs", code="201") == 1


def test_what_may_happen_is_exported_before_it_does() -> None:
    """Otherwise Prometheus sees a new series at 1, which is no increase: the first one of each kind is lost."""
    metrics = metrics_of()
    separate = {"gpu": StageProfile(gpu=Gpu(count=2), worker=Worker()), "cpu": StageProfile()}
    metrics.know({name: Profile(separate=stage) for name, stage in separate.items()})
    for stage, code in (("fetch", "EXTRACTOR_BROKEN"), ("separate", "OUT_OF_MEMORY"), ("fetch", "STORE_UNREACHABLE")):
        assert value(metrics, "stemyard_failures_total", stage=stage, code=code) == 0
    for stage, reason in (("fetch", "SourceNetwork"), ("separate", "OOMKilled"), ("separate", "Retrying")):
        assert value(metrics, "stemyard_retries_total", stage=stage, reason=reason) == 0
    assert value(metrics, "stemyard_cache_hits_total", level="recording") == 0
    assert value(metrics, "stemyard_webhook_deliveries_total", outcome="given_up") == 0
    for name in ("gpu_seconds", "gpu_busy_seconds", "gpu_idle_seconds", "worker_idle_seconds"):
        assert value(metrics, f"stemyard_{name}_total", profile="gpu") == 0
        assert value(metrics, f"stemyard_{name}_total", profile="cpu") is None


def test_no_failure_of_a_request_or_of_another_stage_is_exported() -> None:
    metrics = metrics_of()
    for stage, code in (("request", "FORBIDDEN"), ("separate", "EXTRACTOR_BROKEN"), ("fetch", "CANCELLED")):
        assert value(metrics, "stemyard_failures_total", stage=stage, code=code) is None
    assert value(metrics, "stemyard_retries_total", stage="fetch", reason="SourceNotFound") is None


async def test_reconciles_are_timed_even_if_they_fail() -> None:
    metrics = metrics_of()

    async def turn(key: str) -> float | None:
        if key == "bad":
            raise ValueError(key)
        return 3.0

    assert await metrics.timed(turn)("good") == 3.0
    with pytest.raises(ValueError, match="bad"):
        await metrics.timed(turn)("bad")
    assert value(metrics, "stemyard_reconcile_seconds_count") == 2


async def test_metrics_are_served_with_the_probes() -> None:
    metrics = metrics_of()
    async with TestClient(TestServer(metrics.serve(Health(120, Namespaces(["music"])).application()))) as client:
        answer = await client.get("/metrics")
        assert answer.status == 200
        assert answer.content_type == "text/plain"
        text = await answer.text()
    assert 'stemyard_separations{phase="Queued"} 3.0' in text
    assert "stemyard_reconcile_retries_total 4.0" in text
    assert "process_resident_memory_bytes" in text
    assert not re.search(r"_created\b", text)


def test_a_standby_reports_no_separations() -> None:
    metrics = metrics_of(replace(READING, leader=False, phases={}, resync_age=None))
    assert value(metrics, "stemyard_separations", phase="Queued") is None
    assert value(metrics, "stemyard_resync_age_seconds") is None
    assert value(metrics, "stemyard_leader") == 0


def test_each_dependency_is_up_or_not() -> None:
    metrics = metrics_of()
    for dependency, up in (("store", 0), ("redis", 1)):
        assert value(metrics, "stemyard_dependency_up", dependency=dependency) == up


def test_each_watched_namespace_is_readable_or_not() -> None:
    metrics = metrics_of()
    for namespace, readable in (("music", 1), ("lost", 0)):
        assert value(metrics, "stemyard_namespace_readable", watched_namespace=namespace) == readable


@pytest.mark.parametrize(
    ("method", "path", "right"),
    [
        ("GET", separations_path(NAMESPACE), ("list", "separationjobs")),
        ("GET", separations_path(NAMESPACE, "song"), ("get", "separationjobs")),
        ("PATCH", separations_path(NAMESPACE, "song", "status"), ("patch", "separationjobs/status")),
        ("POST", jobs_path(NAMESPACE), ("create", "jobs")),
        ("DELETE", jobs_path(NAMESPACE, "song-f1-1"), ("delete", "jobs")),
        ("GET", pods_path(NAMESPACE), ("list", "pods")),
        ("PUT", leases_path(NAMESPACE, "operator"), ("update", "leases")),
        ("POST", "/apis/authentication.k8s.io/v1/tokenreviews", ("create", "tokenreviews")),
        ("POST", "/api/v1/namespaces/music/events", ("create", "events")),
    ],
)
def test_calls_are_labelled_by_verb_and_resource(method: str, path: str, right: tuple[str, str]) -> None:
    assert rbac_verb_and_resource(method, path) == right


class Deaf:
    """A mirror whose writes block until released."""

    enabled = True

    def __init__(self) -> None:
        self.hears = asyncio.Event()

    async def write(self, changes: list[object]) -> list[bool]:
        await self.hears.wait()
        return [True for _ in changes]


async def test_mirror_lag_is_measured_until_the_write_succeeds() -> None:
    mirror, cluster_cache, world = Deaf(), ClusterCache(NAMESPACE), World()
    mirror_writer = MirrorWriter(mirror, cluster_cache, lambda: True, NAMESPACE, Namespaces([]))  # type: ignore[arg-type]
    resource = world.resource
    cluster_cache.apply(resource)
    assert (mirror_writer.behind, mirror_writer.lag) == (0, 0)
    mirror_writer.changed(resource["metadata"]["uid"])
    running = asyncio.create_task(mirror_writer.run())
    await asyncio.sleep(0.01)
    assert mirror_writer.behind == 1
    assert mirror_writer.lag >= 0.01
    mirror.hears.set()
    await asyncio.sleep(0.01)
    assert (mirror_writer.behind, mirror_writer.lag) == (0, 0)
    running.cancel()


async def test_queue_gauges_count_due_and_delayed_keys() -> None:
    queue = WorkQueue[str]()
    queue.add("now")
    queue.add("later", 60)
    assert (queue.due, len(queue), queue.retries) == (1, 2, 0)
    queue.retry(await queue.get())
    assert queue.retries == 1


def test_attempts_and_deliveries_of_webhooks_are_counted() -> None:
    metrics = metrics_of()
    attempt = AttemptRecord(id="i", url="https://example.com", event=EventType.COMPLETED, at=1.0, seconds=0.2)
    for status, error in ((204, None), (503, None), (0, "Timeout"), (302, "Redirected")):
        metrics.attempted(attempt.model_copy(update={"status": status, "error": error}))
    for result in ("2xx", "3xx", "5xx", "Timeout"):
        assert value(metrics, "stemyard_webhook_attempts_total", event="separation.completed", result=result) == 1
    assert value(metrics, "stemyard_webhook_attempt_seconds_count") == 4
    world = finished({"webhooks": [{"url": ONE}]})
    found = accounts(world)
    world.settle()
    world.answer(OWN)
    world.answer(ONE, 410)
    world.settle()
    for one in found:
        metrics.status_written(one)
    for outcome in ("delivered", "given_up"):
        assert value(metrics, "stemyard_webhook_deliveries_total", outcome=outcome) == 1
    assert value(metrics, "stemyard_webhooks_pending") == 9
    assert value(metrics, "stemyard_webhook_consumers", breaker="open") == 1


def test_the_last_sweep_shows_until_the_next() -> None:
    metrics = metrics_of()
    metrics.swept(orphans=3, removed=2, stopped=False, unwatched=4, refused=1)
    found = {
        name: value(metrics, f"stemyard_sweep_{name}")
        for name in ("orphans", "removed_total", "stopped", "failing", "unwatched")
    }
    assert found == {"orphans": 3, "removed_total": 2, "stopped": 0, "failing": 1, "unwatched": 4}
    metrics.swept(orphans=9, removed=0, stopped=True, unwatched=0, refused=0)
    assert (value(metrics, "stemyard_sweep_stopped"), value(metrics, "stemyard_sweep_failing")) == (1, 0)
    metrics.sweep_failed()
    assert (value(metrics, "stemyard_sweep_stopped"), value(metrics, "stemyard_sweep_failing")) == (1, 1)
    assert value(metrics, "stemyard_sweep_removed_total") == 2
