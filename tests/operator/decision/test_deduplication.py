"""Second-level deduplication: who knows whom, who waits for whom, and what is copied."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from itertools import permutations
from typing import Any

import hypothesis
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stemyard_contract.handover import Manifest, Outcome, WorkStage
from stemyard_contract.separationjob import AttemptsStatus, Phase
from stemyard_operator.clients.s3 import ObjectStoreClient
from stemyard_operator.decision.actions import CopyStems
from stemyard_operator.informer.duplicate_index import DuplicateIndex, duplicates_of
from stemyard_operator.model.observed import Duplicate
from stemyard_operator.model.separation import Separation
from stemyard_operator.reconciler.copy_stems import copy_stems
from tests.operator.decision.test_decide import conditions, failure, separating
from tests.operator.world import INSTALL, NAMESPACE, RECORDING, START, World, mark_of, settings
from tests.support.servers import ObjectStore, object_store

FETCH, SEPARATE = WorkStage
SHA = "a" * 64


def other(number: int, *, namespace: str = "music", owner: str | None = None, **spec: Any) -> Separation:
    own = World().separation
    return replace(
        own,
        uid=f"{number:08x}-1111-4222-8333-944455556666",
        name=f"song-{number}",
        namespace=namespace,
        track_id=f"{namespace}.song-{number}",
        created=START + timedelta(seconds=number),
        owner=owner,
        spec=own.spec.model_copy(update=spec),
    )


def completed(number: int) -> Separation:
    world = separating(World())
    world.wait(20)
    world.succeed(world.job(SEPARATE))
    world.settle()
    return replace(other(number), status=world.separation.status)


def test_those_of_one_recording_know_each_other() -> None:
    index = DuplicateIndex("spleeter-2stems", NAMESPACE)
    index.note(other(1), SHA)
    index.note(other(2, model="spleeter-2stems"), SHA)
    index.note(other(3), SHA)
    index.note(other(4), "c" * 64)
    assert index.others(other(1).uid) == {other(2).uid, other(3).uid}
    assert index.others(other(4).uid) == set()
    index.note(other(3), "d" * 64)
    assert index.others(other(1).uid) == {other(2).uid}
    index.forget(other(2).uid)
    assert index.others(other(1).uid) == set()


def test_a_media_id_makes_no_duplicate() -> None:
    """A fetch pod says what it likes: only equal audio, which the separate stage verifies, gives equal stems."""
    index = DuplicateIndex("spleeter-2stems", NAMESPACE)
    for number, sound in ((1, SHA), (2, "b" * 64)):
        resource = World(status={"source": {"mediaId": "youtube:x", "sha256": sound}}).resource
        resource["metadata"]["uid"] = str(number)
        index.learn(resource)
    assert index.others("1") == set()


@pytest.mark.parametrize(
    "stranger",
    [
        other(2, namespace="jazz"),
        other(2, owner="key-2"),
        other(2, model="htdemucs"),
        other(2, stems=["vocals"]),
        other(2, output=World().separation.spec.output.model_copy(update={"bitrate": 128})),
        other(2, quality="best"),
    ],
)
def test_others_stay_strangers(stranger: Separation) -> None:
    index = DuplicateIndex("spleeter-2stems", NAMESPACE)
    index.note(other(1, owner="key-1" if stranger.owner else None), SHA)
    index.note(stranger, SHA)
    assert index.others(other(1).uid) == set()


def test_what_was_made_is_offered_with_the_time_it_took() -> None:
    (offer,) = duplicates_of(other(2), [completed(1)])
    assert offer.manifest_key.endswith("manifest.json")
    assert (offer.processing_seconds, offer.first) == (23.0, False)
    again = completed(1)
    (offer,) = duplicates_of(other(2), [replace(again, spec=again.spec.model_copy(update={"run": 2}))])
    assert offer.manifest_key == ""


@hypothesis.settings(deadline=None)
@given(
    at_work=st.lists(st.booleans(), min_size=3, max_size=3),
    priorities=st.lists(st.integers(-1, 1), min_size=3, max_size=3),
)
def test_no_two_wait_for_each_other(at_work: list[bool], priorities: list[int]) -> None:
    """A run at work waits for no other, and if none is at work, at least one of the others continues."""
    all_three = [
        replace(
            other(number, priority=priority),
            status=World().separation.status.model_copy(update={"run": 1, "attempts": AttemptsStatus(separate=busy)}),
        )
        for number, (busy, priority) in enumerate(zip(at_work, priorities, strict=True))
    ]
    waits = {
        (a.uid, b.uid)
        for a, b in permutations(all_three, 2)
        if not (a.status.attempts and a.status.attempts.separate) and duplicates_of(a, [b])[0].first
    }
    assert not {(b, a) for a, b in waits} & waits
    assert {a for a, _ in waits} != {one.uid for one in all_three}


def test_one_that_may_need_other_nodes_is_not_waited_for() -> None:
    ahead = replace(other(1, profile="gpu"), status=World().separation.status)
    assert not duplicates_of(other(2), [ahead])[0].first
    assert duplicates_of(other(2, profile="gpu"), [ahead])[0].first


def with_other(*, first: bool) -> tuple[World, str]:
    """A world whose source is fetched, and the prefix of another's stems."""
    world = World()
    key, content, beside = mark_of(completed(1), SEPARATE, 1, "pod-other", recording=RECORDING)
    world.objects |= {**beside, key: content}
    world.duplicates = [Duplicate("song-1", completed(1).uid, "" if first else key, 23.0, first)]
    world.settle()
    world.run(world.job(FETCH))
    world.succeed(world.job(FETCH))
    return world, key


def test_stems_are_copied_and_no_job_is_made() -> None:
    world, key = with_other(first=False)
    world.room.discard(SEPARATE)
    world.settle()
    assert world.phase() is Phase.COMPLETED
    assert [name[-4:] for name in world.created] == ["f1-1"]
    result = world.separation.status.result
    assert result is not None
    assert (result.copied_from, result.processing_seconds) == ("song-1", 23.0)
    assert key in world.objects
    assert {stem.key for stem in result.stems.values()} <= set(world.objects)
    assert all("/music.song/" in stem.key for stem in result.stems.values())
    assert not [name for name in world.objects if "/work/" in name]
    assert conditions(world)["Separated"] == ("True", "Copied")
    assert [write.phase for write in world.writes] == [Phase.FETCHING, Phase.QUEUED, Phase.COMPLETED]
    [reported] = [one.message for one in world.writes[1].conditions if one.type == "Admitted"]
    assert reported == "Stems were copied from song-1."


@pytest.mark.parametrize("crash", range(7))
def test_a_crash_while_copying_changes_nothing(crash: int) -> None:
    for crashing in range(6):
        world, _ = with_other(first=False)
        for number in range(8):
            world.step(crash_after=crash if number == crashing else None)
        assert world.phase() is Phase.COMPLETED
        assert len(world.created) == 1
        assert len([name for name in world.objects if "/stems/music.song/" in name]) == 3


def test_stems_that_are_gone_are_made_anew() -> None:
    world, key = with_other(first=False)
    del world.objects[key.replace("manifest.json", "vocals.mp3")]
    world.settle()
    assert world.created[-1].endswith("-s1-1")
    assert not [name for name in world.objects if "/stems/music.song/" in name]


def test_one_under_way_is_waited_for_then_copied_or_replaced() -> None:
    for ends_well in (True, False):
        world, key = with_other(first=True)
        world.wait(6)
        world.settle()
        assert conditions(world)["Admitted"] == ("False", "Duplicate")
        assert world.phase() is Phase.QUEUED
        assert len(world.created) == 1
        world.duplicates = [replace(world.duplicates[0], manifest_key=key, first=False)] if ends_well else []
        world.settle()
        assert len(world.created) == (1 if ends_well else 2)
        assert world.phase() is (Phase.COMPLETED if ends_well else Phase.QUEUED)


def test_waiting_for_another_has_an_end() -> None:
    world, _ = with_other(first=True)
    world.spec["deadlines"] = {"queue": 60}
    world.settle()
    world.wait(61)
    world.settle()
    assert failure(world) == "QUEUE_DEADLINE"


def test_a_refresh_makes_its_own() -> None:
    world = separating(World())
    world.succeed(world.job(SEPARATE))
    world.settle()
    world.spec["run"] = 2
    world.duplicates = [Duplicate("song-1", "uid-1", "install-1/stems/music.song-1/x/manifest.json", 1.0)]
    world.settle()
    world.succeed(world.job(FETCH))
    world.settle()
    assert world.created[-1].endswith("-s2-1")


def test_an_attempt_of_its_own_is_not_given_up_for_another() -> None:
    world = separating(World())
    world.duplicates = [Duplicate("song-1", "uid-1", first=True)]
    world.end(world.job(SEPARATE), "Failed", message=Outcome(stage=SEPARATE, code="STORE_UNREACHABLE").dump())
    world.settle()
    world.wait(20)
    world.settle()
    assert world.created[-1].endswith("-s1-2")


# the store's part


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ObjectStore]:
    with object_store(tmp_path_factory.mktemp("store")) as found:
        yield found


async def test_a_real_store_copies(store: ObjectStore) -> None:
    objects = ObjectStoreClient(settings(**{key.lower(): value for key, value in store.environment.items()}))
    await objects.prepare()
    key, content, beside = mark_of(completed(1), SEPARATE, 1, "pod-other", recording=RECORDING)
    for name, body in {**beside, key: content}.items():
        await objects.put(name, body, "audio/mpeg")
    own = World().separation
    copy = CopyStems("song-1", completed(1).uid, key, 23.0)
    for _ in range(2):
        assert await copy_stems(objects, copy, own, INSTALL)
    copied = await objects.keys(f"{INSTALL}/stems/{own.track_id}/")
    assert len(copied) == 3
    manifest = Manifest.model_validate_json(await objects.get(copied[1], 100_000) or b"")
    assert (manifest.uid, manifest.run, manifest.pod_uid) == (own.uid, 1, copy.uid)
    client = store.client()
    assert client.head_object(Bucket=store.bucket, Key=copied[2])["ContentType"] == "audio/mpeg"
    client.close()
    await objects.remove(key.replace("manifest.json", "vocals.mp3"))
    assert not await copy_stems(objects, copy, own, INSTALL)
    assert await objects.keys(f"{INSTALL}/stems/{own.track_id}/") == []
    await objects.remove(key)
    assert not await copy_stems(objects, copy, own, INSTALL)
    await objects.close()
