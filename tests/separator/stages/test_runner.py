"""Both stages as pods run them, on real audio: published files, Outcomes and failures."""

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from stemyard_contract.failures import FAILURES, FailureCode
from stemyard_contract.handover import Manifest, WorkStage
from stemyard_contract.separationjob import Source, Stem
from stemyard_separator.models.folder import file_sha256
from tests.support import separator_process as separator
from tests.support.audio import CLIP, Audio, golden_stems, lag, read, si_sdr, tone, write_float_wav, write_wav
from tests.support.desk_double import PREFIX, SIGNATURE, TOKEN, DeskDouble, Fault

MIN_SI_SDR = 9.0


def fetched(desk: DeskDouble, upload: Source, content: bytes, folder: Path) -> None:
    desk.files["input"] = content
    ended = separator.run(separator.assignment(desk, upload, max_bytes=1 << 30), folder / "fetch")
    assert ended.exit_code == 0, ended.output


def decoded(desk: DeskDouble, name: str, folder: Path) -> Audio:
    path = folder / name
    path.write_bytes(desk.files[name])
    return read(path)


def test_the_clip_becomes_measured_audio_and_a_mark(desk: DeskDouble, upload: Source, tmp_path: Path) -> None:
    desk.files["input"] = CLIP.read_bytes()

    ended = separator.run(separator.assignment(desk, upload), tmp_path)

    assert ended.exit_code == 0, ended.output
    assert desk.order == ["audio.flac", "source.json"]
    assert ended.outcome is not None
    assert ended.outcome.stage is WorkStage.FETCH
    assert ended.outcome.code is None
    assert ended.outcome.mark is not None
    assert ended.outcome.mark.key == f"{PREFIX}source.json"
    assert ended.outcome.mark.sha256 == desk.sha256("source.json")
    mark = separator.fetched_mark(desk)
    assert (mark.uid, mark.run, mark.pod_uid) == (separator.UID, 1, separator.POD_UID)
    assert (mark.audio.file, mark.audio.sha256) == ("audio.flac", desk.sha256("audio.flac"))
    assert mark.audio.bytes == len(desk.files["audio.flac"])
    assert (mark.received_bytes, mark.received_sha256) == (CLIP.stat().st_size, file_sha256(CLIP))
    assert {"stemyard", "av", "libavcodec", "soxr", "lameenc"} == set(mark.versions)
    assert mark.media.title is not None
    assert mark.media.title.startswith("Slow Motion Dream")
    assert not list((tmp_path / "work").iterdir())


def test_an_object_is_fetched_like_an_upload(desk: DeskDouble, stored: Source, tmp_path: Path) -> None:
    desk.files["input"] = write_wav(tmp_path / "x.wav", tone(2.0)).read_bytes()
    ended = separator.run(separator.assignment(desk, stored), tmp_path)
    assert ended.exit_code == 0, ended.output
    assert separator.fetched_mark(desk).media.title == "A song.final"


@pytest.mark.parametrize(
    ("size", "code"), [(None, FailureCode.OBJECT_NOT_FOUND), (2 << 20, FailureCode.SOURCE_TOO_LARGE)]
)
def test_missing_and_large_objects_fail(
    desk: DeskDouble, stored: Source, tmp_path: Path, size: int | None, code: FailureCode
) -> None:
    if size is not None:
        desk.files["input"] = bytes(size)
    ended = separator.run(separator.assignment(desk, stored, max_bytes=1 << 20), tmp_path)
    assert ended.outcome is not None
    assert (ended.outcome.code, ended.exit_code) == (code, FAILURES[code].exit_code)
    assert not desk.order


def test_the_mark_measures_the_samples_as_written(desk: DeskDouble, upload: Source, tmp_path: Path) -> None:
    fetched(desk, upload, CLIP.read_bytes(), tmp_path)

    mark, audio = separator.fetched_mark(desk), decoded(desk, "audio.flac", tmp_path)
    mono = audio.mean(axis=0)
    pcm = np.round(audio * 2**23).astype("<i4")
    assert audio.shape == (2, mark.samples)
    assert np.array_equal(pcm / 2**23, audio), "24 bits hold every sample"
    assert mark.peak == np.abs(audio).max()
    assert mark.mean == pytest.approx(mono.mean(), abs=1e-12)
    assert mark.standard_deviation == pytest.approx(mono.std(ddof=1), rel=1e-9)
    raw = np.ascontiguousarray(pcm.T).view(np.uint8).reshape(-1, 4)[:, :3].tobytes()
    assert mark.audio_sha256 == hashlib.sha256(raw).hexdigest()
    source = read(CLIP)
    assert np.abs(source).max() > 1.0, "the clip decodes above full scale"
    assert np.abs(audio * 2**mark.exponent - source).max() < 2.0**-22


def test_audio_far_above_full_scale_gets_a_larger_exponent(desk: DeskDouble, upload: Source, tmp_path: Path) -> None:
    source = tone(0.5, level=5.0)

    fetched(desk, upload, write_float_wav(tmp_path / "loud.wav", source).read_bytes(), tmp_path)

    mark, audio = separator.fetched_mark(desk), decoded(desk, "audio.flac", tmp_path)
    assert mark.exponent == 3
    assert np.abs(audio * 8 - source).max() < 2.0**-19


def test_golden_stems_are_recovered(desk: DeskDouble, upload: Source, tmp_path: Path) -> None:
    vocals, instrumental = golden_stems()
    mix = write_wav(tmp_path / "mix.wav", vocals + instrumental)
    fetched(desk, upload, mix.read_bytes(), tmp_path)

    ended = separator.run(separator.assignment(desk), tmp_path / "separate")

    assert ended.exit_code == 0, ended.output
    reached = {
        "vocals": si_sdr(vocals, decoded(desk, "vocals.mp3", tmp_path)),
        "instrumental": si_sdr(instrumental, decoded(desk, "instrumental.mp3", tmp_path)),
    }
    print("SI-SDR in dB:", reached)
    assert min(reached.values()) >= MIN_SI_SDR, reached


@pytest.mark.parametrize("bitrate", [128, 320])
def test_stems_of_the_clip(desk: DeskDouble, upload: Source, tmp_path: Path, bitrate: int) -> None:
    fetched(desk, upload, CLIP.read_bytes(), tmp_path)

    ended = separator.run(separator.assignment(desk, bitrate=bitrate), tmp_path / "separate")

    assert ended.exit_code == 0, ended.output
    files = ["instrumental.mp3", "instrumental.peaks.json", "vocals.mp3", "vocals.peaks.json"]
    assert sorted(desk.order[2:6]) == files
    assert desk.order[6:] == ["manifest.json"]
    source = read(CLIP)
    vocals, instrumental = (decoded(desk, f"{stem}.mp3", tmp_path) for stem in ("vocals", "instrumental"))
    assert vocals.shape == instrumental.shape == source.shape, "exactly as many samples as the source"
    assert np.abs(vocals - instrumental).max() > 0.1
    assert max(np.abs(vocals).max(), np.abs(instrumental).max()) <= 1.0
    assert lag(source, vocals + instrumental) == 0
    expected = source * 0.89 / np.abs(source).max()
    error = vocals + instrumental - expected
    assert np.sum(error**2) < np.sum(expected**2) * 10**-1.8, "the pair sums to g x mix, except for codec losses"
    seconds = source.shape[1] / 44_100
    assert len(desk.files["vocals.mp3"]) == pytest.approx(bitrate * 1000 / 8 * seconds, rel=0.02)


def test_the_manifest_is_complete(desk: DeskDouble, upload: Source, tmp_path: Path) -> None:
    fetched(desk, upload, CLIP.read_bytes(), tmp_path)

    ended = separator.run(separator.assignment(desk), tmp_path / "separate")

    assert ended.outcome is not None
    assert ended.outcome.mark is not None
    assert ended.outcome.mark.sha256 == desk.sha256("manifest.json")
    manifest = Manifest.model_validate_json(desk.files["manifest.json"])
    assert (manifest.uid, manifest.run, manifest.pod_uid) == (separator.UID, 1, separator.POD_UID)
    mark = separator.fetched_mark(desk)
    for stem, file in manifest.stems.items():
        assert file.file == f"{stem}.mp3"
        assert (file.bytes, file.sha256) == (len(desk.files[file.file]), desk.sha256(file.file))
        assert (file.samples, file.duration_seconds) == (mark.samples, mark.duration_seconds)
    assert set(manifest.stems) == {Stem.VOCALS, Stem.INSTRUMENTAL}
    assert manifest.source_audio_sha256 == mark.audio_sha256
    assert (manifest.engine, manifest.model, manifest.device) == ("spleeter", "spleeter-2stems", "cpu")
    assert manifest.model_digest.startswith("sha256:")
    assert manifest.gain_db == pytest.approx(20 * np.log10(0.89 / (mark.peak * 2**mark.exponent)), abs=1e-3)
    assert manifest.real_time_factor > 0
    for file in manifest.stems.values():
        assert file.peaks is not None
        assert (file.peaks.bytes, file.peaks.sha256) == (len(desk.files[file.peaks.file]), desk.sha256(file.peaks.file))
        assert -30 < (file.integrated_loudness or 0) < -9
        assert -12 < (file.true_peak or -99) < 0
    assert manifest.source_mark_sha256 == desk.sha256("source.json")
    assert manifest.parameters["precision"] == "float32"
    assert {"start", "download", "downloaded", "load", "first_block", "separate", "upload"} <= set(manifest.timings)
    assert {"stemyard", "av", "onnxruntime", "numpy", "lameenc"} <= set(manifest.versions)


def test_only_the_requested_stems_are_encoded(desk: DeskDouble, upload: Source, tmp_path: Path) -> None:
    fetched(desk, upload, CLIP.read_bytes(), tmp_path)

    ended = separator.run(separator.assignment(desk, stems=(Stem.INSTRUMENTAL,)), tmp_path / "separate")

    assert ended.exit_code == 0, ended.output
    assert sorted(desk.order[2:-1]) == ["instrumental.mp3", "instrumental.peaks.json"]
    assert desk.order[-1] == "manifest.json"


def test_silence_is_separated_into_silence(desk: DeskDouble, upload: Source, tmp_path: Path) -> None:
    fetched(desk, upload, write_wav(tmp_path / "silence.wav", np.zeros((2, 44_100))).read_bytes(), tmp_path)

    ended = separator.run(separator.assignment(desk), tmp_path / "separate")

    assert ended.exit_code == 0, ended.output
    assert desk.json("manifest.json")["gainDb"] == 0
    assert "integratedLoudness" not in desk.json("manifest.json")["stems"]["vocals"]
    assert np.abs(decoded(desk, "vocals.mp3", tmp_path)).max() == 0


def test_progress_is_reported_in_order(desk: DeskDouble, upload: Source, tmp_path: Path) -> None:
    fetched(desk, upload, CLIP.read_bytes(), tmp_path)
    separator.run(separator.assignment(desk), tmp_path / "separate")

    for stage in WorkStage:
        reports = [each for each in desk.progress if each.stage is stage]
        assert reports, f"{stage} reported nothing"
        assert [each.sequence for each in reports] == list(range(len(reports)))
        fractions = [each.fraction for each in reports]
        assert fractions == sorted(fractions)


def test_failed_progress_reports_are_ignored(desk: DeskDouble, upload: Source, tmp_path: Path) -> None:
    desk.files["input"] = CLIP.read_bytes()
    desk.faults = [Fault("/v1/progress", 500)]

    assert separator.run(separator.assignment(desk, upload), tmp_path).exit_code == 0
    assert not desk.progress


def test_transient_errors_of_desk_and_store_are_retried(desk: DeskDouble, upload: Source, tmp_path: Path) -> None:
    desk.files["input"] = CLIP.read_bytes()
    desk.faults = [Fault("/v1/links", 503, 2), Fault("/store/input", 500, 1), Fault("/store/audio.flac", 503, 1)]

    assert separator.run(separator.assignment(desk, upload), tmp_path).exit_code == 0
    assert desk.order == ["audio.flac", "source.json"]


@pytest.mark.parametrize(
    ("fault", "code"),
    [
        (Fault("/v1/links", 403), FailureCode.LINK_REFUSED),
        (Fault("/v1/links", 503), FailureCode.DESK_UNREACHABLE),
        (Fault("/store/audio.flac", 403), FailureCode.STORE_UNREACHABLE),
        (Fault("/store/source.json", 500), FailureCode.STORE_UNREACHABLE),
        (Fault("/store/input", 404), FailureCode.SOURCE_GONE),
    ],
)
def test_permanent_errors_end_the_stage_without_a_mark(
    desk: DeskDouble, upload: Source, tmp_path: Path, fault: Fault, code: FailureCode
) -> None:
    desk.files["input"] = CLIP.read_bytes()
    desk.faults = [fault]

    ended = separator.run(separator.assignment(desk, upload, deadline_seconds=8), tmp_path)

    assert ended.outcome is not None
    assert ended.outcome.code is code
    assert ended.exit_code == FAILURES[code].exit_code
    assert "source.json" not in desk.files


def test_a_broken_download_is_resumed(desk: DeskDouble, upload: Source, tmp_path: Path) -> None:
    fetched(desk, upload, CLIP.read_bytes(), tmp_path)
    desk.ranges, desk.break_offs = [], 2

    ended = separator.run(separator.assignment(desk), tmp_path / "separate")

    assert ended.exit_code == 0, ended.output
    assert desk.ranges[:2] == [None, None], "mark and audio"
    second, third = (int((each or "bytes=0-").removeprefix("bytes=").rstrip("-")) for each in desk.ranges[2:])
    assert 0 < second < third


def test_separation_starts_while_the_audio_is_downloading(desk: DeskDouble, upload: Source, tmp_path: Path) -> None:
    long_song = np.tile(read(CLIP), 8) * 0.5
    fetched(desk, upload, write_wav(tmp_path / "long.wav", long_song).read_bytes(), tmp_path)
    desk.hold_back = ("audio.flac", lambda: any(each.step == "separate" for each in desk.progress))

    ended = separator.run(separator.assignment(desk), tmp_path / "separate")

    assert ended.exit_code == 0, ended.output
    timings = desk.json("manifest.json")["timings"]
    assert timings["first_block"] < timings["downloaded"]


@pytest.mark.parametrize("name", ["source.json", "audio.flac"])
def test_separate_refuses_files_other_than_the_accepted_ones(
    desk: DeskDouble, upload: Source, tmp_path: Path, name: str
) -> None:
    fetched(desk, upload, CLIP.read_bytes(), tmp_path)
    assignment = separator.assignment(desk)
    desk.files[name] = desk.files[name][:-1] + b"\n"

    ended = separator.run(assignment, tmp_path / "separate")

    assert ended.outcome is not None
    assert ended.outcome.code is FailureCode.ARTIFACT_MISMATCH
    assert "manifest.json" not in desk.files


def test_a_mark_that_states_the_digest_of_other_audio_is_refused(
    desk: DeskDouble, upload: Source, tmp_path: Path
) -> None:
    """Stems are shared between tracks of equal digests, so a fetch pod must not choose one."""
    fetched(desk, upload, CLIP.read_bytes(), tmp_path)
    desk.files["source.json"] = json.dumps({**desk.json("source.json"), "audioSha256": "0" * 64}).encode()

    ended = separator.run(separator.assignment(desk), tmp_path / "separate")

    assert ended.outcome is not None
    assert ended.outcome.code is FailureCode.ARTIFACT_MISMATCH
    assert "manifest.json" not in desk.files


def test_corrupted_audio_is_an_artifact_mismatch(desk: DeskDouble, upload: Source, tmp_path: Path) -> None:
    fetched(desk, upload, CLIP.read_bytes(), tmp_path)
    audio = bytearray(desk.files["audio.flac"])
    audio[len(audio) // 3 : len(audio) // 2] = bytes(len(audio) // 2 - len(audio) // 3)
    desk.files["audio.flac"] = bytes(audio)

    ended = separator.run(separator.assignment(desk), tmp_path / "separate")

    assert ended.outcome is not None
    assert ended.outcome.code is FailureCode.ARTIFACT_MISMATCH
    assert "manifest.json" not in desk.files


def model_folder_with(folder: Path, index: dict[str, Any] | None) -> str:
    folder.mkdir()
    if index is not None:
        (folder / "spleeter-2stems.onnx").write_bytes(b"not these weights")
        (folder / "models.json").write_text(json.dumps(index))
    return str(folder)


def test_missing_and_wrong_weights_have_different_codes(desk: DeskDouble, upload: Source, tmp_path: Path) -> None:
    fetched(desk, upload, CLIP.read_bytes(), tmp_path)
    record = {"file": "spleeter-2stems.onnx", "sha256": "0" * 64, "bytes": 1, "licence": "MIT", "source": "x"}
    wrong = {"models": {"spleeter-2stems": {**record, "source_sha256": "0" * 64}}}
    cases = {FailureCode.MODEL_MISSING: None, FailureCode.MODEL_CORRUPT: wrong}

    for code, index in cases.items():
        folder = model_folder_with(tmp_path / code, index)
        ended = separator.run(separator.assignment(desk), tmp_path / f"run-{code}", STEMYARD_MODEL_DIR=folder)
        assert ended.outcome is not None
        assert ended.outcome.code is code
        assert ended.exit_code == FAILURES[code].exit_code


def test_an_unknown_model_is_missing(desk: DeskDouble, upload: Source, tmp_path: Path) -> None:
    fetched(desk, upload, CLIP.read_bytes(), tmp_path)

    ended = separator.run(separator.assignment(desk, model="no-such-model"), tmp_path / "separate")

    assert ended.outcome is not None
    assert ended.outcome.code is FailureCode.MODEL_MISSING
    assert "no-such-model" in (ended.outcome.message or "")


def test_a_missing_library_is_reported(desk: DeskDouble, upload: Source, tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "httpx.py").write_text("raise ImportError('No module named httpcore')")
    path = os.pathsep.join(filter(None, (str(broken), os.environ.get("PYTHONPATH"))))

    ended = separator.run(separator.assignment(desk, upload), tmp_path, PYTHONPATH=path)

    assert ended.outcome is not None
    assert ended.outcome.code is FailureCode.INTERNAL
    assert "lacks a library" in (ended.outcome.message or "")
    assert "httpcore" not in (ended.outcome.message or "")
    assert "No module named httpcore" in ended.output
    assert ended.exit_code == FAILURES[FailureCode.INTERNAL].exit_code


@pytest.mark.parametrize("text", ["", "{}", "not json"])
def test_a_missing_or_invalid_assignment_is_a_configuration_error(tmp_path: Path, text: str) -> None:
    ended = separator.run(None, tmp_path, STEMYARD_ASSIGNMENT=text)

    assert ended.exit_code == FAILURES[FailureCode.INTERNAL_CONFIG].exit_code
    assert ended.outcome is None


def test_sigterm_exits_immediately_without_a_commit(desk: DeskDouble, upload: Source, tmp_path: Path) -> None:
    long_song = np.tile(read(CLIP), 30)
    fetched(desk, upload, write_wav(tmp_path / "long.wav", long_song * 0.5).read_bytes(), tmp_path)
    process = separator.start(separator.assignment(desk), tmp_path / "separate")
    deadline = time.monotonic() + 60
    while not any(each.step == "separate" for each in desk.progress) and time.monotonic() < deadline:
        time.sleep(0.05)

    process.send_signal(signal.SIGTERM)
    output, _ = process.communicate(timeout=20)

    ended = separator.ended(process, output, tmp_path / "separate")
    assert ended.exit_code == 143
    assert ended.outcome is None
    assert "manifest.json" not in desk.files


def test_logs_are_json_lines_without_links_or_tokens(desk: DeskDouble, upload: Source, tmp_path: Path) -> None:
    desk.files["input"] = CLIP.read_bytes()
    good = separator.run(separator.assignment(desk, upload), tmp_path / "good")
    desk.faults = [Fault("/store/audio.flac", 403)]
    bad = separator.run(separator.assignment(desk, upload), tmp_path / "bad")

    for ended in (good, bad):
        assert all({"time", "level", "logger", "message", "stage", "track_id"} <= set(line) for line in ended.lines())
        for secret in (TOKEN, SIGNATURE, "nonce="):
            assert secret not in ended.output
            assert ended.outcome is not None
            assert secret not in ended.outcome.dump()


def test_memory_does_not_grow_with_the_song(desk: DeskDouble, upload: Source, tmp_path: Path) -> None:
    peaks = []
    for repeats in (6, 42):
        song = np.tile(read(CLIP), repeats) * 0.5
        fetched(desk, upload, write_wav(tmp_path / "song.wav", song).read_bytes(), tmp_path)
        ended = separator.run(separator.assignment(desk), tmp_path / "separate", True)
        assert ended.exit_code == 0, ended.output
        peaks.append(ended.peak_mebibytes)
    print("peak MiB:", peaks)
    # queued blocks took up to 51 MiB on a busy machine; the additional 6.5 minutes of the mix alone are 132 MiB
    assert peaks[1] < peaks[0] + 100, peaks


def test_the_self_test_passes() -> None:
    command = [sys.executable, "-m", "stemyard_separator", "--self-test"]

    done = subprocess.run(command, capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stdout + done.stderr
    for name in ("mp3", "flac", "wav", "m4a", "opus", "spleeter engine", "downloader"):
        assert name in done.stdout
    assert "FAILED" not in done.stdout
