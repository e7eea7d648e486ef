"""How good a separation is, and what a file decodes to."""

from io import BytesIO

import av
import numpy as np
import numpy.typing as npt

Samples = npt.NDArray[np.float64]
"""Shape (channels, samples)."""


def decode(data: bytes) -> tuple[Samples, int]:
    """Return all samples of the first audio stream, and its sample rate in Hz."""
    with av.open(BytesIO(data)) as container:
        stream = container.streams.audio[0]
        resampler = av.AudioResampler(format="fltp", layout="stereo", rate=stream.rate)
        blocks = [
            frame.to_ndarray() for packet in [*container.decode(stream), None] for frame in resampler.resample(packet)
        ]
        return np.concatenate(blocks, axis=1).astype(np.float64), stream.rate


def si_sdr(estimate: Samples, reference: Samples) -> float:
    """Return the scale-invariant signal-to-distortion ratio in dB (Le Roux et al., 2019)."""
    one, other = estimate.ravel() - estimate.mean(), reference.ravel() - reference.mean()
    target = other * (one @ other) / (other @ other)
    error = one - target
    return float(10 * np.log10((target @ target) / (error @ error)))
