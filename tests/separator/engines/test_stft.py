"""Analysis and synthesis of a stream against numpy's FFT."""

from itertools import pairwise

import numpy as np
import pytest

from stemyard_separator.engines.stft import HOP, Analysis, Synthesis

GENERATOR = np.random.default_rng(5)


@pytest.mark.parametrize("samples", [1, 1023, 4096, 44_100, 524_288, 700_001])
@pytest.mark.parametrize("block", [1000, 65_536])
@pytest.mark.parametrize("context", [0, 12])
def test_the_inverse_transform_restores_the_signal(samples: int, block: int, context: int) -> None:
    mix = GENERATOR.standard_normal((2, samples)).astype(np.float32)
    blocks = (mix[:, start : start + block] for start in range(0, samples, block))
    synthesis = Synthesis(samples)

    windows = Analysis(blocks, samples, 512, context).windows()
    parts = [synthesis.add(window.spectra[:, window.kept]) for window in windows]
    result = np.concatenate([*parts, synthesis.finish()], axis=1)

    assert result.shape == mix.shape
    assert np.abs(result - mix).max() < 1e-5


def test_the_spectrum_is_that_of_centred_frames() -> None:
    mix = GENERATOR.standard_normal((2, 20_000)).astype(np.float32)

    (whole,) = Analysis([mix], 20_000, 512).windows()
    spectra = whole.spectra

    window = np.hanning(4097)[:-1]
    padded = np.pad(mix[1], (2048, 4096))
    assert np.allclose(spectra[1, 7], np.fft.rfft(padded[7 * 1024 : 7 * 1024 + 4096] * window), atol=1e-3)


@pytest.mark.parametrize("frames", [1, 511, 512, 513, 1000, 1001])
def test_windows_overlap_by_their_context(frames: int) -> None:
    mix = GENERATOR.standard_normal((2, (frames - 1) * HOP)).astype(np.float32)

    windows = list(Analysis([mix], mix.shape[1], 512, 12).windows())

    assert [window.spectra.shape[1] for window in windows[:-1]] == [512] * (len(windows) - 1)
    assert sum(window.spectra[:, window.kept].shape[1] for window in windows) == frames
    for one, following in pairwise(windows):
        assert (one.kept.stop, following.kept.start) == (500, 12)
        assert np.array_equal(one.spectra[:, -24:], following.spectra[:, :24])
