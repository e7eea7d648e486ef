"""Places for Jobs: limits as a whole and by namespace, first come first served."""

from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import hypothesis
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stemyard_contract.handover import WorkStage
from stemyard_contract.source import Source
from stemyard_operator.config.profiles import Profile, StageProfile, Worker
from stemyard_operator.informer.cluster_cache import ClusterCache
from stemyard_operator.jobs.manifest import build_job
from stemyard_operator.jobs.workers import worker_plan
from stemyard_operator.model.separation import Separation
from stemyard_operator.reconciler.concurrency import ConcurrencyLimiter, host_of
from tests.operator.world import NAMESPACE, START, World, settings, stamp

FETCH, SEPARATE = WorkStage


def the_time() -> datetime:
    """Return what the API server's clock says, which need not be what this machine's says."""
    return START


def separation(number: int, namespace: str = "music") -> Separation:
    created = START + timedelta(seconds=number)
    uid = f"{number:08x}-1111-4222-8333-944455556666"
    return replace(World().separation, name=f"song-{number}", uid=uid, namespace=namespace, created=created)


def resource_of(of: Separation) -> dict[str, Any]:
    metadata = {"name": of.name, "namespace": of.namespace, "uid": of.uid, "resourceVersion": "1"}
    metadata["creationTimestamp"] = stamp(of.created)
    return {"metadata": metadata, "spec": of.spec.dump()}


def start(
    cluster_cache: ClusterCache, of: Separation, stage: WorkStage, *, ended: bool = False, **metadata_fields: str
) -> None:
    cluster_cache.apply(resource_of(of))
    default = replace(of, spec=of.spec.model_copy(update={"profile": "default"}))
    manifest: Any = build_job(default, FETCH, 1, settings()).manifest
    name = manifest["metadata"]["name"].replace("-f1-1", f"-{stage[0]}1-1")
    given = {"name": name, "uid": f"job-{name}", "resourceVersion": "9" if ended else "1"}
    end = {"conditions": [{"type": "Complete", "status": "True", "lastTransitionTime": "2026-11-22T12:00:00Z"}]}
    metadata = {**manifest["metadata"], **given, **metadata_fields, "creationTimestamp": stamp(the_time())}
    assert cluster_cache.apply_job({**manifest, "metadata": metadata, "status": end if ended else {}})


@pytest.fixture
def cluster_cache() -> ClusterCache:
    return ClusterCache(NAMESPACE)


def test_the_limit_counts_live_jobs_only(cluster_cache: ClusterCache) -> None:
    slots = ConcurrencyLimiter(cluster_cache, settings(max_active=1), the_time)
    first, second = separation(1), separation(2)
    assert SEPARATE in slots.room(first)
    start(cluster_cache, first, SEPARATE)
    assert slots.room(second) == {FETCH}
    start(cluster_cache, first, SEPARATE, ended=True)
    assert SEPARATE in slots.room(second)


def test_a_worker_takes_one_place_of_its_profile_and_namespace(cluster_cache: ClusterCache) -> None:
    config = settings(max_active=3)
    shared = StageProfile(worker=Worker())
    config.__dict__["profiles"] = {"default": Profile(separate=shared, max_active=1), "other": Profile(separate=shared)}
    slots, first = ConcurrencyLimiter(cluster_cache, config, the_time), separation(1)
    plan = worker_plan(first, config)
    assert plan is not None
    manifest: Any = plan.creation(1).manifest
    metadata = {"uid": "worker", "resourceVersion": "1", "creationTimestamp": stamp(START)}
    assert cluster_cache.apply_job({**manifest, "metadata": {**manifest["metadata"], **metadata}})
    assert slots.room(first) == {FETCH}
    other = replace(first, spec=first.spec.model_copy(update={"profile": "other"}))
    assert SEPARATE in slots.room(other)


def test_a_claim_takes_a_place_until_it_is_given_back(cluster_cache: ClusterCache) -> None:
    slots = ConcurrencyLimiter(cluster_cache, settings(max_active=1), the_time)
    first, second = separation(1), separation(2)
    assert slots.claim(first, SEPARATE)
    assert not slots.claim(second, SEPARATE)
    assert SEPARATE not in slots.room(second)
    slots.release(first.uid)
    assert slots.claim(second, SEPARATE)


def test_a_profile_has_a_limit_of_its_own(cluster_cache: ClusterCache, tmp_path: Path) -> None:
    (tmp_path / "profiles.yaml").write_text("profiles: {default: {}, gpu: {maxActive: 1}}")
    config = settings(max_active=3, profiles_file=tmp_path / "profiles.yaml")
    slots = ConcurrencyLimiter(cluster_cache, config, the_time)
    start(cluster_cache, of_profile(separation(0), "gpu"), SEPARATE)
    gpu, cpu = of_profile(separation(1), "gpu"), of_profile(separation(2), "default")
    slots.wait(gpu, SEPARATE)
    slots.wait(cpu, SEPARATE)
    assert SEPARATE not in slots.room(gpu)
    assert SEPARATE in slots.room(cpu)
    assert FETCH in slots.room(gpu)
    assert slots.next_in_line(SEPARATE) == [("music", "song-2")]
    assert slots.claim(cpu, SEPARATE)
    start(cluster_cache, of_profile(separation(0), "gpu"), SEPARATE, ended=True)
    assert slots.claim(gpu, SEPARATE)
    assert SEPARATE not in slots.room(of_profile(separation(3), "gpu"))
    assert SEPARATE in slots.room(of_profile(separation(4), "default"))


def of_profile(of: Separation, profile: str) -> Separation:
    return replace(of, spec=of.spec.model_copy(update={"profile": profile}))


def test_a_job_that_is_deleted_holds_no_place_beyond_its_pods_grace(cluster_cache: ClusterCache) -> None:
    """The pod of a dead node keeps its Job until the node is removed, which may never happen."""
    now = START
    slots = ConcurrencyLimiter(cluster_cache, settings(max_active=1), lambda: now)
    start(cluster_cache, separation(0), SEPARATE, deletionTimestamp=stamp(START))
    now = START + timedelta(seconds=40)
    assert SEPARATE not in slots.room(separation(1))
    now = START + timedelta(seconds=41)
    assert SEPARATE in slots.room(separation(1))
    assert SEPARATE in slots.room(separation(0))


def test_the_oldest_goes_first(cluster_cache: ClusterCache) -> None:
    slots = ConcurrencyLimiter(cluster_cache, settings(max_active=1), the_time)
    old, young = separation(1), separation(2)
    slots.wait(young, SEPARATE)
    slots.wait(old, SEPARATE)
    slots.wait(old, SEPARATE)
    assert SEPARATE in slots.room(old)
    assert SEPARATE not in slots.room(young)
    assert slots.next_in_line(SEPARATE) == [("music", "song-1")]
    slots.leave(old.uid)
    slots.leave(old.uid)
    assert SEPARATE in slots.room(young)


def test_a_higher_priority_goes_before_age(cluster_cache: ClusterCache) -> None:
    slots = ConcurrencyLimiter(cluster_cache, settings(max_active=1), the_time)
    old, young = separation(1), separation(2)
    slots.wait(old, SEPARATE)
    slots.wait(young, SEPARATE)
    assert slots.next_in_line(SEPARATE) == [("music", "song-1")]
    raised = replace(young, spec=young.spec.model_copy(update={"priority": 10}))
    slots.wait(raised, SEPARATE)
    assert slots.next_in_line(SEPARATE) == [("music", "song-2")]
    assert SEPARATE in slots.room(raised)
    assert SEPARATE not in slots.room(old)


@pytest.mark.parametrize(
    ("stage", "limits"),
    [
        (SEPARATE, {"max_active": 3, "max_active_per_namespace": 1}),
        (FETCH, {"max_active_fetch": 3, "max_active_fetch_per_namespace": 1}),
    ],
)
def test_a_full_namespace_does_not_hold_up_others(
    cluster_cache: ClusterCache, stage: WorkStage, limits: dict[str, int]
) -> None:
    slots = ConcurrencyLimiter(cluster_cache, settings(**limits), the_time)
    start(cluster_cache, separation(0), stage)
    full, free = separation(1), separation(2, "jazz")
    slots.wait(full, stage)
    slots.wait(free, stage)
    assert stage not in slots.room(full)
    assert stage in slots.room(free)
    assert slots.next_in_line(stage) == [("jazz", "song-2")]


def test_stages_have_places_of_their_own(cluster_cache: ClusterCache) -> None:
    slots = ConcurrencyLimiter(cluster_cache, settings(max_active=1, max_active_fetch=1), the_time)
    start(cluster_cache, separation(0), FETCH)
    assert slots.room(separation(1)) == {SEPARATE}


def test_the_namespace_with_the_fewest_goes_first_whatever_the_priorities(cluster_cache: ClusterCache) -> None:
    slots = ConcurrencyLimiter(cluster_cache, settings(max_active=4), the_time)
    start(cluster_cache, separation(0), SEPARATE)
    for number in range(1, 5):
        slots.wait(urgent(separation(number)), SEPARATE)
    for number in range(5, 7):
        slots.wait(separation(number, "jazz"), SEPARATE)
    assert slots.next_in_line(SEPARATE) == [("jazz", "song-5"), ("music", "song-1"), ("jazz", "song-6")]
    assert SEPARATE not in slots.room(separation(7, "jazz"))
    assert SEPARATE in slots.room(separation(8, "blues"))


def urgent(of: Separation) -> Separation:
    return replace(of, spec=of.spec.model_copy(update={"priority": 100}))


def sourced(number: int, namespace: str = "music", **source: Any) -> Separation:
    one = separation(number, namespace)
    return replace(one, spec=one.spec.model_copy(update={"source": Source.model_validate(source)}))


@pytest.mark.parametrize(
    ("source", "host"),
    [
        ({"searchQuery": "a song"}, "youtube.com"),
        ({"url": "https://youtu.be/dQw4w9WgXcQ"}, "youtube.com"),
        ({"url": "https://Files.example.com:8443/a.mp3"}, "files.example.com"),
        ({"upload": {"id": "0b1f2f3e-0000-4000-8000-000000000000", "owner": "default"}}, ""),
        ({"object": {"key": "in/a.mp3"}}, ""),
        ({"url": "http://[1.2.3.4]/a.mp3"}, ""),
        ({"url": "http://[::::]/a.mp3"}, ""),
        ({"url": "http://ex\u2100mple.com/"}, ""),
    ],
)
def test_hosts(source: dict[str, Any], host: str) -> None:
    assert host_of(Source.model_validate(source)) == host


def test_a_busy_host_holds_up_its_own_only(cluster_cache: ClusterCache) -> None:
    slots = ConcurrencyLimiter(cluster_cache, settings(max_active_fetch=4, max_active_fetch_per_host=1), the_time)
    start(cluster_cache, sourced(0, searchQuery="a song"), FETCH)
    busy, free = sourced(1, url="https://youtu.be/dQw4w9WgXcQ"), sourced(2, url="https://example.com/a.mp3")
    slots.wait(busy, FETCH)
    slots.wait(free, FETCH)
    assert slots.next_in_line(FETCH) == [("music", "song-2")]
    assert FETCH not in slots.room(busy)
    assert FETCH in slots.room(free)
    start(cluster_cache, sourced(0, searchQuery="a song"), FETCH, ended=True)
    assert FETCH in slots.room(busy)


def test_fetches_of_one_host_are_spaced(cluster_cache: ClusterCache) -> None:
    slots = ConcurrencyLimiter(cluster_cache, settings(max_active_fetch=9, fetch_spacing_seconds=100), the_time)
    first, second, other = (sourced(n, url=f"https://{h}.com/") for n, h in enumerate(("aa", "aa", "bb")))
    assert slots.spacing_delay(first) == 0
    assert slots.claim(first, FETCH)
    slots.release(first.uid)
    assert not slots.claim(second, FETCH)
    assert 99 < slots.spacing_delay(second) <= 100
    assert slots.claim(other, FETCH)
    slots.release(other.uid)
    third = sourced(3, url="https://cc.com/")
    fourth = sourced(4, url="https://cc.com/2")
    slots.wait(third, FETCH)
    slots.wait(fourth, FETCH)
    assert slots.next_in_line(FETCH) == [("music", "song-3")]


def test_spacing_outlives_a_leader(cluster_cache: ClusterCache) -> None:
    start(cluster_cache, sourced(0, url="https://example.com/a.mp3"), FETCH)
    slots = ConcurrencyLimiter(cluster_cache, settings(max_active_fetch=9, fetch_spacing_seconds=100), the_time)
    assert FETCH not in slots.room(sourced(1, url="https://example.com/b.mp3"))
    assert slots.spacing_delay(sourced(1, url="https://example.com/b.mp3")) > 90


def test_fetches_are_counted_at_every_change_of_a_job_even_if_none_waits(cluster_cache: ClusterCache) -> None:
    """A fetch that an earlier leader began, and that ends before anything waits, still pauses its host."""
    slots = ConcurrencyLimiter(cluster_cache, settings(max_active_fetch=9, fetch_spacing_seconds=100), the_time)
    fetch, later = sourced(0, url="https://example.com/a.mp3"), sourced(1, url="https://example.com/b.mp3")
    start(cluster_cache, fetch, FETCH)
    assert slots.next_in_line(FETCH) == []
    start(cluster_cache, fetch, FETCH, ended=True)
    assert FETCH not in slots.room(later)
    assert slots.spacing_delay(later) > 90


@hypothesis.settings(deadline=None, max_examples=50)
@given(st.data())
def test_only_so_many_and_never_one_out_of_turn(data: st.DataObject) -> None:
    """Those next in line have room, no other in line has, and limits hold."""
    limits = {"max_active": data.draw(st.integers(1, 4)), "max_active_per_namespace": data.draw(st.integers(0, 2))}
    slots = ConcurrencyLimiter(ClusterCache(NAMESPACE), settings(**limits), the_time)
    waiting = []
    for number in range(data.draw(st.integers(1, 8))):
        one = separation(number, data.draw(st.sampled_from(["music", "jazz", "blues"])))
        spec = one.spec.model_copy(update={"priority": data.draw(st.integers(-1, 1))})
        waiting.append(replace(one, spec=spec))
        slots.wait(waiting[-1], SEPARATE)
    following = slots.next_in_line(SEPARATE)
    assert len(following) <= limits["max_active"]
    assert {(one.namespace, one.name) for one in waiting if SEPARATE in slots.room(one)} == set(following)
