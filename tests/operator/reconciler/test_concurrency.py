"""Places for Jobs: limits as a whole and by namespace, first come first served."""

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import hypothesis
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stemyard_contract.handover import WorkStage
from stemyard_contract.source import Source
from stemyard_operator.informer.cluster_cache import ClusterCache
from stemyard_operator.jobs.manifest import build_job
from stemyard_operator.model.separation import Separation
from stemyard_operator.reconciler.concurrency import ConcurrencyLimiter, host_of
from tests.operator.world import START, World, settings, stamp

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


def start(cluster_cache: ClusterCache, of: Separation, stage: WorkStage, *, ended: bool = False) -> None:
    cluster_cache.apply(resource_of(of))
    manifest: Any = build_job(of, FETCH, 1, settings()).manifest
    name = manifest["metadata"]["name"].replace("-f1-1", f"-{stage[0]}1-1")
    given = {"name": name, "uid": f"job-{name}", "resourceVersion": "9" if ended else "1"}
    end = {"conditions": [{"type": "Complete", "status": "True", "lastTransitionTime": "2026-11-22T12:00:00Z"}]}
    metadata = {**manifest["metadata"], **given, "creationTimestamp": stamp(the_time())}
    assert cluster_cache.apply_job({**manifest, "metadata": metadata, "status": end if ended else {}})


@pytest.fixture
def cluster_cache() -> ClusterCache:
    return ClusterCache()


def test_the_limit_counts_live_jobs_only(cluster_cache: ClusterCache) -> None:
    slots = ConcurrencyLimiter(cluster_cache, settings(max_active=1), the_time)
    first, second = separation(1), separation(2)
    assert SEPARATE in slots.room(first)
    start(cluster_cache, first, SEPARATE)
    assert slots.room(second) == {FETCH}
    start(cluster_cache, first, SEPARATE, ended=True)
    assert SEPARATE in slots.room(second)


def test_a_claim_takes_a_place_until_it_is_given_back(cluster_cache: ClusterCache) -> None:
    slots = ConcurrencyLimiter(cluster_cache, settings(max_active=1), the_time)
    first, second = separation(1), separation(2)
    assert slots.claim(first, SEPARATE)
    assert not slots.claim(second, SEPARATE)
    assert SEPARATE not in slots.room(second)
    slots.release(first.uid)
    assert slots.claim(second, SEPARATE)


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


def test_a_full_namespace_does_not_hold_up_others(cluster_cache: ClusterCache) -> None:
    slots = ConcurrencyLimiter(cluster_cache, settings(max_active=3, max_active_per_namespace=1), the_time)
    start(cluster_cache, separation(0), SEPARATE)
    full, free = separation(1), separation(2, "jazz")
    slots.wait(full, SEPARATE)
    slots.wait(free, SEPARATE)
    assert SEPARATE not in slots.room(full)
    assert SEPARATE in slots.room(free)
    assert slots.next_in_line(SEPARATE) == [("jazz", "song-2")]


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


@hypothesis.settings(deadline=None, max_examples=50)
@given(st.data())
def test_only_so_many_and_never_one_out_of_turn(data: st.DataObject) -> None:
    """Whoever is next in line has room, nobody else in line has, and limits hold."""
    limits = {"max_active": data.draw(st.integers(1, 4)), "max_active_per_namespace": data.draw(st.integers(0, 2))}
    slots = ConcurrencyLimiter(ClusterCache(), settings(**limits), the_time)
    waiting = []
    for number in range(data.draw(st.integers(1, 8))):
        one = separation(number, data.draw(st.sampled_from(["music", "jazz", "blues"])))
        spec = one.spec.model_copy(update={"priority": data.draw(st.integers(-1, 1))})
        waiting.append(replace(one, spec=spec))
        slots.wait(waiting[-1], SEPARATE)
    following = slots.next_in_line(SEPARATE)
    assert len(following) <= limits["max_active"]
    assert {(one.namespace, one.name) for one in waiting if SEPARATE in slots.room(one)} == set(following)
