"""Engine of Spleeter: its network (`models/spleeter_network.py`) on onnxruntime, which only this module imports."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
import onnxruntime

from stemyard_contract.failures import FailureCode
from stemyard_contract.findings import Stem
from stemyard_contract.models import Engine
from stemyard_separator.engines.mix_delay import MixDelay
from stemyard_separator.engines.protocol import MixStatistics, Samples, StemBlock
from stemyard_separator.engines.stft import Analysis, Spectra, Synthesis, Window
from stemyard_separator.errors import ModelError
from stemyard_separator.models.folder import InstalledModel

_FRAMES: Final = 512
"""Frames per input of the network, as in its training (11.9 s)."""
_CONTEXT: Final = 12
"""Frames at each end of an input whose masks are taken from its neighbour: without them the vocals lose 3 dB around
every seam, within 0.1 s."""
_BINS: Final = 1024
"""Bins that the network sees, up to 11 kHz: everything above belongs to the instrumental."""
_WIDE_BINS: Final = 1536
"""Bins up to 16 kHz, as in Spleeter's own 16 kHz configurations of the same weights, for 50 % more CPU time."""
_DECLARED_FRAMES: Final = b"\x0a\x08\x12\x06frames"
_DECLARED_BINS: Final = b"\x0a\x03\x08"
"""Start of a dimension with a fixed size, below 2^14, in protobuf's encoding of ONNX; the size follows."""
_LEVELS: Final = (0.05, 0.35)
"""Levels between which a mix is brought for the network, which was trained on mastered music: 40 dB below, it loses
17 dB of SI-SDR, 40 dB above (float files) 1.4 dB, 80 dB above 7 dB."""
_SILENT_CHANNEL: Final = 1e-4
"""Share of the other channel's power below which the network gets the other channel in place of a silent one."""
_SILENCE: Final = 1e-5


class SpleeterEngine:
    """Spleeter's network, loaded."""

    def __init__(self, model: InstalledModel, threads: int, *, wide: bool = False) -> None:
        self._bins = _WIDE_BINS if wide else _BINS
        self.name = Engine.SPLEETER.value
        self.digest = model.digest
        self.device = "cpu"
        self.versions = {"onnxruntime": str(onnxruntime.__version__), "numpy": np.__version__}
        self.parameters: dict[str, float | str] = {
            "threads": threads,
            "frames": _FRAMES,
            "context": _CONTEXT,
            "bins": self._bins,
            "precision": "float32",
        }
        self._session = _open_session(model, threads, self._bins)

    def separate(self, mix: Iterable[Samples], statistics: MixStatistics) -> Iterator[StemBlock]:
        """Yield vocals and instrumental; the instrumental is the mix minus the vocals."""
        delay = MixDelay(mix)
        synthesis = Synthesis(statistics.samples)
        gain = _input_gain(statistics)
        for window in Analysis(delay.blocks(), statistics.samples, _FRAMES, _CONTEXT).windows():
            yield _stems(delay, synthesis.add(self._vocals(window, gain)))
        yield _stems(delay, synthesis.finish())

    def _vocals(self, window: Window, gain: np.float32) -> Spectra:
        """Return the vocals of the window's kept frames; `gain` is applied to the network's input."""
        mask = self._mask(_without_silent_channel(np.abs(window.spectra[:, :, : self._bins])) * gain)
        kept = window.spectra[:, window.kept]
        kept[:, :, : self._bins] *= mask[:, window.kept]
        kept[:, :, self._bins :] = 0
        return kept

    def _mask(self, magnitude: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        frames = magnitude.shape[1]
        padded = np.zeros((1, 2, _FRAMES, self._bins), np.float32)
        padded[0, :, :frames] = magnitude
        try:
            (mask,) = self._session.run(None, {self._session.get_inputs()[0].name: padded})
        except Exception as error:  # onnxruntime's errors have no common base class
            raise _model_error(error) from error
        return np.asarray(mask[0, :, :frames], np.float32)


def _input_gain(statistics: MixStatistics) -> np.float32:
    """Return the gain of the network's input. The level is that of both channels: antiphase ones have no mono mix."""
    level = max(statistics.standard_deviation if statistics.level is None else statistics.level, _SILENCE)
    return np.float32(np.clip(level, *_LEVELS) / level)


def _without_silent_channel(magnitude: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Return the magnitudes, those of a silent channel replaced by the other's: the network was trained on stereo."""
    power = np.square(magnitude).sum(axis=(1, 2))
    loud = int(np.argmax(power))
    return magnitude[[loud, loud]] if power[1 - loud] < _SILENT_CHANNEL * power[loud] else magnitude


def _stems(delay: MixDelay, vocals: Samples) -> StemBlock:
    return {Stem.VOCALS: vocals, Stem.INSTRUMENTAL: delay.take(vocals.shape[1]) - vocals}


def _open_session(model: InstalledModel, threads: int, bins: int) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    # the extended optimisations take three times as long as the rest of loading and do not speed up this network
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    # encoders run while the network is idle: spinning threads would take their cores
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    try:
        return onnxruntime.InferenceSession(_graph(model.path, bins), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime's errors have no common base class
        raise ModelError(FailureCode.MODEL_CORRUPT, f"onnxruntime cannot load {model.path.name}.") from error


def _graph(path: Path, bins: int) -> str | bytes:
    """Return the model, declared for this number of bins: its convolutions have no size of their own."""
    if bins == _BINS:
        return str(path)
    declared, wanted = (_DECLARED_FRAMES + _DECLARED_BINS + _varint(each) for each in (_BINS, bins))
    return path.read_bytes().replace(declared, wanted)


def _varint(value: int) -> bytes:
    """Return a number of 8 to 14 bits in protobuf's encoding."""
    return bytes((value & 0x7F | 0x80, value >> 7))


def _model_error(error: Exception) -> ModelError:
    if "allocate" in str(error) or isinstance(error, MemoryError):
        return ModelError(FailureCode.OUT_OF_MEMORY)
    return ModelError(FailureCode.SEPARATION_INVALID, f"The network failed: {type(error).__name__}.")
