"""`python -m stemyard_separator run`: files of this machine, separated without any other part."""

import json
import os
import pty
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from stemyard_contract.failures import FAILURES, FailureCode
from stemyard_separator.cli.progress_bar import clock, drawn
from stemyard_separator.models.folder import default_model_folder, file_sha256
from tests.support.audio import CLIP, read, tone, write_wav
from tests.support.spleeter_model import model_folder

COMMAND = [sys.executable, "-m", "stemyard_separator", "run"]
BOTH = ("instrumental", "vocals")


def environment() -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("STEMYARD_")}
    return {**kept, "STEMYARD_MODEL_DIR": str(model_folder())}


def run(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*COMMAND, *map(str, arguments)], capture_output=True, text=True, env=environment())


def test_a_song_becomes_stems_named_after_it(tmp_path: Path) -> None:
    done = run(CLIP, "--out", tmp_path / "out")

    assert done.returncode == 0, done.stderr
    files = [tmp_path / "out" / f"clip.{stem}.mp3" for stem in BOTH]
    assert done.stdout.split() == [str(path) for path in files]
    assert sorted((tmp_path / "out").iterdir()) == files, "and nothing else is left"
    assert read(files[0]).shape == read(CLIP).shape
    assert re.fullmatch(r"clip\.mp3: 0:11 of audio in \d+:\d\d, [\d.]+x real time\n", done.stderr)


@pytest.mark.parametrize("ending", ["flac", "m4a"])
def test_any_format_and_stem(tmp_path: Path, ending: str) -> None:
    done = run(CLIP, "--out", tmp_path, "--format", ending, "--stems", "vocals", "--quiet", "--peaks")

    assert done.returncode == 0
    assert done.stderr == ""
    assert sorted(path.name for path in tmp_path.iterdir()) == [f"clip.vocals.{ending}", "clip.vocals.peaks.json"]
    assert abs(read(tmp_path / f"clip.vocals.{ending}").shape[1] - read(CLIP).shape[1]) <= 1024


def test_json_tells_all_that_is_needed_to_make_it_again(tmp_path: Path) -> None:
    done = run(CLIP, "--out", tmp_path, "--json")

    [told] = [json.loads(line) for line in done.stdout.splitlines()]
    assert told["source"]["sha256"] == file_sha256(CLIP)
    assert told["samples"] == read(CLIP).shape[1]
    assert told["output"] == {"format": "mp3", "bitrate": 320}
    for stem in BOTH:
        file = Path(told["stems"][stem]["file"])
        assert (told["stems"][stem]["bytes"], told["stems"][stem]["sha256"]) == (file.stat().st_size, file_sha256(file))
        assert -30 < told["stems"][stem]["integrated_loudness"] < -9
    assert told["model_digest"].startswith("sha256:")
    assert {"decode", "separate"} == set(told["timings"])
    assert {"stemyard", "av", "onnxruntime", "numpy"} <= set(told["versions"])


def test_one_bad_file_spoils_no_other(tmp_path: Path) -> None:
    good, bad = write_wav(tmp_path / "good.wav", tone(1)), tmp_path / "bad.mp3"
    bad.write_text("no music")

    done = run(tmp_path / "absent.mp3", bad, tmp_path, good, "--out", tmp_path / "out")

    assert done.returncode == 1, "the first failure is a file that is not there"
    absent, undecodable, folder, summary = done.stderr.splitlines()
    assert absent == f"{tmp_path}/absent.mp3: No such file or directory"
    assert undecodable.endswith("(SOURCE_UNDECODABLE)")
    assert "is a folder" in folder
    assert summary.startswith("good.wav: 0:01")
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [f"good.{stem}.mp3" for stem in BOTH]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--stems", "drums"], "spleeter-2stems does not give drums; it gives instrumental, vocals"),
        (["--format", "flac", "--bit-depth", "32"], "flac has no bit depth 32"),
        (["--format", "mp3", "--bit-depth", "16"], "mp3 has no bit depth 16"),
        (["--format", "wav", "--vbr", "2"], "--vbr is for mp3 only"),
        (["elsewhere/clip.flac"], "two files are called clip"),
        (["--model", "nonsense"], "invalid choice: 'nonsense'"),
    ],
)
def test_a_wrong_command_says_what_to_change(tmp_path: Path, arguments: list[str], words: str) -> None:
    done = run(CLIP, "--out", tmp_path, *arguments)

    assert done.returncode == 2
    assert words in done.stderr
    assert not list(tmp_path.iterdir())


def test_missing_weights_are_named_with_the_way_to_get_them(tmp_path: Path) -> None:
    done = run(CLIP, "--out", tmp_path, "--model-dir", tmp_path / "empty")

    assert done.returncode == FAILURES[FailureCode.MODEL_MISSING].exit_code
    assert "stemyard-models prefetch" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_gpu_that_is_asked_for_and_no_use_is_a_failure(tmp_path: Path) -> None:
    done = run(CLIP, "--out", tmp_path, "--device", "cuda")

    assert done.returncode == FAILURES[FailureCode.DEVICE_UNAVAILABLE].exit_code


def on_a_terminal(*arguments: str | Path) -> str:
    """Return what a run shows on a terminal."""
    ours, theirs = pty.openpty()
    command = [*COMMAND, *map(str, arguments)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=theirs, env=environment())
    os.close(theirs)
    shown = b""
    while chunk := read_terminal(ours):
        shown += chunk
    os.close(ours)
    process.communicate()
    assert process.returncode == 0
    return shown.decode()


def read_terminal(terminal: int) -> bytes:
    try:
        return os.read(terminal, 4096)
    except OSError:  # a terminal whose other side is closed
        return b""


def test_a_terminal_shows_a_bar_that_goes_away(tmp_path: Path) -> None:
    shown = on_a_terminal(CLIP, "--out", tmp_path)

    assert "decoding" in shown
    assert "separating" in shown
    assert "100%" in shown
    last = shown.split("\x1b[2K")[-1]
    assert last.startswith("clip.mp3: 0:11 of audio"), "the bar is gone, the summary stays"


def test_stopping_leaves_nothing_behind(tmp_path: Path) -> None:
    song = write_wav(tmp_path / "song.wav", np.tile(read(CLIP), 20) * 0.5)
    command = [*COMMAND, str(song), "--out", str(tmp_path / "out")]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment())
    until = time.monotonic() + 60
    while not list((tmp_path / "out").glob(".stemyard-*/*.f32")) and time.monotonic() < until:
        time.sleep(0.02)

    process.send_signal(signal.SIGTERM)
    _, told = process.communicate(timeout=60)

    assert process.returncode == 130
    assert "stopped" in told
    assert "Traceback" not in told
    assert list((tmp_path / "out").iterdir()) == []


@pytest.mark.parametrize("columns", [20, 40, 80, 200])
@pytest.mark.parametrize("name", ["a.mp3", "a very long name of a song by somebody whose label likes it so.flac"])
def test_the_bar_fits_the_terminal(columns: int, name: str) -> None:
    for done in (0.0, 0.5, 1.0):
        assert len(drawn(name, "separating", done, 3.0, columns)) < columns


def test_what_the_bar_says() -> None:
    line = drawn("a.mp3", "separating", 0.25, 30.0, 80)
    assert line.startswith("a.mp3  separating ━")
    assert line.endswith("25%  1:30 left")
    assert (clock(59.6), clock(3700)) == ("1:00", "1:01:40")


@pytest.mark.parametrize(
    ("variables", "images", "folder"),
    [
        ({"STEMYARD_MODEL_DIR": "/weights"}, True, "/weights"),
        ({}, True, "images"),
        ({"XDG_CACHE_HOME": "/cache"}, False, "/cache/stemyard/models"),
    ],
)
def test_where_weights_are_looked_for(tmp_path: Path, variables: dict[str, Any], images: bool, folder: str) -> None:
    place = tmp_path / "images"
    if images:
        place.mkdir()

    found = default_model_folder(variables, place)

    assert found == (place if folder == "images" else Path(folder))
