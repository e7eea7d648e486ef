"""Files as people really have them, as uploads through both Jobs: the corpus of `bench.media` has more of them."""

from pathlib import Path

import httpx
import numpy as np
import pytest

from bench.media.case import Case
from bench.media.containers import containers
from bench.media.damage import damaged, no_audio, tags
from bench.media.levels import levels
from bench.media.reference import reference
from tests.cluster.conftest import System
from tests.cluster.separations import follow, submit, upload
from tests.support.audio import Audio, read, si_sdr

CHOSEN = frozenset(
    {
        "120-dB-above-full-scale.wav",
        "16-channels.wav",
        "chained-of-other-rate.ogg",
        "cut-m4a.m4a",
        "dsd.dsf",
        "half-of-two-gigabytes.wav",
        "id3v1-cp1251.mp3",
        "one-nan.wav",
        "opposite-channels.wav",
        "song-is-second.mkv",
        "sound-begins-late.mp4",
        "wavpack.wv",
        "web-page.mp3",
    }
)
LEAST_SNR = 60.0


def chosen() -> list[Case]:
    return [case for maker in (levels, containers, tags, damaged, no_audio) for case in maker() if case.name in CHOSEN]


@pytest.fixture(scope="module")
def states(system: System, tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, object]]:
    """Upload and request everything at once; return how each file ended."""
    folder = tmp_path_factory.mktemp("inputs")
    tracks = {}
    for case in chosen():
        path = folder / case.name
        path.write_bytes(case.make())
        request = {"upload_id": upload(system.service, path), "format": "flac"}
        tracks[case.name] = str(submit(system.service, request)["track_id"])
    assert tracks.keys() == CHOSEN
    return {name: list(follow(system.service, track, 900))[-1] for name, track in tracks.items()}


@pytest.mark.parametrize("case", chosen(), ids=lambda case: str(case.name))
def test_a_nasty_file_ends_as_it_does_on_one_machine(
    states: dict[str, dict[str, object]], case: Case, tmp_path: Path
) -> None:
    state = states[case.name]
    if case.expected != "ok":
        assert (state["status"], state.get("code")) == ("failed", case.expected)
        return
    assert state["status"] == "completed", state
    path = tmp_path / case.name
    path.write_bytes(case.make())
    total = sum_of_stems(state, tmp_path)
    expected = reference(path)
    assert expected is not None
    if not case.reason:
        assert total.shape == expected.shape
        assert si_sdr(np.nan_to_num(expected, posinf=0, neginf=0), total) > LEAST_SNR


def sum_of_stems(state: dict[str, object], folder: Path) -> Audio:
    result = state["result"]
    assert isinstance(result, dict)
    stems = []
    for stem in ("vocals", "instrumental"):
        file = folder / f"{stem}.flac"
        file.write_bytes(httpx.get(result[f"{stem}_url"], timeout=60).raise_for_status().content)
        stems.append(read(file))
    vocals, instrumental = stems
    return vocals + instrumental
