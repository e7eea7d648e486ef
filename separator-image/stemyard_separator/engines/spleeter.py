"""Spleeter's two-stem network on onnxruntime; only this module imports onnxruntime."""

from collections.abc import Iterable, Iterator
from typing import Final

import numpy as np
import numpy.typing as npt
import onnxruntime

from stemyard_contract.failures import FailureCode
from stemyard_contract.findings import Stem
from stemyard_contract.models import Engine
from stemyard_separator.engines.mix_delay import MixDelay
from stemyard_separator.engines.protocol import MixStatistics, Samples, StemBlock
from stemyard_separator.engines.stft import Analysis, Spectra, Synthesis
from stemyard_separator.errors import ModelError
from stemyard_separator.models.folder import InstalledModel

_FRAMES: Final = 512
"""Frames per input of the network, as in its training (11.9 s)."""
_BINS: Final = 1024
"""Bins that the network sees, up to 11 kHz: everything above belongs to the instrumental."""
_MIN_LEVEL: Final = 0.05
"""Standard deviation to which a quieter mix is amplified for the network, which was trained on mastered music: without
it, a mix 40 dB down loses 17 dB of SI-SDR. Louder mixes are not scaled."""
_SILENCE: Final = 1e-5


class SpleeterEngine:
    """Spleeter's network, loaded."""

    def __init__(self, model: InstalledModel, threads: int) -> None:
        self.name = Engine.SPLEETER.value
        self.digest = model.digest
        self.device = "cpu"
        self.versions = {"onnxruntime": str(onnxruntime.__version__), "numpy": np.__version__}
        self.parameters: dict[str, float | str] = {"threads": threads, "frames": _FRAMES, "precision": "float32"}
        self._session = _open_session(model, threads)

    def separate(self, mix: Iterable[Samples], statistics: MixStatistics) -> Iterator[StemBlock]:
        """Yield vocals and instrumental; the instrumental is the mix minus the vocals."""
        delay = MixDelay(mix)
        synthesis = Synthesis(statistics.samples)
        gain = np.float32(max(1.0, _MIN_LEVEL / max(statistics.standard_deviation, _SILENCE)))
        for spectra in Analysis(delay.blocks(), statistics.samples, _FRAMES).chunks():
            self._apply_mask(spectra, gain)
            yield _stems(delay, synthesis.add(spectra))
        yield _stems(delay, synthesis.finish())

    def _apply_mask(self, spectra: Spectra, gain: np.float32) -> None:
        """Turn the mix's spectra into those of the vocals, in place; `gain` is applied to the network's input."""
        low = spectra[:, :, :_BINS]
        low *= self._mask(np.abs(low) * gain)
        spectra[:, :, _BINS:] = 0

    def _mask(self, magnitude: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        frames = magnitude.shape[1]
        padded = np.zeros((1, 2, _FRAMES, _BINS), np.float32)
        padded[0, :, :frames] = magnitude
        try:
            (mask,) = self._session.run(None, {self._session.get_inputs()[0].name: padded})
        except Exception as error:  # onnxruntime's errors have no common base class
            raise _model_error(error) from error
        return np.asarray(mask[0, :, :frames], np.float32)


def _stems(delay: MixDelay, vocals: Samples) -> StemBlock:
    return {Stem.VOCALS: vocals, Stem.INSTRUMENTAL: delay.take(vocals.shape[1]) - vocals}


def _open_session(model: InstalledModel, threads: int) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    # the extended optimisations take three times as long as the rest of loading and do not speed up this network
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    # encoders run while the network is idle: spinning threads would take their cores
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    try:
        return onnxruntime.InferenceSession(str(model.path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime's errors have no common base class
        raise ModelError(FailureCode.MODEL_CORRUPT, f"onnxruntime cannot load {model.path.name}.") from error


def _model_error(error: Exception) -> ModelError:
    if "allocate" in str(error) or isinstance(error, MemoryError):
        return ModelError(FailureCode.OUT_OF_MEMORY)
    return ModelError(FailureCode.SEPARATION_INVALID, f"The network failed: {type(error).__name__}.")
