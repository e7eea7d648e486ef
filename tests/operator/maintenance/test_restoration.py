"""SeparationJobs are restored from valid manifests of the bucket, and from nothing else."""

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from stemyard_contract.handover import WorkStage
from stemyard_contract.identity import spec_cache_key, track_id
from stemyard_contract.mirror import record_of
from stemyard_contract.separationjob import LABEL_OWNER, LABEL_TRACK
from stemyard_operator.maintenance.restoration import (
    expired,
    manifests_among,
    newest,
    resource_of,
    restorable,
    status_of,
)
from stemyard_operator.model.observed import FoundManifest
from stemyard_operator.model.separation import Separation, separation_of
from tests.operator.world import INSTALL, NAMESPACE, SPEC, START, World, mark_of


def asked() -> Separation:
    return separation_of(World(spec=SPEC).resource, NAMESPACE)


def found(separation: Separation, run: int = 1, pod: str = "pod-1") -> FoundManifest:
    key, content, _ = mark_of(separation, WorkStage.SEPARATE, run, pod)
    read = restorable(key, content, INSTALL, NAMESPACE)
    assert read is not None
    return read


def of_api(owner: str | None = None) -> Separation:
    """A track that was requested through the API."""
    made = World(spec={"source": {"searchQuery": "a song"}}).resource
    track = track_id(spec_cache_key(separation_of(made, NAMESPACE).spec, "spleeter-2stems", owner))
    made["metadata"]["name"] = f"sep-{track}"
    made["metadata"]["labels"] = {LABEL_TRACK: track} | ({LABEL_OWNER: owner} if owner else {})
    return separation_of(made, NAMESPACE)


def restored(one: FoundManifest) -> Separation:
    """The SeparationJob with its status, as stored by the API server."""
    made = resource_of(one)
    made["metadata"] |= {"uid": "new", "resourceVersion": "7", "creationTimestamp": START.isoformat(), "generation": 1}
    made["status"] = status_of(separation_of(made, NAMESPACE), one, "spleeter-2stems")
    return separation_of(made, NAMESPACE)


def test_only_manifests_are_read() -> None:
    keys = ["i/stems/t/k/manifest.json", "i/stems/t/k/vocals.mp3", "i/stems/t/k/xmanifest.json"]
    assert manifests_among(keys) == keys[:1]


@pytest.mark.parametrize("owner", [None, "team-a"])
def test_a_track_of_the_api_is_restored(owner: str | None) -> None:
    before = of_api(owner)
    after = restored(found(before, run=before.spec.run))
    assert (after.name, after.namespace, after.track_id, after.owner) == (
        before.name,
        before.namespace,
        before.track_id,
        owner,
    )
    assert spec_cache_key(after.spec, "spleeter-2stems") == spec_cache_key(before.spec, "spleeter-2stems")
    assert after.status.phase == "Completed"


def test_a_resource_created_with_kubectl_keeps_its_name_without_label() -> None:
    before = asked()
    made = resource_of(found(before))
    assert made["metadata"]["name"] == before.name
    assert made["metadata"]["labels"] == {}
    assert made["spec"]["suspend"] is True


def test_the_restored_status_has_the_stems_keys() -> None:
    one = found(asked())
    status = restored(one).status
    assert status.result is not None
    assert status.result.manifest_key == one.reference.key
    assert all(stem.key.startswith(one.reference.key.rpartition("/")[0]) for stem in status.result.stems.values())
    assert status.finished_at is not None
    assert status.finished_at == one.mark.published_at
    assert status.started_at is not None
    assert status.finished_at - status.started_at == timedelta(seconds=30)
    assert status.title == "The Song"


def test_the_mirror_shows_it_as_completed() -> None:
    after = restored(found(of_api()))
    made = resource_of(found(of_api()))
    made["metadata"] |= {"uid": "new", "resourceVersion": "7", "creationTimestamp": START.isoformat(), "generation": 1}
    made["status"] = after.status.dump()
    record = record_of(made)
    assert record.finished
    assert record.phase == "Completed"


def test_the_last_run_of_a_track_is_restored() -> None:
    separation = asked()
    first, second = found(separation, run=1), found(separation, run=2, pod="pod-2")
    assert newest([second, first], INSTALL) == [second]


def test_a_manifest_under_an_unexpected_key_is_ignored() -> None:
    key, content, _ = mark_of(asked(), WorkStage.SEPARATE, 1, "pod-1")
    assert restorable(key.replace("/stems/", "/work/"), content, INSTALL, NAMESPACE) is None
    assert restorable(key, content, "another", NAMESPACE) is None
    forged = json.loads(content) | {"podUid": "another"}
    assert restorable(key, json.dumps(forged).encode(), INSTALL, NAMESPACE) is None
    assert restorable(key, b"{", INSTALL, NAMESPACE) is None


def test_a_manifest_of_another_track_is_ignored() -> None:
    key, content, _ = mark_of(asked(), WorkStage.SEPARATE, 1, "pod-1")
    document = json.loads(content)
    document["asked"]["name"] = "another"
    assert restorable(key, json.dumps(document).encode(), INSTALL, NAMESPACE) is None


@pytest.mark.parametrize(
    "change", [{"owner": "victim"}, {"source": {"url": "https://evil.example/a.mp3"}}, {"quality": "best"}]
)
@pytest.mark.parametrize("of_track", [of_api, asked])
def test_a_request_that_is_not_the_tracks_own_is_not_believed(
    of_track: Callable[[], Separation], change: dict[str, Any]
) -> None:
    """A separate pod writes the manifest: it must not place stems under another request or key."""
    key, content, _ = mark_of(of_track(), WorkStage.SEPARATE, 1, "pod-1")
    document = json.loads(content)
    document["asked"] |= change
    of_tenant = of_track is asked and "owner" not in change  # its id says nothing of its request
    assert (restorable(key, json.dumps(document).encode(), INSTALL, NAMESPACE) is not None) is of_tenant


@pytest.mark.parametrize("change", [{"model": "NOT A MODEL"}, {"stems": {}}])
def test_a_manifest_of_which_no_resource_can_be_made_is_left_alone(change: dict[str, Any]) -> None:
    """One of them must not end the rebuild of all others."""
    key, content, _ = mark_of(asked(), WorkStage.SEPARATE, 1, "pod-1")
    assert restorable(key, json.dumps({**json.loads(content), **change}).encode(), INSTALL, NAMESPACE) is None


def test_a_track_of_the_api_is_only_restored_in_its_namespace() -> None:
    key, content, _ = mark_of(of_api(), WorkStage.SEPARATE, 1, "pod-1")
    assert restorable(key, content, INSTALL, "another") is None


def test_manifests_without_a_request_are_ignored() -> None:
    key, content, _ = mark_of(asked(), WorkStage.SEPARATE, 1, "pod-1")
    document = json.loads(content)
    del document["asked"]
    assert restorable(key, json.dumps(document).encode(), INSTALL, NAMESPACE) is None


def test_an_expired_result_is_not_restored() -> None:
    by_hand, one = found(asked()), found(of_api())
    published = one.mark.published_at
    assert published is not None
    assert not expired(by_hand, published + timedelta(days=4000)), "what was not requested through the API is kept"
    assert not expired(one, published + timedelta(days=29))
    assert expired(one, published + timedelta(days=31))
    assert expired(replace(one, mark=one.mark.model_copy(update={"published_at": None})), published)
