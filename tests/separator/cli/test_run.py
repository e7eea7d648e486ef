"""`python -m stemyard_separator run` on local files."""

import json
import os
import pty
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from stemyard_contract.failures import FAILURES, FailureCode
from stemyard_separator.models.folder import file_sha256
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
    assert sorted((tmp_path / "out").iterdir()) == files, "and no other files"
    assert read(files[0]).shape == read(CLIP).shape
    assert re.fullmatch(r"clip\.mp3: 0:11 of audio in \d+:\d\d, [\d.]+x real time\n", done.stderr)


@pytest.mark.parametrize("ending", ["flac", "m4a"])
def test_any_format_and_stem(tmp_path: Path, ending: str) -> None:
    done = run(CLIP, "--out", tmp_path, "--format", ending, "--stems", "vocals", "--quiet", "--peaks")

    assert done.returncode == 0
    assert done.stderr == ""
    assert sorted(path.name for path in tmp_path.iterdir()) == [f"clip.vocals.{ending}", "clip.vocals.peaks.json"]
    assert abs(read(tmp_path / f"clip.vocals.{ending}").shape[1] - read(CLIP).shape[1]) <= 1024


def test_json_contains_everything_to_reproduce_a_result(tmp_path: Path) -> None:
    done = run(CLIP, "--out", tmp_path, "--json")

    [result] = [json.loads(line) for line in done.stdout.splitlines()]
    assert result["source"]["sha256"] == file_sha256(CLIP)
    assert result["samples"] == read(CLIP).shape[1]
    assert result["output"] == {"format": "mp3", "bitrate": 320}
    for stem in BOTH:
        file = Path(result["stems"][stem]["file"])
        assert (result["stems"][stem]["bytes"], result["stems"][stem]["sha256"]) == (
            file.stat().st_size,
            file_sha256(file),
        )
        assert -30 < result["stems"][stem]["integrated_loudness"] < -9
    assert result["model_digest"].startswith("sha256:")
    assert {"decode", "separate"} == set(result["timings"])
    assert {"stemyard", "av", "onnxruntime", "numpy"} <= set(result["versions"])


def test_one_bad_file_does_not_affect_the_others(tmp_path: Path) -> None:
    good, bad = write_wav(tmp_path / "good.wav", tone(1)), tmp_path / "bad.mp3"
    bad.write_text("no music")

    done = run(tmp_path / "absent.mp3", bad, tmp_path, good, "--out", tmp_path / "out")

    assert done.returncode == 1, "the first failure is a missing file"
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
def test_invalid_arguments_are_explained(tmp_path: Path, arguments: list[str], words: str) -> None:
    done = run(CLIP, "--out", tmp_path, *arguments)

    assert done.returncode == 2
    assert words in done.stderr
    assert not list(tmp_path.iterdir())


def test_missing_weights_are_explained(tmp_path: Path) -> None:
    done = run(CLIP, "--out", tmp_path, "--model-dir", tmp_path / "empty")

    assert done.returncode == FAILURES[FailureCode.MODEL_MISSING].exit_code
    assert "stemyard-models prefetch" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_required_but_unusable_gpu_is_an_error(tmp_path: Path) -> None:
    done = run(CLIP, "--out", tmp_path, "--device", "cuda")

    assert done.returncode == FAILURES[FailureCode.DEVICE_UNAVAILABLE].exit_code


def on_a_terminal(*arguments: str | Path) -> str:
    """Return the terminal output of a run."""
    ours, theirs = pty.openpty()
    command = [*COMMAND, *map(str, arguments)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=theirs, env=environment())
    os.close(theirs)
    output = b""
    while chunk := read_terminal(ours):
        output += chunk
    os.close(ours)
    process.communicate()
    assert process.returncode == 0
    return output.decode()


def read_terminal(terminal: int) -> bytes:
    try:
        return os.read(terminal, 4096)
    except OSError:  # the other side is closed
        return b""


def test_a_terminal_shows_a_temporary_progress_bar(tmp_path: Path) -> None:
    output = on_a_terminal(CLIP, "--out", tmp_path)

    assert "decoding" in output
    assert "separating" in output
    assert "100%" in output
    last = output.split("\x1b[2K")[-1]
    assert last.startswith("clip.mp3: 0:11 of audio"), "the bar is cleared, the summary remains"


def test_an_interrupted_run_leaves_no_files(tmp_path: Path) -> None:
    song = write_wav(tmp_path / "song.wav", np.tile(read(CLIP), 20) * 0.5)
    command = [*COMMAND, str(song), "--out", str(tmp_path / "out")]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment())
    deadline = time.monotonic() + 60
    while not list((tmp_path / "out").glob(".stemyard-*/*.f32")) and time.monotonic() < deadline:
        time.sleep(0.02)

    process.send_signal(signal.SIGTERM)
    _, stderr = process.communicate(timeout=60)

    assert process.returncode == 130
    assert "stopped" in stderr
    assert "Traceback" not in stderr
    assert list((tmp_path / "out").iterdir()) == []
