"""What a sweep takes for an orphan, and when it would rather do nothing."""

import gc
import json
import tracemalloc
from typing import Any

import pytest

from stemyard_contract.handover import WorkStage
from stemyard_operator.maintenance.orphans import Comparison, Findings, SweepState, seen_before
from stemyard_operator.maintenance.references import References
from stemyard_operator.maintenance.sweep_scope import Scope
from stemyard_operator.model.separation import Resource
from tests.operator.decision.test_decide import separating
from tests.operator.world import INSTALL, NAMESPACE, World, settings

UPLOAD = {"id": "0b1f2f3e-0000-4000-8000-000000000000", "owner": "default"}
STRAY = f"{INSTALL}/stems/music.gone/0123/"
SCOPE = Scope.of(settings())
TRACK = "6ba7b810-9dad-51d1-80b4-00c04fd430c8"
"""A track of the API."""


def completed(number: int = 0) -> tuple[Resource, list[str]]:
    """A completed separation and its keys."""
    world = separating(World())
    world.succeed(world.job(WorkStage.SEPARATE))
    world.settle()
    status = world.separation.status.model_dump_json(by_alias=True, exclude_none=True)
    resource = {**world.resource, "status": json.loads(status.replace("music.song", f"music.song-{number}"))}
    resource["metadata"]["name"] = f"song-{number}"
    return resource, [key.replace("music.song", f"music.song-{number}") for key in world.objects]


def referred(*separations: Resource) -> References:
    found = References(INSTALL, NAMESPACE)
    for one in separations:
        found.add(one)
    return found


def compared(keys: list[str], references: References, scope: Scope = SCOPE) -> Findings:
    comparison = Comparison(references, scope)
    for start in range(0, len(keys), 3):
        comparison.add(keys[start : start + 3])
    return comparison.findings()


def test_what_a_separation_names_is_kept_and_losers_are_not() -> None:
    separation, keys = completed()
    loser = f"{INSTALL}/stems/music.song-0/ffff/"
    found = compared([*keys, loser + "vocals.mp3", STRAY + "manifest.json"], referred(separation))
    assert found.orphans == {loser, STRAY}
    assert found.hollow == ()
    assert found.tracks == 2


def test_what_a_status_states_of_another_track_is_kept_but_is_no_result() -> None:
    """Whoever may write a status could name anything: that neither removes an object nor is a reason to stop."""
    separation, _ = completed()
    status = json.dumps(separation["status"]).replace("music.song-0", "music.victim")
    forger = {**separation, "status": json.loads(status)}
    keys = [forger["status"]["result"]["manifestKey"], STRAY + "x"]
    found = compared(keys, referred(forger))
    assert found.orphans == {STRAY}
    assert found.hollow == ()


def test_everything_of_a_track_under_way_is_kept() -> None:
    own = World().resource
    keys = [f"{INSTALL}/{room}/music.song/0123/x" for room in ("work", "stems")]
    assert compared(keys, referred(own)).orphans == frozenset()
    assert len(compared(keys, referred(completed()[0])).orphans) == 2


def test_an_upload_goes_with_what_names_it() -> None:
    world = World(spec={"source": {"upload": UPLOAD}})
    key = f"{INSTALL}/uploads/default/{UPLOAD['id']}/source"
    assert compared([key], referred(world.resource)).orphans == frozenset()
    assert compared([key], referred()).orphans == {key.removesuffix("source")}


UNREADABLE: list[Any] = [
    {"source": {"url": "https://example.com/a\u3000b"}},
    {"source": {"url": "https://example.com/a"}, "webhooks": [{"url": "https://h:99999/"}], "stems": ["kazoo"]},
    {"source": {"upload": UPLOAD}, "run": "first"},
    {"source": []},
    {},
    None,
]


@pytest.mark.parametrize("spec", UNREADABLE)
def test_an_unreadable_separation_counts_as_unfinished(spec: Any) -> None:
    """The CRD accepts more than the types; its track, what its status names and its upload are kept."""
    separation, keys = completed()
    resource = {**separation, "spec": spec}
    keys += [f"{INSTALL}/{room}/music.song-0/ffff/x" for room in ("work", "stems")]
    found = compared([*keys, STRAY + "x"], references := referred(resource, completed(1)[0]))
    assert (references.separations, references.unreadable) == (2, 1)
    assert found.orphans == {STRAY}
    assert found.hollow == (("music", "song-1"),), "of the readable one, which has no objects"


@pytest.mark.parametrize("status", [{"phase": "Dreaming"}, {"result": {"stems": 3}}, [], "x"])
def test_an_unreadable_status_keeps_what_it_names(status: Any) -> None:
    elsewhere = f"{INSTALL}/stems/{TRACK}/0123/"
    upload = f"{INSTALL}/uploads/default/{UPLOAD['id']}/"
    if isinstance(status, dict):
        status = {**status, "earlier": [{"manifestKey": elsewhere + "manifest.json"}]}
    resource = {**World(spec={"source": {"upload": UPLOAD}}).resource, "status": status}
    keys = [f"{INSTALL}/stems/music.song/ffff/x", upload + "source", STRAY + "x"]
    if isinstance(status, dict):
        keys.append(elsewhere + "vocals.mp3")
    assert compared(keys, referred(resource)).orphans == {STRAY}


@pytest.mark.parametrize(
    ("key", "namespaces", "judged"),
    [
        (f"{INSTALL}/stems/music.gone/0123/x", {"music", "api"}, True),
        (f"{INSTALL}/stems/music.gone/0123/x", {"api"}, False),
        (f"{INSTALL}/work/music.with.dots/0123/x", {"api"}, False),
        (f"{INSTALL}/work/music.with.dots/0123/x", {"music"}, True),
        (f"{INSTALL}/stems/{TRACK}/0123/x", {"api"}, True),
        (f"{INSTALL}/stems/{TRACK}/0123/x", {"music"}, False),
        (f"{INSTALL}/uploads/default/{UPLOAD['id']}/source", {"api"}, True),
        (f"{INSTALL}/uploads/music.x/{UPLOAD['id']}/source", {"music"}, False),
        (f"{INSTALL}/stems/of-an-unknown-track/0123/x", {"music", "api"}, False),
        (f"{INSTALL}/stems/{TRACK.upper()}/0123/x", {"music", "api"}, False),
    ],
)
def test_only_what_belongs_to_a_watched_namespace_is_judged(key: str, namespaces: set[str], judged: bool) -> None:
    scope = Scope(INSTALL, frozenset(namespaces), "api")
    found = compared([key], referred(), scope)
    assert len(found.orphans) == judged
    assert found.unwatched == (not judged)
    assert found.tracks == (judged and "/uploads/" not in key), "the safety limit counts what is judged"


@pytest.mark.parametrize(
    ("manifest", "included"),
    [
        (b'{"asked": {"namespace": "music", "name": "song", "source": {}}}', True),
        (b'{"asked": {"namespace": "left", "name": "song"}}', False),
        (b'{"asked": null}', True),
        (b"{}", True),
        (b"<html>", True),
        (None, True),
    ],
)
def test_a_manifest_names_the_namespace(manifest: bytes | None, included: bool) -> None:
    assert SCOPE.includes_result(manifest) is included


def test_the_api_is_in_the_operators_namespace_where_nothing_else_is_set() -> None:
    assert SCOPE.api_namespace == NAMESPACE
    assert Scope.of(settings(api_namespace="front")).api_namespace == "front"


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
    found = compared([key], referred())
    assert (found.orphans, found.unwatched) == (frozenset(), 0)


def test_only_what_two_sweeps_found_goes() -> None:
    findings = compared([STRAY + "x"], referred(completed()[0]))
    assert findings.confirmed(None) == frozenset()
    first = SweepState(at=1000.0, orphans=sorted(findings.orphans))
    assert findings.confirmed(seen_before(first.model_dump_json().encode())) == {STRAY}
    assert findings.confirmed(seen_before(b'{"at": 1000.0, "orphans": []}')) == frozenset()
    assert seen_before(b"{") is None
    assert seen_before(b"<html>maintenance</html>") is None


def test_a_result_that_is_not_there_is_missed() -> None:
    separation, keys = completed()
    for missing in [key for key in keys if "/stems/" in key and "peaks" not in key]:
        found = compared([key for key in keys if key != missing], referred(separation, completed(1)[0]))
        assert set(found.hollow) == {("music", "song-0"), ("music", "song-1")}
    assert compared(keys, referred(separation)).hollow == ()


@pytest.mark.parametrize(
    ("known", "strays", "objects"),
    [(9, 1, False), (8, 2, True), (28, 3, False), (27, 4, True), (0, 1, True), (1, 1, False)],
)
def test_one_in_ten_may_go_and_one_always(known: int, strays: int, objects: bool) -> None:
    """Tracks of which something is kept do not count, whatever else goes of them."""
    many = [completed(number) for number in range(known)]
    holding = referred(*(one for one, _ in many))
    keys = [key for _, mine in many for key in mine]
    keys += [f"{INSTALL}/stems/music.stray-{number}/0123/x" for number in range(strays)]
    keys += [f"{INSTALL}/stems/music.song-{number}/loser/x" for number in range(known)]
    findings = compared(keys, holding)
    going = findings.confirmed(SweepState(at=0, orphans=sorted(findings.orphans)))
    assert (findings.objection(going, holding) is not None) is objects


def test_uploads_that_were_not_submitted_are_no_tracks() -> None:
    separation, mine = completed()
    holding = referred(separation)
    uploads = [f"{INSTALL}/uploads/key-{number}/{UPLOAD['id']}/source" for number in range(5)]
    findings = compared([*mine, *uploads], holding)
    assert (findings.tracks, len(findings.orphans)) == (1, 5)
    assert findings.objection(findings.orphans, holding) is None


def test_an_empty_listing_is_never_believed() -> None:
    findings = compared([STRAY + "x"], referred())
    assert "no SeparationJob was listed" in (findings.objection(findings.orphans, referred()) or "")
    assert compared([], referred()).objection(frozenset(), referred()) is None


def test_references_keep_no_separation() -> None:
    """The sweep of ten thousand runs beside the cache of ten thousand."""
    many = [completed(number) for number in range(50)]
    gc.collect()
    tracemalloc.start()
    try:
        references = referred(*(json.loads(json.dumps(one)) for one, _ in many))
        gc.collect()
        kept, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert references.separations == 50
    assert kept / 50 < 1500
