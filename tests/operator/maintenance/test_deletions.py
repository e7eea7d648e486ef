"""Objects of deleted separations are removed twice, and only by the leader."""

from typing import Any

from stemyard_contract.separationjob import (
    ResultStatus,
    SeparationJobSpec,
    SeparationJobStatus,
    SourceStatus,
    Stem,
    StemStatus,
)
from stemyard_operator.decision.artifacts import objects_of, objects_of_result
from stemyard_operator.maintenance.deletions import Deletions

SPEC = SeparationJobSpec.model_validate(
    {"source": {"upload": {"id": "0b1f2f3e-0000-4000-8000-000000000000", "owner": "default"}}}
)
STEMS = "install-1/stems/t/aaaa/"
WORK = "install-1/work/t/bbbb/"


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


def test_exactly_what_is_named_goes() -> None:
    upload = "install-1/uploads/default/0b1f2f3e-0000-4000-8000-000000000000/source"
    assert objects_of(SPEC, status(), "install-1") == (STEMS, f"{WORK}source.json", f"{WORK}audio.flac", upload)
    assert objects_of_result(SeparationJobStatus()) == ()


def resource(status: SeparationJobStatus) -> dict[str, Any]:
    return {"metadata": {"uid": "uid"}, "spec": SPEC.dump(), "status": status.dump()}


async def test_the_leader_removes_at_once_and_again_when_links_are_dead(monkeypatch: Any) -> None:
    leading = False
    deletions = Deletions(None, "install-1", lambda: leading)  # type: ignore[arg-type]
    delays: list[tuple[bool, float]] = []
    monkeypatch.setattr(deletions.queue, "add", lambda key, delay=0.0: delays.append((key.again, delay)))
    deletions.deleted(resource(status()))
    assert delays == []
    leading = True
    nothing = {"source": {"url": "https://example.com/song.mp3"}}
    deletions.deleted({"metadata": {"uid": "uid"}, "spec": nothing})
    assert delays == []
    deletions.deleted({"metadata": {"uid": "uid"}, "spec": {"of": "another schema"}})
    assert delays == []
    deletions.deleted(resource(status()))
    assert delays[0] == (False, 0.0)
    assert delays[1][0]
    assert delays[1][1] > 15 * 60
