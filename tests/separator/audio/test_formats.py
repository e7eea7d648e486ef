"""Every output format on real audio: length, delay, fidelity, size and tags, as FFmpeg decodes them."""

from pathlib import Path
from typing import get_args

import av
import numpy as np
import pytest
import soxr

from stemyard_contract.handover import Manifest, MediaMetadata
from stemyard_contract.output import BIT_DEPTHS, AudioFormat, Output
from stemyard_contract.separationjob import Source, Stem
from stemyard_separator.audio.formats import encoding_for, stem_tags
from stemyard_separator.audio.media import StemWriter, declared_samples
from tests.support import separator_process as separator
from tests.support.audio import CLIP, RATE, Audio, lag, read
from tests.support.desk_double import DeskDouble

MEDIA = MediaMetadata(title="Slow \nMotion", artist="Bryant", media_id="youtube:abcdefghijk")
FORMATS = {
    "mp3 320": (Output(), 0, 30),
    "mp3 128": (Output(bitrate=128), 0, 15),
    "mp3 V0": (Output(vbr_quality=0), 0, 25),
    "mp3 V7": (Output(vbr_quality=7), 0, 10),
    "flac": (Output(format="flac"), 0, 130),
    "flac 16": (Output(format="flac", bit_depth=16), 0, 80),
    "wav": (Output(format="wav"), 0, 130),
    "wav 16": (Output(format="wav", bit_depth=16), 0, 80),
    "wav float": (Output(format="wav", bit_depth=32), 0, 150),
    "m4a 256": (Output(format="m4a", bitrate=256), 1024, 20),
    "opus 192": (Output(format="opus", bitrate=192), 882, 15),
}
"""Output, tolerance of the decoded length in samples, and minimum signal-to-noise ratio in dB."""


def test_every_format_and_bit_depth_is_listened_to() -> None:
    heard = {(output.format, output.sample_bits) for output, *_ in FORMATS.values()}
    assert heard == {(name, bits) for name in get_args(AudioFormat) for bits in BIT_DEPTHS.get(name, (None,))}


def encode(folder: Path, output: Output, audio: Audio) -> Path:
    path = folder / f"vocals.{output.format}"
    with StemWriter(path, encoding_for(output), stem_tags(MEDIA, Stem.VOCALS, "spleeter-2stems")) as writer:
        for start in range(0, audio.shape[1], 30_011):
            writer.write(audio[:, start : start + 30_011].astype(np.float32))
    return path


def resampled(path: Path) -> Audio:
    with av.open(str(path)) as file:
        rate = file.streams.audio[0].rate
    audio = read(path)
    return audio if rate == RATE else np.asarray(soxr.resample(audio.T, rate, RATE).T)


@pytest.mark.parametrize("samples", [4410, 100_001, None])
@pytest.mark.parametrize("kind", FORMATS)
def test_a_stem_keeps_its_length_and_alignment(tmp_path: Path, kind: str, samples: int | None) -> None:
    output, tolerance, min_snr = FORMATS[kind]
    audio = read(CLIP)[:, 50_000:][:, :samples] * 0.5

    path = encode(tmp_path, output, audio)

    result = resampled(path)
    assert abs(result.shape[1] - audio.shape[1]) <= tolerance
    assert abs(declared_samples(path) - audio.shape[1]) <= tolerance
    common = slice(0, min(result.shape[1], audio.shape[1]))
    assert lag(audio, result) == 0
    error = result[:, common] - audio[:, common]
    assert 10 * np.log10(np.sum(audio**2) / (np.sum(error**2) + 1e-30)) >= min_snr
    assert path.stat().st_size <= output.most_bytes_per_second * audio.shape[1] / RATE * 1.05 + (1 << 20)


@pytest.mark.parametrize(
    ("output", "source_rate", "rate"),
    [
        (Output(), 48_000, 44_100),
        (Output(sample_rate="48000"), 44_100, 48_000),
        (Output(sample_rate="source"), 96_000, 48_000),
        (Output(format="flac", sample_rate="source"), 96_000, 96_000),
        (Output(format="flac", sample_rate="source"), 8_000, 44_100),
        (Output(format="wav", sample_rate="source"), 352_800, 192_000),
        (Output(format="m4a", sample_rate="source"), 192_000, 96_000),
        (Output(format="flac", sample_rate="44100"), 48_000, 44_100),
        (Output(format="opus"), 44_100, 48_000),
    ],
)
def test_stems_have_the_requested_sample_rate(tmp_path: Path, output: Output, source_rate: int, rate: int) -> None:
    audio, path, encoding = read(CLIP)[:, : 2 * RATE] * 0.5, tmp_path / "x", encoding_for(output, source_rate)
    with StemWriter(path, encoding) as writer:
        writer.write(audio.astype(np.float32))

    with av.open(str(path)) as file:
        assert file.streams.audio[0].rate == rate
    assert abs(declared_samples(path) - audio.shape[1]) <= encoding.frame
    assert path.stat().st_size <= output.most_bytes_per_second * 2 * 1.05 + (1 << 16)
    assert lag(audio, np.asarray(soxr.resample(read(path).T, rate, RATE).T)) == 0


MONO = [Output(format=each, channels="source") for each in get_args(AudioFormat)]


@pytest.mark.parametrize(
    "output", [*MONO, Output(bitrate=128, channels="source"), Output(format="wav", bit_depth=32, channels="source")]
)
def test_stems_of_a_mono_source_may_be_mono(tmp_path: Path, output: Output) -> None:
    path, encoding = tmp_path / "x", encoding_for(output, is_mono=True)
    stereo = encoding_for(output)
    audio = np.repeat(read(CLIP)[:1, : 2 * RATE] * 0.5, 2, axis=0)
    with StemWriter(path, encoding) as writer:
        writer.write(audio.astype(np.float32))

    assert (encoding.channels, encoding.bit_rate) == (1, stereo.bit_rate // 2)
    result = read(path)
    assert result.shape[0] == 1
    if encoding.rate == RATE:
        length = min(audio.shape[1], result.shape[1])
        error = result[:, :length] - audio[:1, :length]
        assert np.sum(error**2) < 0.06 * np.sum(audio[0] ** 2)
    assert encoding_for(output).channels == encoding_for(Output(format=output.format), is_mono=True).channels == 2


@pytest.mark.parametrize("kind", FORMATS)
def test_a_stem_has_tags(tmp_path: Path, kind: str) -> None:
    output, *_ = FORMATS[kind]

    path = encode(tmp_path, output, read(CLIP)[:, :RATE])

    with av.open(str(path)) as file:
        tags = {key.lower(): value for each in (file, file.streams.audio[0]) for key, value in each.metadata.items()}
    assert tags["title"] == "Slow  Motion (vocals)"
    assert tags["artist"] == "Bryant"
    assert "spleeter-2stems" in tags["comment"]
    assert "youtube:abcdefghijk" in tags["comment"]


def test_a_variable_bit_rate_follows_its_quality(tmp_path: Path) -> None:
    audio = read(CLIP)

    sizes = [encode(tmp_path, Output(vbr_quality=quality), audio).stat().st_size for quality in (0, 4, 9)]

    assert sizes[0] > 1.4 * sizes[1] > 1.8 * sizes[2]


@pytest.mark.parametrize(("bits", "codec"), [(16, "s16"), (24, "s32")])
def test_flac_has_the_requested_bit_depth(tmp_path: Path, bits: int, codec: str) -> None:
    path = encode(tmp_path, Output(format="flac", bit_depth=bits), read(CLIP)[:, :RATE] * 0.5)

    samples = read(path) * 2 ** (bits - 1)
    with av.open(str(path)) as file:
        assert file.streams.audio[0].format.name == codec
    assert np.array_equal(samples, np.round(samples))
    assert np.any(samples / 2 != np.round(samples / 2)), "the last bit is used"


def test_tags_are_short_and_printable() -> None:
    tags = stem_tags(MediaMetadata(title="a\x00b\u2028c" + "x" * 999), Stem.DRUMS, "htdemucs")

    assert tags["title"].startswith("a b c")
    assert max(map(len, tags.values())) <= 256
    assert "artist" not in tags


def separated(desk: DeskDouble, upload: Source, folder: Path, output: Output) -> Manifest:
    desk.files["input"] = CLIP.read_bytes()
    assert separator.run(separator.assignment(desk, upload), folder / "fetch").exit_code == 0
    ended = separator.run(separator.assignment(desk, output=output), folder / "separate")
    assert ended.exit_code == 0, ended.output
    return Manifest.model_validate_json(desk.files["manifest.json"])


def test_published_flacs_sum_to_the_source(desk: DeskDouble, upload: Source, tmp_path: Path) -> None:
    manifest = separated(desk, upload, tmp_path, Output(format="flac", bit_depth=24))

    total = np.zeros((2, manifest.stems[Stem.VOCALS].samples))
    for file in manifest.stems.values():
        path = tmp_path / file.file
        path.write_bytes(desk.files[file.file])
        total += read(path)
    path = tmp_path / "audio.flac"
    path.write_bytes(desk.files["audio.flac"])
    source = read(path) * 2.0 ** separator.fetched_mark(desk).exponent
    error = 20 * np.log10(np.abs(total - 10 ** (manifest.gain_db / 20) * source).max())
    print("reconstruction error in dBFS:", error)
    assert error <= -90


@pytest.mark.parametrize("output", [Output(format="m4a"), Output(format="opus"), Output(format="wav", bit_depth=32)])
def test_the_stage_publishes_every_format(desk: DeskDouble, upload: Source, tmp_path: Path, output: Output) -> None:
    manifest = separated(desk, upload, tmp_path, output)

    assert manifest.output == output
    assert {file.file for file in manifest.stems.values()} == {f"{stem}.{output.format}" for stem in manifest.stems}
