"""What the metrics say, and that a label never has more values than the deployment has settings."""

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
from stemyard_operator.clients.kubernetes import (
    jobs_path,
    leases_path,
    pods_path,
    rbac_verb_and_resource,
    separations_path,
)
from stemyard_operator.config.profiles import Gpu, Profile, StageProfile
from stemyard_operator.decision.status_change import Span, StatusChange, status_change_of
from stemyard_operator.health import Health
from stemyard_operator.informer.cluster_cache import ClusterCache
from stemyard_operator.mirror.writer import MirrorWriter
from stemyard_operator.observability.metrics import Metrics, Reading
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
    mirror_lag=7,
    mirror_waiting=8,
    webhooks_pending=9,
    webhook_lanes={"closed": 2, "open": 1},
)


class Told:
    """Readings as a test wants them."""

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
    """Accounts of the writes of a world, from now on."""
    found: list[StatusChange] = []
    write = world._write

    def watched(decision: Any) -> None:
        if decision.status is not None:
            found.append(status_change_of(world.observed(), decision.status, world.now, world.config))
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


def test_a_separation_is_accounted_for_once() -> None:
    world = gpu_world()
    told = accounts(world)
    through_fetch(world)
    world.wait(7)
    through_separate(world)
    assert world.phase() is Phase.COMPLETED
    assert [one.ended for one in told if one.ended] == [Phase.COMPLETED]
    assert [one.queue_wait.seconds for one in told if one.queue_wait is not None] == [7]
    assert [(stage.name, stage.seconds) for one in told for stage in one.stages] == [(FETCH, 12), (SEPARATE, 30)]
    assert [(one.whole.name, one.whole.seconds) for one in told if one.whole] == [("separation", 49)]
    assert sum(one.gpu_seconds for one in told) == 60
    assert all(one.failure is None and one.retry is None for one in told)


def test_failed_attempts_hold_gpus_too() -> None:
    world = gpu_world()
    told = accounts(world)
    through_fetch(world)
    world.run(world.job(SEPARATE))
    world.settle()
    world.wait(10)
    world.end(world.job(SEPARATE), "Failed", exit_code=137, reason="OOMKilled")
    world.settle()
    assert [one.retry for one in told if one.retry] == [("separate", "OOMKilled")]
    [attempt] = [one.attempt for one in told if one.attempt]
    assert (attempt.name, attempt.seconds, attempt.error) == ("separate", 10, "OOMKilled")
    assert sum(one.gpu_seconds for one in told) == 20


def test_a_cancelled_run_held_its_gpus_until_it_was_stopped() -> None:
    world = gpu_world()
    told = accounts(world)
    through_fetch(world)
    stopped_while_separating(world, 10, cancel=True)
    assert [one.ended for one in told if one.ended] == [Phase.CANCELLED]
    assert sum(one.gpu_seconds for one in told) == 20


def test_a_failure_is_told_by_stage_and_code() -> None:
    world = World(spec={**SPEC, "retryPolicy": {"limit": 0}})
    told = accounts(world)
    world.settle()
    world.end(world.job(FETCH), "Failed", exit_code=1)
    world.settle()
    assert [one.failure for one in told if one.failure] == [("fetch", "POD_FAILED")]


def test_labels_have_no_values_that_users_choose() -> None:
    world = World(spec={**SPEC, "model": "made-up", "profile": "made-up"})
    told = accounts(world)
    world.settle()
    assert {(one.profile, one.model) for one in told} == {("other", "other")}


def test_what_is_counted() -> None:
    metrics = metrics_of()
    one = StatusChange(
        World().separation,
        "default",
        "spleeter-2stems",
        queue_wait=Span("queue", START, START + timedelta(seconds=3)),
        stages=(Span(FETCH, START, START + timedelta(seconds=12)),),
        gpu_seconds=60,
        ended=Phase.FAILED,
        failure=("fetch", "SOURCE_GONE"),  # type: ignore[arg-type]
        retry=("fetch", "SourceNetwork"),
    )
    metrics.wrote(one)
    metrics.wrote(replace(one, gpu_seconds=0.5))
    metrics.wrote(StatusChange(World().separation, "default", "spleeter-2stems", reused=True))
    metrics.called("create", "jobs", 201)
    assert value(metrics, "stemyard_separations_ended_total", phase="Failed") == 2
    assert value(metrics, "stemyard_separations_ended_total", phase="Completed") == 0
    assert value(metrics, "stemyard_failures_total", stage="fetch", code="SOURCE_GONE") == 2
    assert value(metrics, "stemyard_retries_total", stage="fetch", reason="SourceNetwork") == 2
    assert value(metrics, "stemyard_queue_wait_seconds_sum", profile="default") == 6
    assert value(metrics, "stemyard_stage_seconds_sum", stage="fetch", model="spleeter-2stems") == 24
    assert value(metrics, "stemyard_gpu_seconds_total", profile="default") == 60.5
    assert value(metrics, "stemyard_cache_hits_total", level="recording") == 1
    assert value(metrics, "stemyard_kubernetes_requests_total", verb="create", resource="jobs", code="201") == 1


async def test_turns_are_timed_whether_they_fail_or_not() -> None:
    metrics = metrics_of()

    async def turn(key: str) -> float | None:
        if key == "bad":
            raise ValueError(key)
        return 3.0

    assert await metrics.timed(turn)("good") == 3.0
    with pytest.raises(ValueError, match="bad"):
        await metrics.timed(turn)("bad")
    assert value(metrics, "stemyard_reconcile_seconds_count") == 2


async def test_they_are_served_beside_the_probes() -> None:
    metrics = metrics_of()
    async with TestClient(TestServer(metrics.serve(Health(120).application()))) as client:
        answer = await client.get("/metrics")
        assert answer.status == 200
        assert answer.content_type == "text/plain"
        text = await answer.text()
    assert 'stemyard_separations{phase="Queued"} 3.0' in text
    assert "stemyard_reconcile_retries_total 4.0" in text
    assert "process_resident_memory_bytes" in text
    assert not re.search(r"_created\b", text)


def test_a_standby_tells_of_no_separations() -> None:
    metrics = metrics_of(replace(READING, leader=False, phases={}, resync_age=None))
    assert value(metrics, "stemyard_separations", phase="Queued") is None
    assert value(metrics, "stemyard_resync_age_seconds") is None
    assert value(metrics, "stemyard_leader") == 0


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
def test_calls_are_named_as_a_role_names_them(method: str, path: str, right: tuple[str, str]) -> None:
    assert rbac_verb_and_resource(method, path) == right


class Deaf:
    """A mirror that hears nothing until it is let."""

    enabled = True

    def __init__(self) -> None:
        self.hears = asyncio.Event()

    async def put(self, record: object) -> bool:
        await self.hears.wait()
        return True


async def test_the_mirror_lags_until_it_has_heard() -> None:
    mirror, cluster_cache, world = Deaf(), ClusterCache(), World()
    mirror_writer = MirrorWriter(mirror, cluster_cache, lambda: True)  # type: ignore[arg-type]
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


async def test_the_queue_tells_what_is_due_and_what_was_put_off() -> None:
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
        metrics.wrote(one)
    for outcome in ("delivered", "given_up"):
        assert value(metrics, "stemyard_webhook_deliveries_total", outcome=outcome) == 1
    assert value(metrics, "stemyard_webhooks_pending") == 9
    assert value(metrics, "stemyard_webhook_consumers", breaker="open") == 1
