"""`python -m stemyard_separator run` on local files."""

import json
import os
import pty
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import get_args

import av
import numpy as np
import pytest

from stemyard_contract.failures import FAILURES, FailureCode
from stemyard_contract.output import AudioFormat, Output
from stemyard_separator.audio.cover import read_cover
from stemyard_separator.audio.decode import DecodedAudio, decode
from stemyard_separator.audio.formats import encoding_for
from stemyard_separator.audio.media import StemWriter
from stemyard_separator.cli.run import run_locally
from stemyard_separator.models.folder import file_sha256
from tests.support.audio import CLIP, COVER, RATE, read, si_sdr, tone, write_float_wav, write_wav
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


def test_an_existing_file_is_replaced_only_with_force(tmp_path: Path) -> None:
    song, taken = write_wav(tmp_path / "song.wav", tone(1)), tmp_path / "song.vocals.mp3"
    taken.write_text("precious")

    refused = run(song, "--out", tmp_path)
    assert refused.returncode == 1
    assert refused.stderr == f"{song}: exists already; --force replaces it ({taken})\n"
    assert taken.read_text() == "precious"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["song.vocals.mp3", "song.wav"]

    forced = run(song, "--out", tmp_path, "--force", "--quiet")
    assert forced.returncode == 0, forced.stderr
    assert read(taken).shape == (2, RATE)


def test_a_link_to_nothing_is_replaced_only_with_force(tmp_path: Path) -> None:
    song, taken = write_wav(tmp_path / "song.wav", tone(1)), tmp_path / "song.vocals.mp3"
    taken.symlink_to("nowhere")

    assert run(song, "--out", tmp_path).returncode == 1
    assert taken.is_symlink()
    assert run(song, "--out", tmp_path, "--force").returncode == 0
    assert read(taken).shape == (2, RATE)


def test_a_folder_with_the_name_of_a_stem_is_named_at_once_and_kept(tmp_path: Path) -> None:
    song, taken = write_wav(tmp_path / "song.wav", tone(1)), tmp_path / "song.vocals.mp3"
    taken.mkdir()

    done = run(song, "--out", tmp_path, "--force")

    assert done.returncode == 1
    assert done.stderr == f"{song}: is a folder and cannot be replaced ({taken})\n"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["song.vocals.mp3", "song.wav"], "no other stem"


def test_a_song_can_come_from_a_pipe(tmp_path: Path) -> None:
    song, pipe = write_wav(tmp_path / "song.wav", tone(30)), tmp_path / "pipe.wav"
    os.mkfifo(pipe)
    writer = threading.Thread(target=lambda: pipe.write_bytes(song.read_bytes()))
    writer.start()

    done = run(pipe, "--out", tmp_path / "out", "--json", "--stems", "vocals")
    writer.join()

    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["source"]["sha256"] == file_sha256(song)
    assert read(tmp_path / "out" / "pipe.vocals.mp3").shape == (2, 30 * RATE)


def test_a_link_is_explained(tmp_path: Path) -> None:
    done = run("https://example.org/song.mp3", "--out", tmp_path)

    assert done.returncode == 1
    assert done.stderr.endswith(": is a link; download it first, or use `stemyard separate`\n")


def test_a_terminal_is_given_no_control_characters_of_names(tmp_path: Path) -> None:
    song = write_wav(tmp_path / "a\x1b]0;title\x07\nsong.wav", tone(1))
    (tmp_path / "\x1b[31mempty.wav").touch()

    done = run(song, tmp_path / "\x1b[31mempty.wav", "--out", tmp_path / "out", "--quiet")
    summary = run(song, "--out", tmp_path / "other")

    assert done.returncode == FAILURES[FailureCode.SOURCE_UNDECODABLE].exit_code
    assert len(done.stderr.splitlines()) == len(summary.stderr.splitlines()) == 1
    assert "\x1b" not in done.stderr + summary.stderr
    assert "a ]0;title  song.wav: 0:01" in summary.stderr
    assert f"{tmp_path / 'out' / song.stem}.vocals.mp3" in done.stdout, "names are printed as they are for scripts"


def test_an_input_is_never_replaced(tmp_path: Path) -> None:
    song = write_wav(tmp_path / "song.wav", tone(1))
    other = write_wav(tmp_path / "song.vocals.wav", tone(1))
    before = other.read_bytes()

    done = run(song, other, "--out", tmp_path, "--format", "wav", "--force", "--quiet")

    assert done.returncode == 1
    assert "is an input and would be replaced" in done.stderr
    assert other.read_bytes() == before
    assert (tmp_path / "song.vocals.vocals.wav").exists(), "the other file is separated"


def test_a_name_too_long_for_its_stems_is_shortened(tmp_path: Path) -> None:
    song = write_wav(tmp_path / f"{'歌' * 82}n.wav", tone(1))

    done = run(song, "--out", tmp_path / "out", "--quiet", "--peaks")

    assert done.returncode == 0, done.stderr
    names = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert len(names) == 4
    assert len(names[0].encode()) <= 255
    assert names[1] == f"{'歌' * 77}.instrumental.peaks.json"


@pytest.mark.parametrize("locale", ["C", "C.UTF-8", "POSIX", "en_US.ISO-8859-1"])
def test_a_name_that_is_not_utf_8_is_kept_under_any_locale(tmp_path: Path, locale: str) -> None:
    folder = os.fsencode(tmp_path) + b"/stem\xe9s"
    song = os.fsencode(tmp_path) + b"/caf\xe9: live \xe6.wav"
    write_wav(tmp_path / "song.wav", tone(1)).rename(os.fsdecode(song))
    variables = {**environment(), "LC_ALL": locale, "PYTHONIOENCODING": "", "PYTHONUTF8": "", "PYTHONCOERCECLOCALE": ""}

    command: list[str | bytes] = [*COMMAND, song, "--out", folder, "--stems", "vocals"]
    done = subprocess.run(command, capture_output=True, env=variables)

    assert done.returncode == 0, done.stderr
    assert done.stdout == folder + b"/caf\xe9: live \xe6.vocals.mp3\n"
    [stem] = Path(os.fsdecode(folder)).iterdir()
    assert os.fsencode(stem.name) == b"caf\xe9: live \xe6.vocals.mp3"


def test_an_unexpected_error_does_not_end_the_other_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails_once(path: Path, *arguments: object) -> DecodedAudio:
        if path.name == "bad.wav":
            raise RuntimeError("a fault")
        return decode(path, *arguments)  # type: ignore[arg-type]

    bad, good = write_wav(tmp_path / "bad.wav", tone(1)), write_wav(tmp_path / "good.wav", tone(1))
    monkeypatch.setattr("stemyard_separator.cli.run.decode", fails_once)

    code = run_locally([str(bad), str(good), "--out", str(tmp_path / "out"), "--model-dir", str(model_folder())])

    assert code == FAILURES[FailureCode.INTERNAL].exit_code
    assert len(list((tmp_path / "out").iterdir())) == 2


TAGS = {"album": "Best of", "date": "1988", "track": "3/12", "genre": "Rock", "title": "Song", "artist": "Someone"}
WITHOUT_COVER = ("wav",)
WITH_COVER = tuple(name for name in get_args(AudioFormat) if name not in WITHOUT_COVER)


def tagged(folder: Path, kind: str) -> Path:
    """Return a song with tags and, in some formats, a cover."""
    encoding = encoding_for(Output(format=kind))
    path = folder / f"song.{kind}"
    with StemWriter(path, encoding, TAGS, COVER if kind in WITH_COVER else None) as writer:
        writer.write(tone(1).astype(np.float32))
    return path


@pytest.mark.parametrize("source", [*WITH_COVER, *WITHOUT_COVER])
@pytest.mark.parametrize("target", ["mp3", "opus"])
def test_tags_and_cover_are_carried_over(tmp_path: Path, source: str, target: str) -> None:
    run(tagged(tmp_path, source), "--out", tmp_path / "out", "--format", target, "--stems", "vocals", "--quiet")

    assert_tagged(tmp_path / "out" / f"song.vocals.{target}", source in WITH_COVER)


@pytest.mark.parametrize("target", sorted({*get_args(AudioFormat)} - {"mp3", "opus"}))
def test_every_format_carries_tags_over(tmp_path: Path, target: str) -> None:
    run(tagged(tmp_path, "flac"), "--out", tmp_path / "out", "--format", target, "--stems", "vocals", "--quiet")

    assert_tagged(tmp_path / "out" / f"song.vocals.{target}", target in WITH_COVER)


def assert_tagged(path: Path, has_cover: bool) -> None:
    with av.open(str(path)) as file:
        tags = {key.lower(): value for each in (file, file.streams.audio[0]) for key, value in each.metadata.items()}
    kept = {name: tags.get(name) for name in TAGS if name != "title"}
    assert kept == {name: value for name, value in TAGS.items() if name != "title"}
    assert tags["title"] == "Song (vocals)"
    assert read_cover(path) == (COVER if has_cover else None)
    assert read(path).shape[1] > 0.9 * RATE


def test_stems_may_have_the_sample_rate_of_their_source(tmp_path: Path) -> None:
    song = write_wav(tmp_path / "song.wav", tone(1, 96_000), 96_000)

    done = run(song, "--out", tmp_path / "out", "--format", "flac", "--sample-rate", "source", "--stems", "vocals")

    assert done.returncode == 0, done.stderr
    assert read(tmp_path / "out" / "song.vocals.flac").shape == (2, 96_000)


def test_stems_may_have_the_channels_of_their_source(tmp_path: Path) -> None:
    song, wide = write_wav(tmp_path / "song.wav", tone(1, channels=1)), write_wav(tmp_path / "wide.wav", tone(1))

    done = run(song, wide, "--out", tmp_path / "out", "--format", "flac", "--channels", "source")

    assert done.returncode == 0, done.stderr
    stems = [read(tmp_path / "out" / f"song.{stem}.flac") for stem in BOTH]
    assert [stem.shape for stem in stems] == [(1, RATE)] * 2
    assert si_sdr(read(song), stems[0] + stems[1]) > 80, "they sum to the mix"
    assert read(tmp_path / "out" / "wide.vocals.flac").shape == (2, RATE)


def test_damage_is_reported(tmp_path: Path) -> None:
    song = tone(1)
    song[0, 500] = np.nan

    done = run(write_float_wav(tmp_path / "song.wav", song), "--out", tmp_path / "out", "--json")

    assert done.stderr.endswith("; 1 damaged sample(s) are silent\n")
    assert json.loads(done.stdout)["invalid_samples"] == 1


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--stems", "drums"], "spleeter-2stems does not give drums; it gives instrumental, vocals"),
        (["--format", "flac", "--bit-depth", "32"], "flac has no bit depth 32"),
        (["--format", "mp3", "--bit-depth", "16"], "mp3 has no bit depth 16"),
        (["--format", "wav", "--vbr", "2"], "--vbr is for mp3 only"),
        (["--format", "opus", "--sample-rate", "48000"], "--sample-rate is not for opus"),
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


@pytest.mark.parametrize("numbers", [(signal.SIGTERM,), (signal.SIGINT,) * 2, (signal.SIGHUP,) * 2])
def test_an_interrupted_run_leaves_no_files(tmp_path: Path, numbers: tuple[signal.Signals, ...]) -> None:
    song = write_wav(tmp_path / "song.wav", np.tile(read(CLIP), 20) * 0.5)
    # a child inherits what is ignored, as under nohup or in the background
    handlers = {number: signal.signal(number, signal.SIG_DFL) for number in set(numbers)}
    process = subprocess.Popen(
        [*COMMAND, str(song), "--out", str(tmp_path / "out")], stderr=subprocess.PIPE, text=True, env=environment()
    )
    for number, handler in handlers.items():
        signal.signal(number, handler)
    deadline = time.monotonic() + 60
    while not list((tmp_path / "out").glob(".stemyard-*/*.spool")) and time.monotonic() < deadline:
        time.sleep(0.02)

    for number in numbers:
        process.send_signal(number)
        time.sleep(0.05)
    _, stderr = process.communicate(timeout=60)

    assert process.returncode == 130
    assert "stopped" in stderr
    assert "Traceback" not in stderr
    assert list((tmp_path / "out").iterdir()) == []
