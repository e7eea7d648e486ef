"""Loudness and true peak against closed forms and FFmpeg's ebur128 filter."""

from fractions import Fraction

import av
import numpy as np
import pytest
from av.error import BlockingIOError as BlockedError
from av.error import EOFError as EndError

from stemyard_separator.audio.loudness import LevelMeter, Levels
from tests.support.audio import CLIP, RATE, Audio, golden_stems, read


def measured(audio: Audio, block: int = 50_000) -> Levels:
    meter = LevelMeter()
    for start in range(0, audio.shape[1], block):
        meter.update(audio[:, start : start + block].astype(np.float32))
    return meter.result()


def sine(frequency: float, decibels: float, seconds: float = 20, phase: float = 0) -> Audio:
    time = np.arange(int(seconds * RATE)) / RATE
    return np.repeat(10 ** (decibels / 20) * np.sin(2 * np.pi * frequency * time + phase)[None, :], 2, axis=0)


@pytest.mark.parametrize("decibels", [-23.0, -33.0])
def test_the_loudness_of_a_1_khz_sine_equals_its_level(decibels: float) -> None:
    levels = measured(sine(1000, decibels))

    assert levels.integrated_loudness == pytest.approx(decibels, abs=0.1)  # EBU Tech 3341, cases 1 and 2
    assert levels.true_peak == pytest.approx(decibels, abs=0.05)


def test_quiet_parts_are_gated() -> None:
    quiet, loud = sine(1000, -36, 10), sine(1000, -23, 60)

    levels = measured(np.concatenate((quiet, loud, quiet), axis=1))

    assert levels.integrated_loudness == pytest.approx(-23, abs=0.1)  # EBU Tech 3341, case 3


def test_the_peak_between_samples_is_measured() -> None:
    audio = sine(RATE / 4, -6, 2, np.pi / 4)
    fade = np.minimum(1, np.minimum(np.arange(audio.shape[1]), np.arange(audio.shape[1])[::-1]) / 2000)

    levels = measured(audio * fade)

    assert 20 * np.log10(np.abs(audio).max()) == pytest.approx(-9.01, abs=0.01)
    assert -6.4 <= (levels.true_peak or 0) <= -5.8  # EBU Tech 3341, case 15 ff.: +0.2 and -0.4


def ffmpeg_levels(audio: Audio) -> tuple[float, float]:
    graph = av.filter.Graph()
    base = Fraction(1, RATE)
    source = graph.add_abuffer(sample_rate=RATE, format="fltp", layout="stereo", time_base=base)
    meter, sink = graph.add("ebur128", "peak=true:metadata=1"), graph.add("abuffersink")
    source.link_to(meter)
    meter.link_to(sink)
    graph.configure()
    metadata: dict[str, str] = {}
    for start in range(0, audio.shape[1], 4410):
        part = np.ascontiguousarray(audio[:, start : start + 4410], np.float32)
        frame = av.AudioFrame.from_ndarray(part, format="fltp", layout="stereo")
        frame.sample_rate, frame.pts, frame.time_base = RATE, start, base
        graph.push(frame)
        try:
            while True:
                metadata.update(graph.pull().metadata)
        except (BlockedError, EndError):
            continue
    return float(metadata["lavfi.r128.I"]), 20 * float(np.log10(float(metadata["lavfi.r128.true_peak"])))


@pytest.mark.parametrize("kind", ["clip", "vocals", "a crescendo"])
def test_it_agrees_with_ffmpeg(kind: str) -> None:
    vocals, band = golden_stems()
    audio = {"clip": read(CLIP), "vocals": vocals, "a crescendo": band * np.linspace(0, 1, band.shape[1])}[kind]

    levels = measured(audio)

    loudness, peak = ffmpeg_levels(audio)
    assert levels.integrated_loudness == pytest.approx(loudness, abs=0.05)
    assert levels.true_peak == pytest.approx(peak, abs=0.15)


@pytest.mark.parametrize("block", [1, 777, 8191, 10**9])
def test_levels_do_not_depend_on_the_blocks(block: int) -> None:
    audio = read(CLIP)[:, : 20_000 if block == 1 else None]

    one, other = measured(audio, block), measured(audio, 50_000)

    assert one.integrated_loudness == pytest.approx(other.integrated_loudness, abs=1e-3)
    assert one.true_peak == pytest.approx(other.true_peak, abs=1e-4)


@pytest.mark.parametrize("audio", [np.zeros((2, RATE)), sine(1000, -80, 5), sine(1000, -10, 0.3), np.zeros((2, 0))])
def test_audio_below_the_gate_has_no_loudness(audio: Audio) -> None:
    assert measured(audio).integrated_loudness is None
