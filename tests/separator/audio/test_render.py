"""Stems to files: one gain for all, smaller when a stem needs it, and nothing but numbers."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from stemyard_contract.failures import FailureCode
from stemyard_contract.separationjob import Output, Stem
from stemyard_separator.audio.render import Renderer
from stemyard_separator.engines.protocol import StemBlock
from stemyard_separator.errors import StageError
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


def made(level: float) -> Audio:
    return tone(SAMPLES / 44_100, level=level)[:, :SAMPLES]


def test_stems_are_encoded_with_the_gain_given(tmp_path: Path) -> None:
    heard: list[float] = []

    rendering = renderer(tmp_path).render(stems(made(0.8), made(0.4)), 0.5, heard.append)

    assert rendering.gain == 0.5
    assert heard == sorted(heard)
    assert heard[-1] == 1.0
    for stem, level in ((Stem.VOCALS, 0.8), (Stem.INSTRUMENTAL, 0.4)):
        audio = read(rendering.files[stem])
        assert audio.shape == (2, SAMPLES)
        assert audio.std() == pytest.approx(made(level / 2).std(), rel=0.01)
        assert si_sdr(made(level), audio) > 25
    left = {f"{stem}.{ending}" for stem in BOTH for ending in ("mp3", "peaks.json")}
    assert {path.name for path in tmp_path.iterdir()} == left, "spools are gone"


def test_a_stem_louder_than_the_source_lowers_all_of_them(tmp_path: Path) -> None:
    rendering = renderer(tmp_path).render(stems(made(1.6), made(0.4)), 0.9, lambda _: None)

    assert rendering.gain == pytest.approx(0.89 / 1.6, rel=1e-3)
    for stem, level in ((Stem.VOCALS, 1.6), (Stem.INSTRUMENTAL, 0.4)):
        audio = read(rendering.files[stem])
        assert audio.shape == (2, SAMPLES)
        assert audio.std() == pytest.approx(made(level * rendering.gain).std(), rel=0.01)
        assert np.abs(audio).max() <= 1.0
        over = (rendering.levels[stem].true_peak or -99) - 20 * np.log10(level * rendering.gain)
        assert -0.1 < over < 1.5, "a tone that begins and ends at once swings over between its samples"


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_what_is_no_number_is_not_published(tmp_path: Path, bad: float) -> None:
    vocals = made(0.5)
    vocals[1, 70_000] = bad

    with pytest.raises(StageError) as caught:
        renderer(tmp_path).render(stems(vocals, made(0.5)), 1.0, lambda _: None)
    assert caught.value.code is FailureCode.SEPARATION_INVALID


@pytest.mark.parametrize("missing", [1, 60_000])
def test_too_few_samples_are_not_published(tmp_path: Path, missing: int) -> None:
    short = made(0.5)[:, missing:]

    with pytest.raises(StageError) as caught:
        renderer(tmp_path).render(stems(short, short), 1.0, lambda _: None)
    assert caught.value.code is FailureCode.SEPARATION_INVALID


def test_silence_for_what_is_none_is_not_published(tmp_path: Path) -> None:
    nothing = np.zeros((2, SAMPLES))

    with pytest.raises(StageError) as caught:
        renderer(tmp_path).render(stems(nothing, nothing), 1.0, lambda _: None)
    assert caught.value.code is FailureCode.SEPARATION_INVALID
    assert renderer(tmp_path).render(stems(nothing, nothing), 1.0, lambda _: None, silent=True).gain == 1.0


def test_an_encoder_that_fails_ends_the_rendering(tmp_path: Path) -> None:
    (tmp_path / "vocals.mp3").mkdir()

    with pytest.raises(IsADirectoryError):
        renderer(tmp_path).render(stems(made(0.5), made(0.5)), 1.0, lambda _: None)
