"""A worker as its pod runs it: one process, one engine, several songs, against a desk that records it all."""

import json
import subprocess
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from stemyard_contract.failures import FAILURES, FailureCode
from stemyard_contract.handover import Assignment, MarkReference
from stemyard_contract.leasing import DESK_LEASE_PATH, PUBLISHING_LIMIT, WorkerAssignment
from stemyard_contract.separationjob import Source, Stem
from tests.support import separator_process as separator
from tests.support.audio import CLIP
from tests.support.desk_double import DeskDouble, Fault

SHAPE = "0123456789"


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """What fetch leaves of the bundled clip."""
    with DeskDouble() as desk:
        desk.files["input"] = CLIP.read_bytes()
        upload = Source.model_validate({"upload": {"id": "4b1d0a52-6f0e-4e0e-9d0e-0c6f3a0c1d11", "owner": "key"}})
        assert separator.run(separator.assignment(desk, upload), tmp_path_factory.mktemp("fetch")).exit_code == 0
        return {name: desk.files[name] for name in ("audio.flac", "source.json")}


def song(desk: DeskDouble, source: dict[str, bytes], number: int) -> Assignment:
    """A fetched song in the store."""
    uid = f"song-{number}"
    desk.files |= {f"{uid}/{name}": content for name, content in source.items()}
    desk.files["source.json"] = source["source.json"]
    return separator.assignment(desk).model_copy(update={"uid": uid, "name": uid, "track_id": f"track-{number}"})


def worker(desk: DeskDouble, **bounds: Any) -> WorkerAssignment:
    given = {"songs": 50, "idle_seconds": 0.3, "max_seconds": 600, "prefetch": 1, **bounds}
    stems = [Stem.VOCALS, Stem.INSTRUMENTAL]
    return WorkerAssignment(shape=SHAPE, model="spleeter-2stems", stems=stems, desk_url=desk.url, **given)


def ends(desk: DeskDouble) -> dict[str, FailureCode | None]:
    return {end.uid: end.outcome.code for request in desk.leases for end in request.ended}


def until(holds: Callable[[], object], process: "subprocess.Popen[str]") -> None:
    deadline = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < deadline
        assert process.poll() is None, process.stdout.read() if process.stdout else ""
        time.sleep(0.02)


def test_a_worker_separates_several_songs_with_one_engine(
    desk: DeskDouble, source: dict[str, bytes], tmp_path: Path
) -> None:
    desk.songs = [song(desk, source, number) for number in range(3)]
    ended = separator.run(worker(desk), tmp_path)
    assert ended.exit_code == 0, ended.output
    assert ended.outcome is not None
    assert ended.outcome.code is None
    assert ends(desk) == {f"song-{number}": None for number in range(3)}
    said = Counter(line["message"] for line in ended.lines())
    assert (said["model loaded"], said["stage succeeded"]) == (1, 3)
    succeeded = [line for line in ended.lines() if line["message"] == "stage succeeded"]
    assert sorted(line["track_id"] for line in succeeded) == ["track-0", "track-1", "track-2"]
    for number in range(3):
        mark = json.loads(desk.files[f"song-{number}/manifest.json"])
        assert mark["uid"] == f"song-{number}"
        assert mark["timings"]["start"] < 5, "a song's time begins with its lease"
        assert desk.files[f"song-{number}/vocals.mp3"]
        assert 0 < mark["networkSeconds"] <= mark["timings"]["separate"] + 0.01
    finished = sorted(said.separation.uid for said in desk.finished if said.separation)
    assert finished == ["song-0", "song-1", "song-2"]
    assert list((tmp_path / "work").iterdir()) == [], "no files are left between songs"


def test_the_songs_are_what_a_job_of_its_own_makes_of_them(
    desk: DeskDouble, source: dict[str, bytes], tmp_path: Path
) -> None:
    desk.songs = [song(desk, source, number) for number in range(2)]
    assert separator.run(worker(desk), tmp_path / "worker").exit_code == 0
    desk.files["audio.flac"] = source["audio.flac"]
    assert separator.run(separator.assignment(desk), tmp_path / "own").exit_code == 0
    for name in ("vocals.mp3", "instrumental.mp3", "vocals.peaks.json"):
        assert desk.files[f"song-0/{name}"] == desk.files[f"song-1/{name}"] == desk.files[name]


def test_the_next_song_is_leased_while_one_is_separated(
    desk: DeskDouble, source: dict[str, bytes], tmp_path: Path
) -> None:
    desk.songs = [song(desk, source, number) for number in range(3)]
    assert separator.run(worker(desk), tmp_path).exit_code == 0
    most = max(len(request.holding) for request in desk.leases)
    assert 1 <= most <= 2 + PUBLISHING_LIMIT, "one prefetched, one at the engine, the others being published"
    asked = [(request.holding, [end.uid for end in request.ended]) for request in desk.leases if request.wanted]
    assert any("song-0" in holding for holding, _ in asked)


def test_without_prefetch_a_song_is_asked_for_when_the_engine_is_free(
    desk: DeskDouble, source: dict[str, bytes], tmp_path: Path
) -> None:
    desk.songs = [song(desk, source, number) for number in range(2)]
    assert separator.run(worker(desk, prefetch=0), tmp_path).exit_code == 0
    assert ends(desk) == {"song-0": None, "song-1": None}


@pytest.mark.parametrize("bound", [{"songs": 2}, {"max_seconds": 0.01}])
def test_a_worker_has_bounds(
    desk: DeskDouble, source: dict[str, bytes], tmp_path: Path, bound: dict[str, float]
) -> None:
    desk.songs = [song(desk, source, number) for number in range(3)]
    ended = separator.run(worker(desk, **bound), tmp_path)
    assert ended.exit_code == 0
    assert len(ends(desk)) == bound.get("songs", 0)


def test_a_worker_without_songs_ends(desk: DeskDouble, tmp_path: Path) -> None:
    ended = separator.run(worker(desk, idle_seconds=0), tmp_path)
    assert ended.exit_code == 0
    assert desk.leases[0].starting_seconds is not None
    assert desk.leases[0].shape == SHAPE


def test_a_failed_song_does_not_end_the_worker(desk: DeskDouble, source: dict[str, bytes], tmp_path: Path) -> None:
    broken = song(desk, source, 0)
    broken = broken.model_copy(update={"fetched": MarkReference(key="k", sha256="0" * 64)})
    desk.songs = [broken, song(desk, source, 1)]
    ended = separator.run(worker(desk), tmp_path)
    assert ended.exit_code == 0
    assert ends(desk) == {"song-0": FailureCode.ARTIFACT_MISMATCH, "song-1": None}


def test_a_song_that_is_not_held_any_more_is_dropped(
    desk: DeskDouble, source: dict[str, bytes], tmp_path: Path
) -> None:
    desk.songs = [song(desk, source, number) for number in range(2)]
    desk.lost = {"song-0"}
    ended = separator.run(worker(desk), tmp_path)
    assert ended.exit_code == 0
    assert ends(desk) == {"song-1": None}
    assert "song-0/manifest.json" not in desk.files


def test_a_song_that_waits_for_its_turn_is_dropped_too(
    desk: DeskDouble, source: dict[str, bytes], tmp_path: Path
) -> None:
    desk.songs = [song(desk, source, number) for number in range(2)]
    held = True
    desk.hold_back = ("song-0/audio.flac", lambda: not held)
    process = separator.start(worker(desk), tmp_path)
    until(lambda: any("song-1" in request.holding for request in desk.leases) or not desk.songs, process)
    desk.lost = {"song-1"}
    until(lambda: desk.leases[-1].wanted and desk.leases[-1].holding == ["song-0"], process)
    held = False
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 0, output
    assert ends(desk) == {"song-0": None}


def test_a_desk_that_is_away_is_waited_for(desk: DeskDouble, source: dict[str, bytes], tmp_path: Path) -> None:
    desk.songs = [song(desk, source, 0)]
    desk.faults = [Fault(DESK_LEASE_PATH, 503, times=4)]
    assert separator.run(worker(desk, idle_seconds=0), tmp_path).exit_code == 0
    assert ends(desk) == {"song-0": None}


def test_a_worker_of_another_shape_ends(desk: DeskDouble, tmp_path: Path) -> None:
    desk.faults = [Fault(DESK_LEASE_PATH, 409)]
    assert separator.run(worker(desk, idle_seconds=3600), tmp_path).exit_code == 0


def test_an_engine_that_is_not_there_fails_one_song_and_ends_the_worker(
    desk: DeskDouble, source: dict[str, bytes], tmp_path: Path
) -> None:
    (tmp_path / "models").mkdir()
    desk.songs = [song(desk, source, number) for number in range(3)]
    ended = separator.run(worker(desk), tmp_path, STEMYARD_MODEL_DIR=str(tmp_path / "models"))
    assert ended.exit_code == FAILURES[FailureCode.MODEL_MISSING].exit_code
    assert ends(desk) == {"song-0": FailureCode.MODEL_MISSING}
    assert ended.outcome is not None
    assert ended.outcome.code is FailureCode.MODEL_MISSING
