"""Analysis and synthesis of a stream against numpy's FFT."""

import numpy as np
import pytest

from stemyard_separator.engines.stft import Analysis, Synthesis

GENERATOR = np.random.default_rng(5)


@pytest.mark.parametrize("samples", [1, 1023, 4096, 44_100, 524_288, 700_001])
@pytest.mark.parametrize("block", [1000, 65_536])
def test_the_inverse_transform_restores_the_signal(samples: int, block: int) -> None:
    mix = GENERATOR.standard_normal((2, samples)).astype(np.float32)
    blocks = (mix[:, start : start + block] for start in range(0, samples, block))
    synthesis = Synthesis(samples)

    parts = [synthesis.add(chunk) for chunk in Analysis(blocks, samples, 512).chunks()]
    result = np.concatenate([*parts, synthesis.finish()], axis=1)

    assert result.shape == mix.shape
    assert np.abs(result - mix).max() < 1e-5


def test_the_spectrum_is_that_of_centred_frames() -> None:
    mix = GENERATOR.standard_normal((2, 20_000)).astype(np.float32)

    (spectra,) = Analysis([mix], 20_000, 512).chunks()

    window = np.hanning(4097)[:-1]
    padded = np.pad(mix[1], (2048, 4096))
    assert np.allclose(spectra[1, 7], np.fft.rfft(padded[7 * 1024 : 7 * 1024 + 4096] * window), atol=1e-3)
