"""Places for Jobs: limits as a whole and by namespace, first come first served."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from stemyard_contract.handover import WorkStage
from stemyard_operator.manifests import build_job
from stemyard_operator.observed import Separation
from stemyard_operator.projection import Projection
from stemyard_operator.slots import Slots
from tests.operator.world import START, World, settings

FETCH, SEPARATE = WorkStage


def separation(number: int, namespace: str = "music") -> Separation:
    created = START + timedelta(seconds=number)
    uid = f"{number:08x}-1111-4222-8333-944455556666"
    return replace(World().separation, name=f"song-{number}", uid=uid, namespace=namespace, created=created)


def start(projection: Projection, of: Separation, stage: WorkStage, *, ended: bool = False) -> None:
    manifest: Any = build_job(of, FETCH, 1, settings()).manifest
    name = manifest["metadata"]["name"].replace("-f1-1", f"-{stage[0]}1-1")
    given = {"name": name, "uid": f"job-{name}", "resourceVersion": "9" if ended else "1"}
    end = {"conditions": [{"type": "Complete", "status": "True", "lastTransitionTime": "2026-11-22T12:00:00Z"}]}
    metadata = {**manifest["metadata"], **given, "creationTimestamp": "2026-11-22T12:00:00Z"}
    assert projection.apply_job({**manifest, "metadata": metadata, "status": end if ended else {}})


@pytest.fixture
def projection() -> Projection:
    return Projection()


def test_the_limit_counts_live_jobs_only(projection: Projection) -> None:
    slots = Slots(projection, settings(max_active=1))
    first, second = separation(1), separation(2)
    assert SEPARATE in slots.room(first)
    start(projection, first, SEPARATE)
    assert slots.room(second) == {FETCH}
    start(projection, first, SEPARATE, ended=True)
    assert SEPARATE in slots.room(second)


def test_a_claim_takes_a_place_until_it_is_given_back(projection: Projection) -> None:
    slots = Slots(projection, settings(max_active=1))
    first, second = separation(1), separation(2)
    assert slots.claim(first, SEPARATE)
    assert not slots.claim(second, SEPARATE)
    assert SEPARATE not in slots.room(second)
    slots.release(first.uid)
    assert slots.claim(second, SEPARATE)


def test_the_oldest_goes_first(projection: Projection) -> None:
    slots = Slots(projection, settings(max_active=1))
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


def test_a_higher_priority_goes_before_age(projection: Projection) -> None:
    slots = Slots(projection, settings(max_active=1))
    old, young = separation(1), separation(2)
    slots.wait(old, SEPARATE)
    slots.wait(young, SEPARATE)
    assert slots.next_in_line(SEPARATE) == [("music", "song-1")]
    raised = replace(young, spec=young.spec.model_copy(update={"priority": 10}))
    slots.wait(raised, SEPARATE)
    assert slots.next_in_line(SEPARATE) == [("music", "song-2")]
    assert SEPARATE in slots.room(raised)
    assert SEPARATE not in slots.room(old)


def test_a_full_namespace_does_not_hold_up_others(projection: Projection) -> None:
    slots = Slots(projection, settings(max_active=3, max_active_per_namespace=1))
    start(projection, separation(0), SEPARATE)
    full, free = separation(1), separation(2, "jazz")
    slots.wait(full, SEPARATE)
    slots.wait(free, SEPARATE)
    assert SEPARATE not in slots.room(full)
    assert SEPARATE in slots.room(free)
    assert slots.next_in_line(SEPARATE) == [("jazz", "song-2")]


def test_stages_have_places_of_their_own(projection: Projection) -> None:
    slots = Slots(projection, settings(max_active=1, max_active_fetch=1))
    start(projection, separation(0), FETCH)
    assert slots.room(separation(1)) == {SEPARATE}
