"""Whatever a pod that was taken over writes into its commit mark and its Outcome, the operator goes on."""

import hashlib
import json
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st

from stemyard_contract.handover import LARGEST_COUNT, MarkReference, Outcome, WorkStage
from stemyard_operator.decision.actions import FindMark
from stemyard_operator.decision.commit_marks import file_sizes, verify_mark
from stemyard_operator.decision.status import result_of, source_of
from stemyard_operator.jobs.disk import mebibytes, workspace
from stemyard_operator.model.observed import FoundManifest, FoundSource
from tests.operator.decision.test_decide import separating
from tests.operator.world import INSTALL, UID, World

FETCH, SEPARATE = WorkStage
HOSTILE: list[Any] = [
    *(0, -1, 2**31, 2**63, 10**40, 10**400, 1e308, -1e308, float("nan"), float("inf"), float("-inf"), 1e-320),
    *("", "../../other", "a\x00b", "x" * 5000, "<script>", "\u202e", "https://169.254.169.254/", "1e999"),
    *([], {}, None, True, [[]] * 50, {"": {}}, UID, "fetch", "COMPLETED"),
]
LEAVES = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=40) | st.sampled_from(HOSTILE)
ANY_JSON = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=20), inner, max_size=4),
    max_leaves=8,
)


def paths(document: Any, above: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Every field of a document, nested ones too."""
    if isinstance(document, dict):
        for name, value in document.items():
            yield (*above, name)
            yield from paths(value, (*above, name))


def with_value(document: dict[str, Any], path: tuple[str, ...], value: Any) -> dict[str, Any]:
    [name, *rest] = path
    return {**document, name: with_value(document[name], tuple(rest), value) if rest else value}


def optional_fields(stage: WorkStage) -> dict[str, Any]:
    """Fields that the example lacks, so that they are forged as well."""
    if stage is FETCH:
        return {"tags": {}, "candidates": [], "versions": {}, "level": 0.1, "isCut": False, "sourceSampleRate": 1}
    return {"copied": None, "versions": {}, "parameters": {}, "sourceMarkSha256": None, "publishedAt": None}


def running(stage: WorkStage) -> tuple[World, dict[str, Any]]:
    """A world with a pod of this stage at work."""
    world = World() if stage is FETCH else separating(World())
    if stage is FETCH:
        world.settle()
        world.run(world.job(FETCH))
    world.settle()
    world.wait(20)
    return world, world.job(stage)


def end_with(world: World, job: dict[str, Any], message: str) -> None:
    world.end(job, "Complete", exit_code=0, reason="Completed", message=message)
    for _ in range(6):  # retries, by new pods that write nothing
        world.settle()
        world.wait(400)


def check_keys(world: World, found: FoundSource | FoundManifest) -> None:
    """Every object that an accepted mark names is below the prefix of its pod."""
    prefix = found.reference.key.rpartition("/")[0] + "/"
    assert all(key.startswith(prefix) and "/" not in key.removeprefix(prefix) for key in file_sizes(found))
    assert found.mark.uid == world.separation.uid


@pytest.mark.parametrize("stage", WorkStage)
def test_any_field_of_a_mark_may_hold_anything(stage: WorkStage) -> None:
    """Those that are refused fail this separation; those that are accepted leave a status that JSON can hold."""
    world, job = running(stage)
    reference = world.publish(job)
    whole = {**optional_fields(stage), **json.loads(world.objects[reference.key])}
    for path in sorted(set(paths(whole))):
        for value in HOSTILE:
            content = json.dumps(with_value(whole, path, value)).encode("utf-8", "surrogatepass")
            found = verify_mark(content, reference.key, FindMark(stage), world.separation, INSTALL)
            if found is None:
                continue
            status = source_of(found) if isinstance(found, FoundSource) else result_of(found)
            assert json.loads(json.dumps(status.dump(), allow_nan=False)), path
            check_keys(world, found)


@given(stage=st.sampled_from(WorkStage), data=st.data())
@examples(max_examples=60, deadline=None)
def test_a_run_ends_whatever_its_mark_says(stage: WorkStage, data: st.DataObject) -> None:
    world, job = running(stage)
    reference = world.publish(job)
    document = {**optional_fields(stage), **json.loads(world.objects[reference.key])}
    path = data.draw(st.sampled_from(sorted(set(paths(document)))))
    content = json.dumps(with_value(document, path, data.draw(ANY_JSON))).encode("utf-8", "surrogatepass")
    world.objects[reference.key] = content
    named = MarkReference(key=reference.key, sha256=hashlib.sha256(content).hexdigest())
    end_with(world, job, Outcome(stage=stage, mark=named).dump())
    assert json.dumps(world.status, allow_nan=False)


@given(stage=st.sampled_from(WorkStage), message=st.text(max_size=100) | ANY_JSON.map(json.dumps), data=st.data())
@examples(max_examples=60, deadline=None)
def test_an_outcome_may_say_anything(stage: WorkStage, message: str, data: st.DataObject) -> None:
    world, job = running(stage)
    document = json.loads(Outcome(stage=stage, mark=world.publish(job), message="m").dump())
    path = data.draw(st.sampled_from(sorted(paths(document))))
    forged = json.dumps(with_value(document, path, data.draw(ANY_JSON)))
    end_with(world, job, data.draw(st.sampled_from([forged, message])))
    assert json.dumps(world.status, allow_nan=False)


def test_a_duration_that_is_stated_takes_no_more_disk_than_the_longest_song() -> None:
    world, job = running(FETCH)
    reference = world.publish(job)
    document = {**json.loads(world.objects[reference.key]), "samples": LARGEST_COUNT, "sampleRate": 1}
    world.objects[reference.key] = content = json.dumps(document).encode()
    named = MarkReference(key=reference.key, sha256=hashlib.sha256(content).hexdigest())
    world.end(job, "Complete", exit_code=0, message=Outcome(stage=FETCH, mark=named).dump())
    world.settle()
    longest = workspace(World().separation, SEPARATE, world.config)
    [container] = world.job(SEPARATE)["spec"]["template"]["spec"]["containers"]
    assert container["resources"]["limits"]["ephemeral-storage"] == mebibytes(longest)
