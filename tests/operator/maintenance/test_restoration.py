"""A bucket's manifests tell enough to make their SeparationJobs again, and nothing else in it is believed."""

import json
from dataclasses import replace
from datetime import timedelta

import pytest

from stemyard_contract.handover import WorkStage
from stemyard_contract.identity import spec_cache_key, track_id
from stemyard_contract.mirror import record_of
from stemyard_contract.separationjob import LABEL_OWNER, LABEL_TRACK
from stemyard_operator.maintenance.restoration import expired, manifests_among, newest, readable, resource_of, status_of
from stemyard_operator.model.observed import FoundManifest
from stemyard_operator.model.separation import Separation, separation_of
from tests.operator.world import INSTALL, SPEC, START, World, mark_of


def asked() -> Separation:
    return separation_of(World(spec=SPEC).resource)


def found(separation: Separation, run: int = 1, pod: str = "pod-1") -> FoundManifest:
    key, content, _ = mark_of(separation, WorkStage.SEPARATE, run, pod)
    read = readable(key, content, INSTALL)
    assert read is not None
    return read


def of_api(owner: str | None = None) -> Separation:
    """A track that was asked for through the API."""
    made = World(spec={"source": {"searchQuery": "a song"}}).resource
    track = track_id(spec_cache_key(separation_of(made).spec, "spleeter-2stems"))
    made["metadata"]["name"] = f"sep-{track}"
    made["metadata"]["labels"] = {LABEL_TRACK: track} | ({LABEL_OWNER: owner} if owner else {})
    return separation_of(made)


def restored(one: FoundManifest) -> Separation:
    """The SeparationJob after its status was written, as the API server would hold it."""
    made = resource_of(one)
    made["metadata"] |= {"uid": "new", "resourceVersion": "7", "creationTimestamp": START.isoformat(), "generation": 1}
    made["status"] = status_of(separation_of(made), one, "spleeter-2stems")
    return separation_of(made)


def test_only_manifests_are_read() -> None:
    keys = ["i/stems/t/k/manifest.json", "i/stems/t/k/vocals.mp3", "i/stems/t/k/xmanifest.json"]
    assert manifests_among(keys) == keys[:1]


@pytest.mark.parametrize("owner", [None, "team-a"])
def test_an_api_track_is_itself_again(owner: str | None) -> None:
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


def test_a_hand_written_one_keeps_its_name_and_has_no_label() -> None:
    before = asked()
    made = resource_of(found(before))
    assert made["metadata"]["name"] == before.name
    assert made["metadata"]["labels"] == {}
    assert made["spec"]["suspend"] is True


def test_its_status_tells_of_the_stems_where_they_are() -> None:
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


def test_the_mirror_takes_it_as_completed() -> None:
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


def test_what_lies_in_a_strange_place_is_not_believed() -> None:
    key, content, _ = mark_of(asked(), WorkStage.SEPARATE, 1, "pod-1")
    assert readable(key.replace("/stems/", "/work/"), content, INSTALL) is None
    assert readable(key, content, "another") is None
    forged = json.loads(content) | {"podUid": "another"}
    assert readable(key, json.dumps(forged).encode(), INSTALL) is None
    assert readable(key, b"{", INSTALL) is None


def test_one_for_another_track_is_not_believed() -> None:
    key, content, _ = mark_of(asked(), WorkStage.SEPARATE, 1, "pod-1")
    document = json.loads(content)
    document["asked"]["name"] = "another"
    assert readable(key, json.dumps(document).encode(), INSTALL) is None


def test_manifests_that_do_not_say_what_was_asked_for_are_left_alone() -> None:
    key, content, _ = mark_of(asked(), WorkStage.SEPARATE, 1, "pod-1")
    document = json.loads(content)
    del document["asked"]
    assert readable(key, json.dumps(document).encode(), INSTALL) is None


def test_what_would_be_removed_at_once_is_left_alone() -> None:
    one = found(asked())
    published = one.mark.published_at
    assert published is not None
    assert not expired(one, published + timedelta(days=29))
    assert expired(one, published + timedelta(days=31))
    assert expired(replace(one, mark=one.mark.model_copy(update={"published_at": None})), published)
