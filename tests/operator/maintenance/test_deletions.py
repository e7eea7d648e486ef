"""Objects of deleted separations are removed twice, and only by the leader."""

from collections.abc import Callable
from typing import Any

import pytest

from stemyard_contract.separationjob import (
    ResultStatus,
    SeparationJobSpec,
    SeparationJobStatus,
    SourceStatus,
    Stem,
    StemStatus,
)
from stemyard_operator.decision.artifacts import objects_of, objects_of_result
from stemyard_operator.informer.upload_index import UploadIndex
from stemyard_operator.maintenance.deletions import Deletions
from tests.operator.world import NAMESPACE, START, settings

SPEC = SeparationJobSpec.model_validate(
    {"source": {"upload": {"id": "0b1f2f3e-0000-4000-8000-000000000000", "owner": "default"}}}
)
STEMS = f"install-1/stems/{NAMESPACE}.uid/{'a' * 32}/"
WORK = f"install-1/work/{NAMESPACE}.uid/{'b' * 32}/"
UPLOAD = "install-1/uploads/default/0b1f2f3e-0000-4000-8000-000000000000/source"


def status() -> SeparationJobStatus:
    stem = StemStatus(key=STEMS + "vocals.mp3", bytes=1, sha256="a", duration=1.0)
    result = ResultStatus(
        stems={Stem.VOCALS: stem},
        manifest_key=STEMS + "manifest.json",
        model="m",
        model_digest="d",
        real_time_factor=1.0,
        device="cpu",
    )
    return SeparationJobStatus(result=result, source=SourceStatus(mark_key=WORK + "source.json"))


def test_exactly_the_named_objects_are_removed() -> None:
    files = (STEMS, f"{WORK}source.json", f"{WORK}audio.flac")
    assert objects_of(status(), SPEC.source.upload, "install-1") == (*files, UPLOAD)
    assert objects_of(status(), None, "install-1") == files
    assert objects_of_result(SeparationJobStatus(), "install-1") == ()


def test_objects_of_another_installation_are_never_removed() -> None:
    """Two installations may share a bucket, and have tracks of the same ids."""
    assert objects_of(status(), None, "install-2") == ()
    assert objects_of(status(), None, "install") == ()


def resource(
    status: SeparationJobStatus | None = None,
    spec: dict[str, Any] | None = None,
    uid: str = "uid",
    namespace: str = NAMESPACE,
) -> dict[str, Any]:
    metadata = {"namespace": namespace, "name": uid, "uid": uid, "resourceVersion": "1"}
    metadata["creationTimestamp"] = "2026-11-22T12:00:00Z"
    return {"metadata": metadata, "spec": spec or SPEC.dump(), "status": status.dump() if status else {}}


def deletions_of(uploads: UploadIndex, lease_held: Callable[[], bool] = lambda: True) -> Deletions:
    return Deletions(None, settings(), uploads, lease_held)  # type: ignore[arg-type]


def no_uploads() -> UploadIndex:
    return UploadIndex(NAMESPACE, lambda: START)


async def test_the_leader_removes_objects_at_once_and_again_after_links_expire(monkeypatch: Any) -> None:
    leading = False
    deletions = deletions_of(no_uploads(), lambda: leading)
    delays: list[tuple[bool, float]] = []
    monkeypatch.setattr(deletions.queue, "add", lambda key, delay=0.0: delays.append((key.again, delay)))
    deletions.deleted(resource(status()))
    assert delays == []
    leading = True
    nothing = {"source": {"url": "https://example.com/song.mp3"}}
    deletions.deleted(resource(spec=nothing))
    assert delays == []
    deletions.deleted(resource(spec={"of": "another schema"}))
    assert delays == []
    deletions.deleted(resource(status()))
    assert delays[0] == (False, 0.0)
    assert delays[1][0]
    assert delays[1][1] > 15 * 60


@pytest.mark.parametrize(
    ("deleted", "others", "removed"),
    [
        (resource(), [], [(UPLOAD,)]),
        (resource(), [resource(uid="other")], []),
        (resource(status()), [resource(uid="other")], [(STEMS, f"{WORK}source.json", f"{WORK}audio.flac")]),
        (resource(namespace="tenant"), [], []),
        (resource(status(), namespace="tenant"), [], []),
        (resource(status(), uid="other"), [resource(uid="third")], []),
    ],
)
def test_an_upload_goes_with_the_last_that_needs_it_and_objects_only_with_their_own(
    monkeypatch: Any, deleted: dict[str, Any], others: list[dict[str, Any]], removed: list[tuple[str, ...]]
) -> None:
    uploads = no_uploads()
    for one in (deleted, *others):
        uploads.learn(one)
    uploads.forget(deleted["metadata"]["uid"])
    deletions = deletions_of(uploads)
    found: list[tuple[str, ...]] = []
    monkeypatch.setattr(deletions.queue, "add", lambda key, delay=0.0: found.append(key.targets))
    deletions.deleted(deleted)
    assert found == removed * 2
