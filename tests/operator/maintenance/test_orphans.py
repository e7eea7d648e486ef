"""What a sweep takes for an orphan, and when it would rather do nothing."""

from dataclasses import replace
from typing import Any

import pytest

from stemyard_contract.handover import WorkStage
from stemyard_contract.separationjob import SeparationJobStatus
from stemyard_operator.maintenance.orphans import Findings, Kept, SweepState, seen_before, to_keep
from stemyard_operator.model.separation import Separation
from tests.operator.decision.test_decide import separating
from tests.operator.world import INSTALL, World

UPLOAD = {"id": "0b1f2f3e-0000-4000-8000-000000000000", "owner": "default"}
STRAY = f"{INSTALL}/stems/music.gone/0123/"


def completed(number: int = 0) -> tuple[Separation, list[str]]:
    """A completed separation and its keys."""
    world = separating(World())
    world.succeed(world.job(WorkStage.SEPARATE))
    world.settle()
    uid = f"{number:08x}-1111-4222-8333-944455556666"
    track = f"music.song-{number}"
    text = world.separation.status.model_dump_json().replace("music.song", track)
    status = SeparationJobStatus.model_validate_json(text)
    return replace(world.separation, uid=uid, track_id=track, status=status), [
        key.replace("music.song", track) for key in world.objects
    ]


def kept(*separations: Separation) -> Kept:
    found = Kept()
    for one in separations:
        found.add(one, INSTALL)
    return found


def test_what_a_separation_names_is_kept_and_losers_are_not() -> None:
    separation, keys = completed()
    loser = f"{INSTALL}/stems/{separation.track_id}/ffff/"
    found = Findings.of([*keys, loser + "vocals.mp3", STRAY + "manifest.json"], kept(separation), INSTALL)
    assert found.orphans == {loser, STRAY}
    assert found.hollow == ()
    assert found.tracks == 2


def test_everything_of_a_track_under_way_is_kept() -> None:
    own = World().separation
    keys = [f"{INSTALL}/{room}/{own.track_id}/0123/x" for room in ("work", "stems")]
    assert Findings.of(keys, kept(own), INSTALL).orphans == frozenset()
    assert len(Findings.of(keys, kept(completed()[0]), INSTALL).orphans) == 2


def test_an_upload_goes_with_what_names_it() -> None:
    world = World(spec={"source": {"upload": UPLOAD}})
    key = f"{INSTALL}/uploads/default/{UPLOAD['id']}/source"
    assert Findings.of([key], kept(world.separation), INSTALL).orphans == frozenset()
    assert Findings.of([key], kept(), INSTALL).orphans == {key.removesuffix("source")}


@pytest.mark.parametrize(
    "key",
    [
        "another-install/stems/t/0123/vocals.mp3",
        f"{INSTALL}-2/stems/t/0123/vocals.mp3",
        f"{INSTALL}/owner.json",
        f"{INSTALL}/sweep.json",
        f"{INSTALL}/models/a/b/c",
        f"{INSTALL}/stems/loose.mp3",
        "stems/t/0123/vocals.mp3",
    ],
)
def test_what_is_not_ours_or_not_known_is_never_touched(key: str) -> None:
    assert Findings.of([key], kept(), INSTALL).orphans == frozenset()


def test_only_what_two_sweeps_found_goes() -> None:
    findings = Findings.of([STRAY + "x"], kept(completed()[0]), INSTALL)
    assert findings.confirmed(None) == frozenset()
    first = to_keep(findings, frozenset(), 1000.0)
    assert findings.confirmed(seen_before(first.model_dump_json().encode())) == {STRAY}
    assert to_keep(findings, frozenset({STRAY}), 2000.0).orphans == []
    assert seen_before(b"{") is None


def test_a_result_that_is_not_there_is_missed() -> None:
    separation, keys = completed()
    manifest = next(key for key in keys if key.endswith("vocals.mp3"))
    found = Findings.of([key for key in keys if key != manifest], kept(separation), INSTALL)
    assert [one.uid for one in found.hollow] == [separation.uid]


@pytest.mark.parametrize(
    ("known", "strays", "objects"),
    [(9, 1, False), (8, 2, True), (28, 3, False), (27, 4, True), (0, 1, True), (1, 1, False)],
)
def test_one_in_ten_may_go_and_one_always(known: int, strays: int, objects: bool) -> None:
    """Tracks of which something is kept do not count, whatever else goes of them."""
    many = [completed(number) for number in range(known)]
    holding = kept(*(one for one, _ in many))
    keys = [key for _, mine in many for key in mine]
    keys += [f"{INSTALL}/stems/music.stray-{number}/0123/x" for number in range(strays)]
    keys += [f"{INSTALL}/stems/{one.track_id}/loser/x" for one, _ in many]
    findings = Findings.of(keys, holding, INSTALL)
    going = findings.confirmed(SweepState(at=0, orphans=sorted(findings.orphans)))
    assert (findings.objection(going, holding) is not None) is objects


def test_uploads_that_nobody_submitted_are_no_tracks() -> None:
    holding = kept(completed()[0])
    uploads = [f"{INSTALL}/uploads/key-{number}/{UPLOAD['id']}/source" for number in range(5)]
    findings = Findings.of([*completed()[1], *uploads], holding, INSTALL)
    assert (findings.tracks, len(findings.orphans)) == (1, 5)
    assert findings.objection(findings.orphans, holding) is None


def test_an_empty_listing_is_never_believed() -> None:
    findings = Findings.of([STRAY + "x"], kept(), INSTALL)
    assert "no SeparationJob was listed" in (findings.objection(findings.orphans, kept()) or "")
    nothing: Any = Findings.of([], kept(), INSTALL)
    assert nothing.objection(frozenset(), kept()) is None
