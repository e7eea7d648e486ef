"""Commit marks are written by pods: what they say is verified before it counts."""

import json
from typing import Any

import pytest

from stemyard_contract.handover import WorkStage
from stemyard_operator.decision.actions import FindMark
from stemyard_operator.decision.commit_marks import MARK_LIMIT, may_be_mark, verify_mark
from tests.operator.decision.test_decide import failure, separating
from tests.operator.world import INSTALL, World, mark_of

FETCH, SEPARATE = WorkStage


def test_stems_of_other_audio_than_the_accepted_are_refused() -> None:
    """Stems are copied to other separations of the same audio, so they must be of the audio that the status names."""
    world = separating(World())
    world.wait(20)
    world.succeed(world.job(SEPARATE), recording="another song")
    world.settle()
    assert world.separation.status.result is None
    assert failure(world) == "ARTIFACT_MISMATCH"


def changed(stage: WorkStage, path: str, value: object) -> bool:
    """Whether a mark is valid with another value at a path."""
    separation = World().separation
    key, content, _ = mark_of(separation, stage, 1, "pod")
    document = json.loads(content)
    part: Any = document
    *folders, last = path.split(".")
    for folder in folders:
        part = part[folder]
    part[last] = value
    found = verify_mark(json.dumps(document).encode(), key, FindMark(stage), separation, INSTALL)
    return found is not None


@pytest.mark.parametrize(
    ("stage", "path", "value"),
    [
        (SEPARATE, "stems.vocals.file", "../../../../private/other.wav"),
        (SEPARATE, "stems.vocals.file", "vocals.wav"),
        (SEPARATE, "stems.vocals.peaks", {"file": "../x", "bytes": 1, "sha256": "0"}),
        (FETCH, "audio.file", "../other/audio.flac"),
    ],
)
def test_names_of_files_that_the_pod_may_not_write_are_refused(stage: WorkStage, path: str, value: object) -> None:
    """The names become keys, which links are signed for."""
    assert not changed(stage, path, value)


@pytest.mark.parametrize(
    ("stage", "path", "value"),
    [
        (FETCH, "sampleRate", 0),
        (FETCH, "audioSha256", "0" * 500),
        (SEPARATE, "modelDigest", "0" * 5000),
        (SEPARATE, "device", "x" * 5000),
    ],
)
def test_values_that_the_status_cannot_hold_are_refused(stage: WorkStage, path: str, value: object) -> None:
    assert not changed(stage, path, value)


@pytest.mark.parametrize("stage", WorkStage)
def test_only_keys_of_the_form_of_a_mark_are_read(stage: WorkStage) -> None:
    separation = World().separation
    key, _, _ = mark_of(separation, stage, 1, "pod")
    folder, _, name = key.rpartition("/")
    track, _, token = folder.rpartition("/")
    others = (
        *("", "/", name, f"/{name}", folder, f"{folder}/", f"{folder}//{name}", f"{folder}{name}", f"{key}/"),
        *(f"{track}/{name}", f"{track}//{name}", f"{track}/{token.upper()}/{name}", f"{track}/{token[1:]}/{name}"),
        *(f"{track}/{token}0/{name}", f"{track}/{token}/../{name}", f"other/{key}", f"{track}/{token}/other.json"),
    )
    assert may_be_mark(key, separation, stage, INSTALL)
    assert [other for other in others if may_be_mark(other, separation, stage, INSTALL)] == []
    assert not may_be_mark(key, separation, stage, "other-installation")


def test_a_mark_may_have_a_mebibyte() -> None:
    assert MARK_LIMIT == 1_048_576


def test_an_unchanged_mark_is_valid() -> None:
    assert changed(FETCH, "samples", 441_000)
    assert changed(SEPARATE, "device", "cpu")
