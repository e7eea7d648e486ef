"""The cluster cache: newer versions replace older ones, and deleted resources do not reappear."""

import itertools
import math
from typing import Any

import pytest

from stemyard_contract.handover import WorkStage
from stemyard_operator.informer.cluster_cache import ClusterCache
from stemyard_operator.model.job import job_of
from tests.operator.world import NAMESPACE, SPEC, World


def resource(uid: str = "a", version: int = 1, created: str = "2026-11-22T12:00:00Z", name: str = "song") -> Any:
    metadata = {"namespace": "music", "name": name, "uid": uid, "resourceVersion": str(version)}
    return {"metadata": {**metadata, "creationTimestamp": created, "managedFields": [{"manager": "x"}]}, "spec": SPEC}


def test_jobs_of_a_namespace_that_cannot_be_read_take_no_place() -> None:
    world, readable = World(), True
    world.settle()
    cluster_cache = ClusterCache(NAMESPACE, lambda _: readable)
    cluster_cache.apply(world.resource)
    cluster_cache.apply_job(world.job(WorkStage.FETCH))
    assert len(list(cluster_cache.live(WorkStage.FETCH))) == 1
    readable = False
    assert list(cluster_cache.live(WorkStage.FETCH)) == []


def test_a_job_whose_owner_is_elsewhere_or_never_existed_is_nobodys() -> None:
    world = World()
    world.settle()
    cluster_cache, own = ClusterCache(NAMESPACE), world.job(WorkStage.FETCH)
    cluster_cache.apply_job({**own, "metadata": {**own["metadata"], "namespace": "other", "uid": "forged"}})
    assert list(cluster_cache.live(WorkStage.FETCH)) == []
    cluster_cache.apply(world.resource)
    assert list(cluster_cache.live(WorkStage.FETCH)) == []
    assert cluster_cache.jobs_of(world.separation.uid) == ()
    cluster_cache.apply_job(own)
    job = job_of(own)
    assert list(cluster_cache.live(WorkStage.FETCH)) == [job]
    assert cluster_cache.jobs_of(world.separation.uid) == (job,)
    cluster_cache.drop(world.separation.uid)
    assert list(cluster_cache.live(WorkStage.FETCH)) == [job], "its pods may still be ending"


def test_newer_versions_win_and_are_trimmed() -> None:
    cluster_cache = ClusterCache(NAMESPACE)
    assert cluster_cache.apply(resource(version=9))
    assert not cluster_cache.apply(resource(version=9))
    assert not cluster_cache.apply(resource(version=8))
    assert cluster_cache.apply(resource(version=10))
    known = cluster_cache.separation("a")
    assert known is not None
    assert known["metadata"]["resourceVersion"] == "10"
    assert "managedFields" not in known["metadata"]


def test_the_typed_form_is_parsed_once_per_version() -> None:
    cluster_cache = ClusterCache(NAMESPACE)
    cluster_cache.apply(resource(version=1))
    first = cluster_cache.typed("a")
    assert first is not None
    assert cluster_cache.typed("a") is cluster_cache.at(("music", "song")) is first
    cluster_cache.apply(resource(version=2))
    second = cluster_cache.typed("a")
    assert second is not None
    assert (first.resource_version, second.resource_version) == (1, 2)
    cluster_cache.drop("a")
    assert cluster_cache.typed("a") is None


def test_the_age_of_the_newest_version(monkeypatch: pytest.MonkeyPatch) -> None:
    cluster_cache, now = ClusterCache(NAMESPACE), 100.0
    monkeypatch.setattr("time.monotonic", lambda: now)
    cluster_cache.apply(resource(version=3))
    now += 2.5
    assert cluster_cache.seconds_since_received("a", 3) == 2.5
    cluster_cache.apply(resource(version=4))
    assert (
        cluster_cache.seconds_since_received("a", 4),
        cluster_cache.seconds_since_received("a", 3),
        cluster_cache.seconds_since_received("b", 4),
    ) == (
        0,
        math.inf,
        math.inf,
    )


def test_the_cache_of_typed_forms_is_bounded() -> None:
    cluster_cache = ClusterCache(NAMESPACE)
    uids = [str(number) for number in range(300)]
    for uid in uids:
        cluster_cache.apply(resource(uid, name=f"song-{uid}"))
    first = cluster_cache.typed(uids[0])
    for uid in uids:
        cluster_cache.typed(uid)
    assert cluster_cache.typed(uids[-1]) is cluster_cache.typed(uids[-1])
    assert cluster_cache.typed(uids[0]) is not first


def test_a_job_with_only_a_new_version_is_not_a_change() -> None:
    world, cluster_cache = World(), ClusterCache(NAMESPACE)
    world.settle()
    job = world.job(WorkStage.FETCH)
    versions = itertools.count(1)

    def applied(**status: Any) -> bool:
        metadata = {**job["metadata"], "resourceVersion": str(next(versions))}
        return cluster_cache.apply_job({**job, "metadata": metadata, "status": status}) is not None

    assert applied()
    assert not applied(active=1)
    assert applied(active=1, ready=1)
    [known] = cluster_cache.jobs_of(job["metadata"]["ownerReferences"][0]["uid"])
    assert (known.resource_version, known.ready) == (3, 1)
    assert not applied(active=1, ready=1, startTime="2026-11-22T12:00:00Z")
    [known] = cluster_cache.jobs_of(known.owner)
    assert known.resource_version == 4


def test_deleted_resources_do_not_reappear() -> None:
    cluster_cache = ClusterCache(NAMESPACE)
    cluster_cache.apply(resource())
    assert cluster_cache.drop("a") is not None
    assert not cluster_cache.apply(resource(version=2))
    assert cluster_cache.at(("music", "song")) is None
    assert cluster_cache.drop("a") is None


def test_a_job_that_only_the_watch_does_not_see_is_known_again_once_it_is_read() -> None:
    cluster_cache, world = ClusterCache(NAMESPACE), World()
    world.settle()
    job = world.job(WorkStage.FETCH)
    uid = job["metadata"]["uid"]
    assert cluster_cache.apply_job(job)
    assert cluster_cache.job_uids("music") == {uid}
    cluster_cache.drop_job(uid)
    del job["metadata"]["labels"]["app.kubernetes.io/managed-by"]
    assert cluster_cache.apply_job(job) is None
    cluster_cache.revive(uid)
    found = cluster_cache.apply_job(job)
    assert found is not None
    assert not found.watched
    assert cluster_cache.job_uids("music") == set()


def test_a_name_means_the_newest_resource() -> None:
    cluster_cache = ClusterCache(NAMESPACE)
    cluster_cache.apply(resource("b", 20, "2026-11-22T12:00:05Z"))
    cluster_cache.apply(resource("a", 5))
    known = cluster_cache.at(("music", "song"))
    assert known is not None
    assert known.uid == "b"
    cluster_cache.drop("a")
    assert cluster_cache.at(("music", "song")) is not None
    assert cluster_cache.uids("music") == {"b"}


def test_a_finished_separation_is_compressed_losslessly() -> None:
    cluster_cache = ClusterCache(NAMESPACE)
    done = {"phase": "Completed", "run": 1, "finishedAt": "2026-11-22T12:01:00Z", "source": {"title": "Días 🎧"}}
    seen = {**resource(), "spec": {"run": 1}, "status": done}
    cluster_cache.apply(seen)
    [known] = cluster_cache.known()
    assert isinstance(known.kept, bytes)
    assert not known.at_work
    back = cluster_cache.separation("a")
    assert back is not None
    assert (back["spec"], back["status"]) == (seen["spec"], seen["status"])
    assert "managedFields" not in back["metadata"]
    assert cluster_cache.drop("a") == back


def test_a_rerun_is_active_despite_its_finished_status() -> None:
    cluster_cache = ClusterCache(NAMESPACE)
    cluster_cache.apply({**resource(), "spec": {"run": 2}, "status": {"run": 1, "finishedAt": "2026-11-22T12:01:00Z"}})
    assert cluster_cache.known()[0].at_work


def test_tracks_phases_and_pending_webhooks_are_listed() -> None:
    cluster_cache = ClusterCache(NAMESPACE)
    boxes = [{"nextAttemptAt": "x"}, {"nextAttemptAt": "x", "deliveredAt": "y"}, {"deliveredAt": "y"}]
    cluster_cache.apply({**resource("b", created="2026-11-22T12:00:05Z", name="later"), "status": {"webhooks": boxes}})
    cluster_cache.apply({**resource("a"), "spec": {"webhookTest": True}, "status": {"phase": "Completed"}})
    assert [(one.uid, one.track) for one in cluster_cache.known()] == [("a", None), ("b", "music.later")]
    assert list(cluster_cache.phases()) == ["Pending", "Completed"]
    assert cluster_cache.webhooks_pending() == 1
    assert cluster_cache.known()[1].at_work


def test_a_forgotten_separation_is_known_again_once_it_is_received() -> None:
    cluster_cache = ClusterCache(NAMESPACE)
    cluster_cache.apply(resource())
    assert cluster_cache.forget("a") is not None
    assert cluster_cache.at(("music", "song")) is None
    assert cluster_cache.gone() == frozenset()
    assert cluster_cache.apply(resource())


def test_a_revived_separation_is_known_again() -> None:
    cluster_cache = ClusterCache(NAMESPACE)
    cluster_cache.apply(resource())
    cluster_cache.drop("a")
    assert cluster_cache.gone() == {"a"}
    cluster_cache.revive("a")
    assert cluster_cache.apply(resource())
