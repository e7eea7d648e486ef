"""Rendering: one gain for all stems, a smaller one if a stem clips, and no NaN or infinity."""

import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from stemyard_contract.failures import FailureCode
from stemyard_contract.separationjob import Output, Stem
from stemyard_separator.audio.media import StemWriter
from stemyard_separator.audio.render import Renderer, gain_for
from stemyard_separator.audio.spool import CHANNELS, SAMPLE_BYTES
from stemyard_separator.engines.protocol import Samples, StemBlock
from stemyard_separator.errors import LeaseLostError, StageError
from tests.support.audio import Audio, read, si_sdr, tone

SAMPLES = 100_000
BOTH = [Stem.VOCALS, Stem.INSTRUMENTAL]


def stems(vocals: Audio, instrumental: Audio) -> Iterator[StemBlock]:
    for start in range(0, vocals.shape[1], 30_000):
        part = slice(start, start + 30_000)
        yield {
            Stem.VOCALS: vocals[:, part].astype(np.float32),
            Stem.INSTRUMENTAL: instrumental[:, part].astype(np.float32),
        }


def renderer(folder: Path) -> Renderer:
    return Renderer(folder, BOTH, Output(bitrate=320), SAMPLES)


def chords(level: float) -> Audio:
    return tone(SAMPLES / 44_100, level=level)[:, :SAMPLES]


@pytest.mark.parametrize(("peak", "gain"), [(0.0, 1.0), (0.5, 1.0), (0.89, 1.0), (1.0, 0.89), (1.78, 0.5)])
def test_the_gain_is_never_above_one(peak: float, gain: float) -> None:
    assert gain_for(peak) == pytest.approx(gain)


def test_stems_are_encoded_with_the_gain(tmp_path: Path) -> None:
    progress: list[float] = []

    rendering = renderer(tmp_path).render(stems(chords(0.8), chords(0.4)), 0.5, progress.append)

    assert rendering.gain == 0.5
    assert progress == sorted(progress)
    assert progress[-1] == 1.0
    for stem, level in ((Stem.VOCALS, 0.8), (Stem.INSTRUMENTAL, 0.4)):
        audio = read(rendering.files[stem])
        assert audio.shape == (2, SAMPLES)
        assert audio.std() == pytest.approx(chords(level / 2).std(), rel=0.01)
        assert si_sdr(chords(level), audio) > 25
    expected = {f"{stem}.{ending}" for stem in BOTH for ending in ("mp3", "peaks.json")}
    assert {path.name for path in tmp_path.iterdir()} == expected, "spools are deleted"


def test_a_loud_stem_lowers_the_gain_of_all_stems(tmp_path: Path) -> None:
    rendering = renderer(tmp_path).render(stems(chords(1.6), chords(0.4)), 0.9, lambda _: None)

    assert rendering.gain == pytest.approx(0.89 / 1.6, rel=1e-3)
    for stem, level in ((Stem.VOCALS, 1.6), (Stem.INSTRUMENTAL, 0.4)):
        audio = read(rendering.files[stem])
        assert audio.shape == (2, SAMPLES)
        assert audio.std() == pytest.approx(chords(level * rendering.gain).std(), rel=0.01)
        assert np.abs(audio).max() <= 1.0
        overshoot = (rendering.levels[stem].true_peak or -99) - 20 * np.log10(level * rendering.gain)
        assert -0.1 < overshoot < 1.5, "a tone with an abrupt start and end overshoots between its samples"


@pytest.mark.parametrize("level", [1.2, 8.0])
def test_stems_keep_their_precision_when_they_are_encoded_again(tmp_path: Path, level: float) -> None:
    output = Renderer(tmp_path, BOTH, Output(format="flac", bit_depth=24), SAMPLES)

    rendering = output.render(stems(chords(level), chords(0.4)), 0.9, lambda _: None)

    assert rendering.gain == pytest.approx(0.89 / level, rel=1e-3)
    for stem, expected in ((Stem.VOCALS, chords(level)), (Stem.INSTRUMENTAL, chords(0.4))):
        error = read(rendering.files[stem]) - expected * rendering.gain
        assert np.abs(error).max() < 10 ** (-105 / 20)


def test_the_network_does_not_wait_for_encoders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    encoding = threading.Event()
    write = StemWriter.write

    def slow(self: StemWriter, samples: Samples) -> None:
        assert encoding.wait(60)
        write(self, samples)

    def handed_on() -> Iterator[StemBlock]:
        yield from stems(chords(0.8), chords(0.4))
        encoding.set()

    monkeypatch.setattr(StemWriter, "write", slow)
    rendering = renderer(tmp_path).render(handed_on(), 0.5, lambda _: None)
    assert read(rendering.files[Stem.VOCALS]).shape == (2, SAMPLES)


def test_a_song_that_is_not_wanted_any_more_ends_while_it_is_encoded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ended = threading.Event()
    write = StemWriter.write

    def endless(self: StemWriter, samples: Samples) -> None:
        assert ended.wait(60)
        write(self, samples)

    def on_progress(fraction: float) -> None:
        seen.append(fraction)
        if seen.count(1.0) == 3:
            ended.set()
            raise LeaseLostError

    seen: list[float] = []
    monkeypatch.setattr(StemWriter, "write", endless)
    with pytest.raises(LeaseLostError):
        renderer(tmp_path).render(stems(chords(0.8), chords(0.4)), 0.5, on_progress)
    assert not list(tmp_path.glob("*.spool"))


def test_spools_hold_a_stem_once_in_24_bits(tmp_path: Path) -> None:
    sizes: list[int] = []

    def watched() -> Iterator[StemBlock]:
        yield from stems(chords(0.8), chords(0.4))
        sizes.extend(path.stat().st_size for path in tmp_path.glob("*.spool"))

    renderer(tmp_path).render(watched(), 0.9, lambda _: None)

    assert sum(sizes) == len(BOTH) * CHANNELS * SAMPLES * SAMPLE_BYTES
    assert not list(tmp_path.glob("*.spool"))


def test_stems_far_louder_than_the_song_are_not_published(tmp_path: Path) -> None:
    with pytest.raises(StageError) as caught:
        renderer(tmp_path).render(stems(chords(20), chords(0.5)), 0.9, lambda _: None)

    assert caught.value.code is FailureCode.SEPARATION_INVALID
    assert not list(tmp_path.glob("*.spool"))


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_nan_and_infinity_are_not_published(tmp_path: Path, bad: float) -> None:
    vocals = chords(0.5)
    vocals[1, 70_000] = bad

    with pytest.raises(StageError) as caught:
        renderer(tmp_path).render(stems(vocals, chords(0.5)), 1.0, lambda _: None)
    assert caught.value.code is FailureCode.SEPARATION_INVALID


@pytest.mark.parametrize("missing", [1, 60_000])
def test_too_few_samples_are_not_published(tmp_path: Path, missing: int) -> None:
    short = chords(0.5)[:, missing:]

    with pytest.raises(StageError) as caught:
        renderer(tmp_path).render(stems(short, short), 1.0, lambda _: None)
    assert caught.value.code is FailureCode.SEPARATION_INVALID


def test_silent_stems_of_an_audible_source_are_not_published(tmp_path: Path) -> None:
    nothing = np.zeros((2, SAMPLES))

    with pytest.raises(StageError) as caught:
        renderer(tmp_path).render(stems(nothing, nothing), 1.0, lambda _: None)
    assert caught.value.code is FailureCode.SEPARATION_INVALID
    assert renderer(tmp_path).render(stems(nothing, nothing), 1.0, lambda _: None, silent=True).gain == 1.0


def test_a_failed_encoder_ends_the_rendering(tmp_path: Path) -> None:
    (tmp_path / "vocals.mp3").mkdir()

    with pytest.raises(IsADirectoryError):
        renderer(tmp_path).render(stems(chords(0.5), chords(0.5)), 1.0, lambda _: None)
