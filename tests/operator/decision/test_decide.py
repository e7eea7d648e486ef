"""Decisions on the way from a new SeparationJob to its end, fault by fault."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any
from unittest.mock import patch

import pytest

from stemyard_contract.failures import FAILURES, Failure, FailureCode
from stemyard_contract.handover import Outcome, WorkStage
from stemyard_contract.separationjob import Phase
from stemyard_operator.decision.actions import Decision, FindMark
from stemyard_operator.decision.decide import decide
from stemyard_operator.jobs.manifest import JOB_TTL_SECONDS
from stemyard_operator.model.job import job_of
from tests.operator.world import SPEC, START, World, settings, stamp

FETCH, SEPARATE = WorkStage
UPLOAD = {"id": "0b1f2f3e-0000-4000-8000-000000000000", "owner": "default"}
SENT = f"install-1/uploads/default/{UPLOAD['id']}/source"


def fetched(world: World) -> World:
    """Bring a world to where fetch has ended well and the separate Job exists."""
    world.settle()
    world.run(world.job(FETCH))
    world.wait(3)
    world.succeed(world.job(FETCH))
    world.settle()
    return world


def separating(world: World) -> World:
    fetched(world)
    world.run(world.job(SEPARATE))
    world.settle()
    return world


def conditions(world: World) -> dict[str, tuple[str, str]]:
    return {one.type: (one.status, one.reason) for one in world.separation.status.conditions}


def failure(world: World) -> str | None:
    found = world.separation.status.failure
    return found.code if found else None


def test_the_whole_way_takes_three_writes() -> None:
    world = separating(World())
    world.wait(20)
    key = world.succeed(world.job(SEPARATE))
    world.settle()
    assert [write.phase for write in world.writes] == [Phase.FETCHING, Phase.SEPARATING, Phase.COMPLETED]
    status = world.separation.status
    assert len(world.created) == 2
    assert status.result is not None
    assert status.result.manifest_key == key
    assert {stem.key for stem in status.result.stems.values()} <= set(world.objects)
    assert (status.title, status.progress, status.reason, status.duration) == ("The Song", 100, None, "23s")
    assert status.started_at == START
    assert all(value == "True" for kind, (value, _) in conditions(world).items()), conditions(world)


def test_first_write_comes_with_the_fetch_job() -> None:
    world = World()
    decision = world.step()
    assert decision.create is not None
    assert decision.status is not None
    assert decision.status.phase is Phase.FETCHING
    assert decision.status.job == decision.create.name
    assert decision.status.attempts is not None
    assert decision.status.attempts.fetch == 1


def test_source_and_upload_go_when_the_run_completes() -> None:
    world = World(spec={"source": {"upload": UPLOAD}})
    world.objects[SENT] = b"song"
    separating(world)
    assert SENT in world.objects
    world.succeed(world.job(SEPARATE))
    world.settle()
    assert world.phase() is Phase.COMPLETED
    assert SENT not in world.objects
    assert not [key for key in world.objects if "/work/" in key]
    assert len([key for key in world.objects if "/stems/" in key]) == 3
    assert world.separation.status.source is not None
    assert world.separation.status.source.mark_key is None
    assert world.separation.status.source.artist == "The Band"


@pytest.mark.parametrize("code", [None, FailureCode.SOURCE_UNDECODABLE])
def test_an_upload_that_another_separation_needs_stays(code: FailureCode | None) -> None:
    world = World(spec={"source": {"upload": UPLOAD}}, upload_in_use=True)
    world.objects[SENT] = b"song"
    if code is None:
        separating(world)
        world.succeed(world.job(SEPARATE))
    else:
        world.settle()
        world.end(world.job(FETCH), "Failed", message=Outcome(stage=FETCH, code=code).dump())
    world.settle()
    assert world.phase() is (Phase.COMPLETED if code is None else Phase.FAILED)
    world.wait(25 * 3600)
    world.settle()
    assert SENT in world.objects
    assert not [key for key in world.objects if "/work/" in key]


def test_uploads_are_sources_in_the_namespace_of_the_api_only() -> None:
    """Elsewhere who knows an id could read an upload, and remove it with a SeparationJob that names it."""
    world = World(spec={"source": {"upload": UPLOAD}}, api_namespace="stemyard")
    world.objects[SENT] = b"song"
    world.settle()
    assert failure(world) == FailureCode.SOURCE_DISABLED
    assert conditions(world)["Accepted"] == ("False", "Invalid")
    assert "through the API" in (world.separation.status.failure.message if world.separation.status.failure else "")
    assert world.created == []
    world.wait(24 * 3600)
    world.settle()
    assert SENT in world.objects


def test_queued_is_written_only_when_the_wait_is_long() -> None:
    world = World()
    world.settle()
    world.run(world.job(FETCH))
    world.room.discard(SEPARATE)
    world.succeed(world.job(FETCH))
    world.settle()
    assert world.phase() is Phase.FETCHING
    assert world.requeue_after == pytest.approx(5)
    world.wait(5)
    world.settle()
    assert world.phase() is Phase.QUEUED
    assert world.separation.status.reason == "ConcurrencyLimit"
    assert world.decide().waiting_for is SEPARATE
    world.room.add(SEPARATE)
    world.settle()
    world.run(world.job(SEPARATE))
    world.settle()
    assert world.phase() is Phase.SEPARATING
    assert [write.phase for write in world.writes] == [Phase.FETCHING, Phase.QUEUED, Phase.SEPARATING]


def test_no_fetch_room_is_pending() -> None:
    world = World(room=set())
    world.settle()
    assert world.writes == []
    world.wait(6)
    world.settle()
    assert world.phase() is Phase.PENDING
    assert world.separation.status.reason == "ConcurrencyLimit"
    assert conditions(world)["Fetched"] == ("False", "ConcurrencyLimit")
    world.room = {FETCH}
    world.settle()
    assert world.phase() is Phase.FETCHING
    assert conditions(world)["Fetched"] == ("False", "Starting")


def test_a_retry_without_room_still_says_what_it_is_a_retry_of() -> None:
    world = World()
    world.settle()
    world.end(world.job(FETCH), "Failed", exit_code=1)
    world.settle()
    world.room = set()
    world.wait(100)
    world.settle()
    assert world.phase() is Phase.FETCHING
    assert world.separation.status.reason == "ConcurrencyLimit"
    assert conditions(world)["Fetched"] == ("False", "Retrying")


@pytest.mark.parametrize("stage", WorkStage)
def test_the_time_of_a_retry_is_not_kept_when_it_has_passed(stage: WorkStage) -> None:
    world = World()
    world.settle()
    if stage is SEPARATE:
        fetched(world)
    world.end(world.job(stage), "Failed", message=Outcome(stage=stage, code="STORE_UNREACHABLE").dump())
    world.settle()
    due = world.separation.status.retry_at
    assert due is not None
    world.room.clear()
    world.now = due - timedelta(seconds=1)
    world.settle()
    assert world.separation.status.retry_at == due
    world.wait(1)
    world.settle()
    status = world.separation.status
    assert (status.retry_at, status.reason) == (None, "ConcurrencyLimit")
    assert world.decide().waiting_for is stage
    world.wait(120)
    world.settle()
    assert len(world.live(stage)) == 0, "it waits, it is neither lost nor begun"
    world.room.add(stage)
    world.settle()
    assert world.live(stage) == [world.job(stage, 2)["metadata"]["name"]]
    world.run(world.job(stage, 2))
    world.settle()
    attempts = world.separation.status.attempts
    assert attempts is not None
    assert (attempts.failed, attempts.ended) == (1, None)


def test_a_suspended_retry_keeps_its_time_until_that_has_passed() -> None:
    world = World()
    world.settle()
    world.end(world.job(FETCH), "Failed", message=Outcome(stage=FETCH, code="SOURCE_NETWORK").dump())
    world.settle()
    due = world.separation.status.retry_at
    assert due is not None
    world.spec = {**world.spec, "suspend": True}
    world.settle()
    assert world.separation.status.retry_at == due
    assert world.requeue_after == pytest.approx((due - world.now).total_seconds())
    world.now = due
    world.settle()
    assert world.phase() is Phase.SUSPENDED
    assert "retryAt" not in world.status
    world.spec = {**world.spec, "suspend": False}
    world.settle()
    assert world.live(FETCH) == [world.job(FETCH, 2)["metadata"]["name"]]


def test_queue_deadline() -> None:
    world = World(spec={**SPEC, "deadlines": {"queue": 60}})
    world.settle()
    world.room.discard(SEPARATE)
    world.succeed(world.job(FETCH))
    world.wait(61)
    world.settle()
    assert failure(world) == FailureCode.QUEUE_DEADLINE


@pytest.mark.parametrize(
    ("spec", "config", "code", "words"),
    [
        ({"model": "demucs-9"}, {}, "MODEL_NOT_ENABLED", "spleeter-2stems"),
        ({"profile": "gigantic"}, {}, "INVALID_REQUEST", "default"),
        ({"source": {"searchQuery": "a song"}}, {"youtube_enabled": False}, "SOURCE_DISABLED", "upload"),
        ({"source": {"object": {"key": "incoming/a.mp3"}}}, {}, "SOURCE_DISABLED", "prefixes"),
        (
            {"source": {"object": {"key": "incoming/../install-1/owner.json"}}},
            {"object_source_prefixes": "incoming/"},
            "SOURCE_DISABLED",
            "prefixes",
        ),
    ],
)
def test_what_cannot_be_served_fails_at_once(
    spec: dict[str, Any], config: dict[str, Any], code: str, words: str
) -> None:
    world = World(spec={**SPEC, **spec}, config=settings(**config))
    world.settle()
    assert failure(world) == code
    assert words in (world.separation.status.failure.message if world.separation.status.failure else "")
    assert conditions(world)["Accepted"][0] == "False"
    assert world.created == []


def test_deadlines_are_no_longer_than_the_deployment_allows() -> None:
    """A place is held for no longer, whatever a spec says."""
    asked = {"fetch": 86400, "queue": 604800, "start": 86400, "separate": 60}
    most = {"max_deadline_fetch": 100, "max_deadline_queue": 300, "max_deadline_start": 50}
    world = World(spec={**SPEC, "deadlines": asked}, config=settings(**most))
    world.settle()
    [accepted] = [one for one in world.separation.status.conditions if one.type == "Accepted"]
    assert accepted.status == "True"
    for told in ("deadlines.fetch to 100 seconds", "deadlines.queue to 300 seconds", "deadlines.start to 50 seconds"):
        assert told in accepted.message
    assert "separate" not in accepted.message
    assert world.job(FETCH)["spec"]["template"]["spec"]["activeDeadlineSeconds"] == 100
    world.room.discard(SEPARATE)
    world.succeed(world.job(FETCH))
    world.wait(299)
    world.settle()
    assert world.phase() is Phase.QUEUED
    world.wait(2)
    world.settle()
    assert failure(world) == FailureCode.QUEUE_DEADLINE


def test_retries_are_bounded_and_spaced() -> None:
    world = World(spec={**SPEC, "retryPolicy": {"limit": 2}})
    waits = []
    for attempt in (1, 2, 3):
        world.settle()
        world.end(world.job(FETCH, attempt), "Failed", message=Outcome(stage=FETCH, code="SOURCE_NETWORK").dump())
        world.settle()
        due = world.separation.status.retry_at
        if due is not None:
            assert world.phase() is Phase.FETCHING
            assert world.separation.status.reason == "SourceNetwork"
            waits.append((due - world.now).total_seconds())
            world.now = due + timedelta(seconds=1)
    assert len(world.created) == 3
    assert failure(world) == FailureCode.SOURCE_NETWORK
    assert 5 <= waits[0] <= 10
    assert 10 <= waits[1] <= 20


@pytest.mark.parametrize("code", [FailureCode.SOURCE_RATE_LIMITED, FailureCode.SOURCE_BOT_CHECK])
def test_a_source_that_locked_us_out_is_left_alone_for_long(code: FailureCode) -> None:
    world = World()
    world.settle()
    world.end(world.job(FETCH), "Failed", message=Outcome(stage=FETCH, code=code).dump())
    world.settle()
    due = world.separation.status.retry_at
    assert due is not None
    assert 900 <= (due - world.now).total_seconds() <= 1800


@pytest.mark.parametrize("code", [FailureCode.SOURCE_FORBIDDEN, FailureCode.EXTRACTOR_BROKEN])
def test_what_rarely_helps_is_tried_again_once(code: FailureCode) -> None:
    world = World(spec={**SPEC, "retryPolicy": {"limit": 5}})
    for attempt in (1, 2):
        world.settle()
        world.end(world.job(FETCH, attempt), "Failed", message=Outcome(stage=FETCH, code=code).dump())
        world.settle()
        world.now = (world.separation.status.retry_at or world.now) + timedelta(seconds=1)
    assert failure(world) == code
    assert len(world.created) == 2


def test_what_cannot_help_is_not_tried_again() -> None:
    world = World()
    world.settle()
    world.end(world.job(FETCH), "Failed", message=Outcome(stage=FETCH, code="SOURCE_DRM", message="DRM!").dump())
    world.settle()
    assert failure(world) == FailureCode.SOURCE_DRM
    assert world.separation.status.failure is not None
    assert world.separation.status.failure.message == "DRM!"
    assert world.separation.status.failure.stage == "fetch"
    assert len(world.created) == 1


@pytest.mark.parametrize(
    ("ending", "code"),
    [
        ({"exit_code": 47}, "SourceNetwork"),
        ({"exit_code": 1}, "PodFailed"),
        ({"exit_code": 137, "pod_reason": "DeadlineExceeded"}, "FetchDeadline"),
        ({"exit_code": 137, "pod_reason": "Evicted"}, "Evicted"),
        ({"exit_code": 137, "reason": "OOMKilled"}, "OOMKilled"),
    ],
)
def test_why_a_job_failed(ending: dict[str, Any], code: str) -> None:
    world = World()
    world.settle()
    world.end(world.job(FETCH), "Failed", **ending)
    world.settle()
    assert world.separation.status.reason == code
    assert world.separation.status.retry_at is not None


@pytest.mark.parametrize("row", [row for row in FAILURES.values() if row.exit_code], ids=lambda row: row.code)
def test_the_failure_table_says_what_is_tried_again(row: Failure) -> None:
    world = World()
    world.settle()
    world.end(world.job(FETCH), "Failed", exit_code=row.exit_code)
    world.settle()
    assert (world.separation.status.retry_at is not None) is row.retryable
    assert failure(world) == (None if row.retryable else row.code)


def test_the_separate_deadline_is_the_pods_and_is_tried_again() -> None:
    world = separating(World(spec={**SPEC, "deadlines": {"separate": 90}}))
    template = world.job(SEPARATE)["spec"]["template"]["spec"]
    assert template["activeDeadlineSeconds"] == 90
    world.end(world.job(SEPARATE), "Failed", exit_code=137, pod_reason="DeadlineExceeded")
    world.settle()
    assert world.separation.status.reason == "SeparateDeadline"
    assert world.separation.status.retry_at is not None


def unready(world: World, **pod: Any) -> None:
    """The node controller says that nothing is heard of the node any more."""
    world.job(SEPARATE)["status"] = {"active": 1, "ready": 0}
    world.pod(world.job(SEPARATE), **pod)


def test_a_pod_whose_node_is_silent_is_given_up_after_its_deadline() -> None:
    world = separating(World(spec={**SPEC, "deadlines": {"separate": 90}}))
    unready(world)
    world.wait(200)
    world.settle()
    assert world.phase() is Phase.SEPARATING
    world.wait(20)
    world.settle()
    assert world.separation.status.reason == "SeparateDeadline"
    assert "deletionTimestamp" in world.job(SEPARATE)["metadata"]


def test_a_pod_evicted_from_a_dead_node_is_begun_anew_and_not_counted() -> None:
    world = separating(World(spec={**SPEC, "retryPolicy": {"limit": 0}}))
    world.wait(10)
    unready(world, conditions=[{"type": "DisruptionTarget", "status": "True"}])
    world.pod(world.job(SEPARATE))["metadata"]["deletionTimestamp"] = stamp(world.now)
    world.wait(30)
    world.settle()
    assert world.phase() is Phase.SEPARATING
    for _ in range(4):
        world.wait(35)
        world.settle()
    assert [name[-4:] for name in world.created] == ["f1-1", "s1-1", "s1-2"]
    attempts = world.separation.status.attempts
    assert attempts is not None
    assert (attempts.failed, attempts.disruptions) == (0, 1)


def test_a_preempted_separate_job_does_not_fetch_again() -> None:
    world = separating(World())
    world.disruptions = 1
    unready(world)
    world.wait(60)
    world.settle()
    world.run(world.job(SEPARATE))
    world.succeed(world.job(SEPARATE))
    world.settle()
    assert world.phase() is Phase.COMPLETED
    assert [name[-4:] for name in world.created] == ["f1-1", "s1-1"]


def memory(job: dict[str, Any]) -> int | None:
    typed = job_of(job)
    return typed.memory if typed else None


def test_out_of_memory_gets_more_up_to_the_limit() -> None:
    world = fetched(World(spec={**SPEC, "retryPolicy": {"limit": 5}}))
    sizes = []
    for attempt in range(1, 10):
        sizes.append(memory(world.job(SEPARATE, attempt)))
        world.run(world.job(SEPARATE, attempt))
        world.settle()
        world.end(world.job(SEPARATE, attempt), "Failed", exit_code=137, reason="OOMKilled")
        world.settle()
        if world.phase() is Phase.FAILED:
            break
        world.wait(400)
        world.settle()
    gib = 2**30
    assert sizes == [4 * gib, 6 * gib, 8 * gib]
    assert failure(world) == FailureCode.OUT_OF_MEMORY
    said = [one.message for write in world.writes for one in write.conditions if "memory" in one.message]
    assert any("It had 4096Mi; the next attempt gets 6144Mi." in message for message in said)
    assert "It had 8192Mi, the maximum of the profile default." in said[-1]


OUTGREW = 'Usage of EmptyDir volume "work" exceeds the limit "192Mi". '


def disk(job: dict[str, Any]) -> set[str]:
    """Every size that bounds a Job's disk."""
    spec = job["spec"]["template"]["spec"]
    resources = spec["containers"][0]["resources"]
    volume = next(volume for volume in spec["volumes"] if volume["name"] == "work")
    return {
        resources["requests"]["ephemeral-storage"],
        resources["limits"]["ephemeral-storage"],
        volume["emptyDir"]["sizeLimit"],
    }


def test_a_pod_that_outgrew_its_disk_gets_more_up_to_the_limit() -> None:
    world = fetched(World(spec={**SPEC, "retryPolicy": {"limit": 9}}))
    sizes = []
    for attempt in range(1, 10):
        sizes.append(disk(world.job(SEPARATE, attempt)))
        world.run(world.job(SEPARATE, attempt))
        world.settle()
        world.pod(world.job(SEPARATE, attempt), message=OUTGREW)
        world.end(world.job(SEPARATE, attempt), "Failed", exit_code=137, pod_reason="Evicted")
        world.settle()
        if world.phase() is Phase.FAILED:
            break
        assert conditions(world)["Admitted"] == ("False", "Retrying")
        world.wait(400)
        world.settle()
    assert sizes == [{"201Mi"}, {"302Mi"}, {"453Mi"}, {"680Mi"}, {"802Mi"}]
    assert failure(world) == FailureCode.EVICTED
    said = [one.message for write in world.writes for one in write.conditions if "It had" in one.message]
    assert f"{OUTGREW.strip()} It had 201Mi; the next attempt gets 302Mi." in said[0]
    assert said[-1].endswith(f"{OUTGREW.strip()} It had 802Mi, the maximum of the profile.")


def test_a_node_that_lacked_disk_is_no_reason_for_more() -> None:
    world = separating(World())
    world.pod(world.job(SEPARATE), message="The node was low on resource: ephemeral-storage.")
    world.end(world.job(SEPARATE), "Failed", exit_code=137, pod_reason="Evicted")
    world.settle()
    first = disk(world.job(SEPARATE))
    world.wait(400)
    world.settle()
    assert disk(world.job(SEPARATE, 2)) == first


def test_more_disk_is_for_the_stage_that_outgrew_it_only() -> None:
    world = World()
    world.settle()
    world.end(world.job(FETCH), "Failed", exit_code=137, pod_reason="Evicted")
    world.settle()
    world.wait(400)
    world.settle()
    assert max(disk(world.job(FETCH, 2))) > max(disk(world.job(FETCH)))
    world.succeed(world.job(FETCH, 2))
    world.settle()
    assert disk(world.job(SEPARATE)) == disk(fetched(World()).job(SEPARATE))


def test_more_memory_is_not_forgotten_while_waiting_for_room() -> None:
    world = fetched(World())
    world.run(world.job(SEPARATE))
    world.end(world.job(SEPARATE), "Failed", exit_code=137, reason="OOMKilled")
    world.room.discard(SEPARATE)
    world.settle()
    world.vanish(world.job(SEPARATE))
    world.wait(400)
    world.settle()
    assert world.separation.status.reason == "ConcurrencyLimit"
    world.room.add(SEPARATE)
    world.settle()
    assert memory(world.job(SEPARATE, 2)) == 6 * 2**30


def test_a_mark_spares_the_retry() -> None:
    world = World()
    world.settle()
    world.succeed(world.job(FETCH), outcome=False)
    world.job(FETCH)["status"]["conditions"][0]["type"] = "Failed"
    world.settle()
    assert world.created[-1].endswith("-s1-1")


def test_the_store_is_not_searched_before_the_first_fetch_of_a_new_one() -> None:
    world = World()
    decision = decide(world.observed(), world.now, world.config)
    assert (decision.queries, decision.create is not None) == ((), True)
    world.wait(JOB_TTL_SECONDS)
    assert decide(world.observed(), world.now, world.config).queries == (FindMark(FETCH),)


@pytest.mark.parametrize(("waited", "searched"), [(0, False), (JOB_TTL_SECONDS, True)])
def test_the_store_is_not_searched_before_the_first_separation_of_a_new_one(waited: float, searched: bool) -> None:
    world = World()
    world.settle()
    world.room.discard(SEPARATE)
    world.succeed(world.job(FETCH))
    world.settle()
    world.wait(waited)
    world.room.add(SEPARATE)
    with patch.object(world, "find", wraps=world.find) as find:
        world.step()
    assert world.created[-1].endswith("-s1-1")
    assert (SEPARATE in [call.args[0].stage for call in find.call_args_list]) is searched


def test_a_job_that_was_collected_before_it_was_seen_is_not_made_again() -> None:
    world = World()
    world.step(crash_after=3)
    job = world.job(FETCH)
    assert world.status == {}
    world.succeed(job)
    world.wait(JOB_TTL_SECONDS)
    world.vanish(job)
    world.settle()
    assert [name[-5:] for name in world.created] == ["-f1-1", "-s1-1"]


def test_a_separation_whose_job_was_collected_before_it_was_seen_is_not_made_again() -> None:
    world = World()
    world.settle()
    world.succeed(world.job(FETCH))
    world.step(crash_after=3)
    job = world.job(SEPARATE)
    world.succeed(job)
    world.wait(JOB_TTL_SECONDS)
    world.vanish(job)
    world.settle()
    assert world.separation.status.phase == "Completed"
    assert [name[-5:] for name in world.created] == ["-f1-1", "-s1-1"]


def test_a_lost_job_is_a_failed_attempt() -> None:
    world = World()
    world.settle()
    world.vanish(world.job(FETCH))
    world.settle()
    assert world.separation.status.reason == "JobLost"
    world.wait(11)
    world.settle()
    assert world.created[-1].endswith("-f1-2")


def test_a_lost_job_with_a_mark_is_a_success() -> None:
    world = separating(World())
    world.succeed(world.job(SEPARATE))
    world.vanish(world.job(SEPARATE))
    world.settle()
    assert world.phase() is Phase.COMPLETED


@pytest.mark.parametrize("spoil", ["size", "absent", "digest", "pod", "run"])
def test_a_manifest_that_does_not_hold_is_not_believed(spoil: str) -> None:
    world = separating(World())
    key = world.succeed(world.job(SEPARATE))
    stem = next(k for k in world.objects if k.endswith("vocals.mp3"))
    if spoil == "size":
        world.objects[stem] += b"x"
    elif spoil == "absent":
        del world.objects[stem]
    elif spoil == "digest":
        world.objects[key] += b" "
    else:
        text = world.objects.pop(key).decode()
        uid = world.pods[world.job(SEPARATE)["metadata"]["uid"]][0]["metadata"]["uid"]
        wrong = text.replace(uid, "another-pod") if spoil == "pod" else text.replace('"run":1', '"run":2')
        assert wrong != text
        world.objects[key] = wrong.encode()
    world.settle()
    assert world.phase() is Phase.QUEUED
    assert world.separation.status.reason == "ArtifactMismatch"


def test_a_change_after_the_end_is_seen_and_changes_nothing_else() -> None:
    """`kubectl wait` believes no condition that is older than the newest generation."""
    world = separating(World())
    world.succeed(world.job(SEPARATE))
    world.settle()
    before = world.separation.status
    world.generation = 2
    world.settle()
    after = world.separation.status
    assert after.phase is before.phase is Phase.COMPLETED
    assert after.finished_at == before.finished_at
    assert after.observed_generation == 2
    assert {condition.observed_generation for condition in after.conditions} == {2}
    writes = len(world.writes)
    world.settle()
    assert len(world.writes) == writes


def test_cancel_stops_the_jobs_first() -> None:
    world = separating(World())
    world.spec["cancel"] = True
    world.settle()
    assert world.phase() is Phase.SEPARATING
    assert "deletionTimestamp" in world.job(SEPARATE)["metadata"]
    world.vanish(world.job(SEPARATE))
    world.settle()
    assert world.phase() is Phase.CANCELLED
    assert failure(world) == FailureCode.CANCELLED
    writes = len(world.writes)
    world.wait(1000)
    world.settle()
    assert len(world.writes) == writes


def _pending(world: World) -> None:
    world.room = set()
    world.settle()
    world.wait(6)
    world.settle()


def _fetching(world: World) -> None:
    world.settle()
    world.run(world.job(FETCH))
    world.wait(31)
    world.settle()


def _queued(world: World) -> None:
    world.room = {FETCH}
    world.settle()
    world.succeed(world.job(FETCH))
    world.settle()
    world.wait(6)
    world.settle()


def _retrying(world: World) -> None:
    separating(world)
    world.end(world.job(SEPARATE), "Failed", exit_code=137, reason="OOMKilled")
    world.settle()


def _suspended(world: World) -> None:
    _fetching(world)
    world.spec["suspend"] = True
    world.settle()
    world.vanish(world.job(FETCH))
    world.settle()


@pytest.mark.parametrize(
    ("reach", "phase"),
    [
        (lambda world: None, None),
        (_pending, Phase.PENDING),
        (_fetching, Phase.FETCHING),
        (_queued, Phase.QUEUED),
        (separating, Phase.SEPARATING),
        (_retrying, Phase.QUEUED),
        (_suspended, Phase.SUSPENDED),
    ],
)
def test_cancel_ends_every_phase_and_nothing_is_begun_or_published(
    reach: Callable[[World], object], phase: Phase | None
) -> None:
    world = World()
    reach(world)
    assert world.phase() is phase
    world.spec["cancel"], world.room = True, set(WorkStage)
    before = list(world.created)
    world.settle()
    for name in [*world.live(FETCH), *world.live(SEPARATE)]:
        assert world.phase() is not Phase.CANCELLED
        assert "deletionTimestamp" in world.jobs[name]["metadata"]
        world.vanish(world.jobs[name])
    world.settle()
    world.wait(100_000)
    world.settle()
    assert world.phase() is Phase.CANCELLED
    assert world.created == before
    assert world.separation.status.result is None
    assert not [key for key in world.objects if "/stems/" in key]


def test_cancel_of_a_job_on_a_dead_node_ends_when_its_grace_is_over() -> None:
    world = separating(World())
    world.spec["cancel"] = True
    world.settle()
    pod = world.pods[world.job(SEPARATE)["metadata"]["uid"]][0]
    pod["metadata"]["deletionTimestamp"] = "2026-11-22T12:00:20Z"
    world.wait(10)
    world.settle()
    assert world.phase() is Phase.SEPARATING
    world.wait(60)
    world.settle()
    assert world.phase() is Phase.CANCELLED


def test_cancel_after_publication_is_too_late() -> None:
    world = separating(World())
    world.succeed(world.job(SEPARATE))
    world.spec["cancel"] = True
    world.settle()
    assert world.phase() is Phase.COMPLETED


def test_rerun_replaces_the_result_only_at_its_end() -> None:
    world = separating(World())
    first = world.succeed(world.job(SEPARATE))
    world.settle()
    world.spec["run"] = 2
    world.settle()
    assert world.phase() is Phase.FETCHING
    assert first in world.objects
    assert world.separation.status.result is not None
    world.succeed(world.job(FETCH))
    world.settle()
    second = world.succeed(world.job(SEPARATE))
    world.settle()
    assert world.phase() is Phase.COMPLETED
    assert first not in world.objects
    assert second in world.objects
    assert world.separation.status.result.manifest_key == second


def test_rerun_after_cancel_skips_fetch() -> None:
    world = separating(World())
    world.spec["cancel"] = True
    world.settle()
    world.vanish(world.job(SEPARATE))
    world.settle()
    world.spec.update(run=2, cancel=False)
    world.settle()
    assert world.created[-1].endswith("-s2-1")
    assert world.live(FETCH) == []
    world.run(world.job(SEPARATE))
    world.settle()
    world.succeed(world.job(SEPARATE))
    world.settle()
    assert world.phase() is Phase.COMPLETED
    assert world.separation.status.started_at is not None


def test_rerun_fetches_again_when_the_source_is_gone() -> None:
    world = separating(World())
    world.end(world.job(SEPARATE), "Failed", message=Outcome(stage=SEPARATE, code="MODEL_MISSING").dump())
    world.settle()
    assert failure(world) == FailureCode.MODEL_MISSING
    world.objects.clear()
    world.spec["run"] = 2
    world.settle()
    assert world.created[-1].endswith("-f2-1")


def test_rerun_stops_the_jobs_of_the_run_before() -> None:
    world = separating(World())
    world.spec["run"] = 2
    world.settle()
    assert len(world.created) == 2
    world.vanish(world.job(SEPARATE, run=1))
    world.settle()
    assert len(world.created) == 3


def test_ttl() -> None:
    world = separating(World(spec={**SPEC, "ttlSecondsAfterFinished": 100}))
    world.succeed(world.job(SEPARATE))
    world.settle()
    world.wait(99)
    world.settle()
    assert not world.deleted
    assert world.requeue_after == pytest.approx(1)
    world.wait(1)
    world.settle()
    assert world.deleted


def test_without_a_ttl_it_is_kept_whatever_its_end() -> None:
    """What is declared in git and deleted here would be made again, for ever."""
    done = separating(World())
    done.succeed(done.job(SEPARATE))
    failed = separating(World(config=settings(ttl_failed_seconds=100)))
    failed.end(failed.job(SEPARATE), "Failed", message=Outcome(stage=SEPARATE, code="MODEL_MISSING").dump())
    cancelled = World(spec={**SPEC, "cancel": True}, config=settings(ttl_cancelled_seconds=100))
    for world, phase in ((done, Phase.COMPLETED), (failed, Phase.FAILED), (cancelled, Phase.CANCELLED)):
        world.settle()
        assert world.phase() is phase
        for _ in range(3):
            world.wait(400 * 24 * 3600)
            world.settle()
        assert not world.deleted
        assert world.requeue_after is None


def test_what_an_older_manifest_says_does_not_undo_a_run() -> None:
    world = separating(World(spec={**SPEC, "run": 2}))
    world.succeed(world.job(SEPARATE, run=2))
    world.settle()
    world.spec = {**SPEC, "run": 1, "cancel": False}
    world.generation += 1
    world.settle()
    assert world.phase() is Phase.COMPLETED
    assert world.status["run"] == 2
    assert len(world.created) == 2
    world.spec = {**SPEC, "run": 3}
    world.settle()
    assert world.status["run"] == 3


def test_a_cancellation_that_is_taken_back_after_its_end_stays_one() -> None:
    world = World(spec={**SPEC, "cancel": True})
    world.settle()
    world.spec = {**SPEC, "cancel": False}
    world.generation += 1
    world.settle()
    assert world.phase() is Phase.CANCELLED
    assert world.created == []


def test_a_cancellation_that_is_taken_back_before_its_end_goes_on_with_another_attempt() -> None:
    world = separating(World())
    world.spec = {**SPEC, "cancel": True}
    world.step()
    world.vanish(world.job(SEPARATE))
    world.spec = {**SPEC, "cancel": False}
    for _ in range(5):
        world.settle()
        world.wait(30)
    world.run(world.job(SEPARATE, attempt=2))
    world.succeed(world.job(SEPARATE, attempt=2))
    world.settle()
    assert world.phase() is Phase.COMPLETED


def test_what_came_to_nothing_has_a_shorter_life() -> None:
    world = separating(World(spec={**SPEC, "ttlSecondsAfterFinished": 1000}, config=settings(ttl_failed_seconds=100)))
    world.end(world.job(SEPARATE), "Failed", message=Outcome(stage=SEPARATE, code="MODEL_MISSING").dump())
    world.settle()
    world.wait(99)
    world.settle()
    assert not world.deleted
    world.wait(1)
    world.settle()
    assert world.deleted


def test_leftovers_of_a_failed_run_go_after_a_day() -> None:
    world = separating(World())
    world.end(world.job(SEPARATE), "Failed", message=Outcome(stage=SEPARATE, code="MODEL_MISSING").dump())
    world.settle()
    assert [key for key in world.objects if "/work/" in key]
    assert world.requeue_after == pytest.approx(24 * 3600)
    world.wait(24 * 3600)
    world.step()
    assert not [key for key in world.objects if "/work/" in key]


def pending(world: World, stage: WorkStage, **status: Any) -> None:
    world.pod(world.job(stage), phase="Pending", **status)


UNSCHEDULABLE = [{"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "no GPU"}]
SCHEDULED = [{"type": "PodScheduled", "status": "True", "lastTransitionTime": "2026-11-22T12:00:00Z"}]


def test_a_pod_without_a_node_is_queued_with_the_schedulers_words() -> None:
    world = fetched(World())
    pending(world, SEPARATE, conditions=UNSCHEDULABLE)
    world.wait(6)
    world.settle()
    assert world.phase() is Phase.QUEUED
    admitted = next(one for one in world.separation.status.conditions if one.type == "Admitted")
    assert (admitted.reason, admitted.message) == ("Unschedulable", "no GPU")


def test_a_job_without_a_pod_says_where_to_look() -> None:
    world = fetched(World())
    world.wait(6)
    world.settle()
    admitted = next(one for one in world.separation.status.conditions if one.type == "Admitted")
    assert admitted.reason == "Waiting"
    assert "has no pod yet; its events say why" in admitted.message


def test_an_image_that_cannot_be_pulled_is_said_and_given_up() -> None:
    world = World(spec={**SPEC, "retryPolicy": {"limit": 0}, "deadlines": {"start": 60}})
    world.settle()
    waiting = [{"state": {"waiting": {"reason": "ImagePullBackOff", "message": "no such image"}}}]
    pending(world, FETCH, conditions=SCHEDULED, containerStatuses=waiting)
    world.wait(6)
    world.settle()
    assert conditions(world)["Fetched"] == ("False", "ImagePull")
    assert world.separation.status.reason == "ImagePull"
    world.wait(60)
    world.settle()
    assert failure(world) == FailureCode.START_DEADLINE
    assert "deletionTimestamp" in world.job(FETCH)["metadata"]
    assert world.separation.status.failure is not None
    assert "no such image" in world.separation.status.failure.message


def test_a_start_deadline_is_retried_once_the_job_is_gone() -> None:
    world = World(spec={**SPEC, "deadlines": {"start": 60}})
    world.settle()
    pending(world, FETCH, conditions=SCHEDULED)
    world.wait(61)
    world.settle()
    assert world.separation.status.reason == "StartDeadline"
    world.wait(12)
    world.settle()
    assert len(world.created) == 1
    world.vanish(world.job(FETCH))
    world.settle()
    assert world.created[-1].endswith("-f1-2")


@pytest.mark.parametrize("stage", [FETCH, SEPARATE])
def test_an_unreachable_desk_is_a_disruption(stage: WorkStage) -> None:
    world = World(spec={**SPEC, "retryPolicy": {"limit": 0}})
    world.settle()
    if stage is SEPARATE:
        world.succeed(world.job(FETCH))
        world.settle()
    unreachable = Outcome(stage=stage, code="DESK_UNREACHABLE", message="No answer.").dump()
    pauses = []
    for attempt in range(1, 21):
        world.end(world.job(stage, attempt), "Failed", exit_code=13, message=unreachable)
        world.settle()
        status = world.separation.status
        assert status.attempts is not None
        assert (status.attempts.failed, status.attempts.disruptions) == (0, attempt)
        if status.retry_at is not None:
            assert status.reason == "DeskUnreachable"
            pauses.append((status.retry_at - world.now).total_seconds())
            world.now = status.retry_at + timedelta(seconds=1)
            world.settle()
    assert pauses[0] < pauses[2] < pauses[4]
    assert failure(world) == FailureCode.DISRUPTED
    assert world.separation.status.failure is not None
    assert world.separation.status.failure.message.endswith("No answer.")


def test_disruptions_of_all_kinds_are_counted_together() -> None:
    world = separating(World())
    world.disruptions = 19
    world.end(world.job(SEPARATE), "Failed", exit_code=13)
    world.settle()
    assert failure(world) == FailureCode.DISRUPTED


def test_disruptions_do_not_count_but_are_bounded() -> None:
    world = separating(World())
    world.disruptions = 3
    world.settle()
    status = world.separation.status
    assert status.attempts is not None
    assert (status.attempts.separate, status.attempts.disruptions) == (1, 3)
    world.disruptions = 20
    world.settle()
    assert failure(world) == FailureCode.DISRUPTED
    assert "deletionTimestamp" in world.job(SEPARATE)["metadata"]


def test_progress_is_written_at_most_every_thirty_seconds() -> None:
    world = separating(World())
    writes = len(world.writes)
    for second in range(61):
        world.progress = 10 + second
        world.settle()
        world.wait(1)
    assert len(world.writes) - writes == 2
    assert world.separation.status.progress == 70


def test_a_job_of_another_owner_ends_the_run() -> None:
    world = World()
    name = world.decide().create
    assert name is not None
    world.foreign.add(name.name)
    world.settle()
    assert failure(world) == FailureCode.NAME_CONFLICT


def test_nothing_is_done_for_one_that_is_being_deleted() -> None:
    world = World()
    resource = world.resource
    assert job_of({**resource, "spec": {}, "metadata": {"name": "x", "namespace": "y"}}) is None


@pytest.mark.parametrize("crash", range(5))
def test_a_crash_within_any_step_changes_nothing(crash: int) -> None:
    """Stop after each effect of each decision, decide anew, and end in the same place with two Jobs."""
    for crashing in range(8):
        world = World()
        for number in range(12):
            world.step(crash_after=crash if number == crashing else None)
            for name in list(world.jobs):
                typed = job_of(world.jobs[name])
                if typed is not None and typed.live and number % 2:
                    world.succeed(world.jobs[name])
            world.wait(1)
        assert world.phase() is Phase.COMPLETED, (crash, crashing)
        assert len(world.created) == 2


def test_of_one_that_is_being_deleted_only_the_jobs_are_stopped() -> None:
    """Somebody's finalizer may keep it for long, and its Jobs keep places from others."""
    world = World()
    world.settle()
    assert conditions(world)["Accepted"] == ("True", "Valid")
    observed = world.observed()
    deleting = replace(observed, separation=replace(observed.separation, deleting=True))
    assert decide(deleting, world.now, world.config) == Decision(stop=observed.jobs)
    stopped = replace(deleting, jobs=tuple(replace(job, deleted_at=world.now) for job in observed.jobs))
    assert decide(stopped, world.now, world.config) == Decision()


def test_a_run_whose_separate_job_is_complete_without_a_mark_can_be_cancelled_while_it_waits_to_retry() -> None:
    world = separating(World())
    world.end(world.job(SEPARATE), "Complete", exit_code=0)
    world.settle()
    assert world.separation.status.retry_at is not None
    world.spec = {**world.spec, "cancel": True}
    world.settle()
    assert world.phase() is Phase.CANCELLED


def test_without_the_fetch_job_the_queue_begins_when_the_mark_is_found() -> None:
    world = World()
    world.settle()
    world.succeed(world.job(FETCH))
    world.vanish(world.job(FETCH))
    world.settle()
    world.wait(6)
    world.settle()
    assert world.separation.status.queued_at == world.now - timedelta(seconds=5)


def test_stems_of_other_audio_than_was_accepted_fail_the_run() -> None:
    world = separating(World())
    world.succeed(world.job(SEPARATE), recording="another")
    world.settle()
    assert failure(world) == FailureCode.ARTIFACT_MISMATCH
    assert world.separation.status.failure is not None
    assert world.separation.status.failure.stage == "publish"


def test_a_fetched_source_that_is_not_written_yet_is_written_before_the_run_completes() -> None:
    world = separating(World())
    world.succeed(world.job(SEPARATE))
    world.status = {**world.status, "conditions": [], "source": None}
    world.room.clear()
    decision = world.decide()
    assert decision.requeue_after == 0
    assert decision.status is not None
    assert decision.status.phase is Phase.SEPARATING
