"""Hybrid Transformer Demucs on torch: the only module that knows torch and demucs.

Rouard, Massa, Defossez, "Hybrid Transformers for Music Source Separation" (ICASSP 2023). The network comes from the
`demucs` package; weights are safetensors only, and their metadata can name no other class.
"""

import json
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from hashlib import sha256
from itertools import islice
from typing import Any, Final

import numpy as np
import torch
from demucs.htdemucs import HTDemucs
from safetensors import SafetensorError, safe_open
from torch import nn

from stemyard_contract.failures import FailureCode
from stemyard_contract.findings import Stem
from stemyard_contract.models import Engine as EngineName
from stemyard_separator.engines.cpu_rewrite import rewrite_for_cpu
from stemyard_separator.engines.gpu_rewrite import rewrite_for_gpu
from stemyard_separator.engines.malloc import retain_freed_memory
from stemyard_separator.engines.mix_delay import MixDelay
from stemyard_separator.engines.overlap import Estimate, OverlapAdd, Segmentation, SegmentPosition
from stemyard_separator.engines.presets import Precision, Preset
from stemyard_separator.engines.protocol import MixStatistics, Samples, StemBlock
from stemyard_separator.errors import ModelError
from stemyard_separator.models.folder import InstalledModel

NETWORK: Final = "demucs.htdemucs.HTDemucs"
_EPSILON: Final = 1e-8
"""Added to the standard deviation, as demucs does."""
_LARGEST_BATCH: Final = 16
_MEMORY_SHARE: Final = 0.8
_AHEAD: Final = 1
"""Batches that a GPU computes while earlier ones are added up."""
_PRODUCTS: Final = (nn.Conv1d, nn.Conv2d, nn.ConvTranspose1d, nn.ConvTranspose2d, nn.Linear, nn.MultiheadAttention)
"""Layers whose weights autocast would round anew at each call."""
_TYPES: Final = {Precision.BF16: torch.bfloat16, Precision.FP16: torch.float16}
Forward = Callable[[torch.Tensor], torch.Tensor]
Started = Callable[[], Estimate]
"""Waits for estimates that are being computed."""


@dataclass(frozen=True, slots=True)
class SubModel:
    """One network of a model.

    Attributes:
        network: (batch, 2, segment) to (batch, sources, 2, segment).
        sources: which of the model's sources these are.
    """

    network: Forward
    sources: tuple[int, ...]


class DemucsEngine:
    """One or more networks of one model, loaded.

    Args:
        weights: files of the members that are needed.
        specialists: for each member the stems taken from it; empty means all that are wanted.
        stems: what is wanted.
        device: `cpu`, `cuda`, or `auto`: a GPU where there is one.
        preset: speed against quality.
        threads: cores it may use.
        compiled: whether torch compiles the networks, which takes minutes and a C++ compiler; on a processor they are
            rewritten by hand instead where it does not.
    """

    def __init__(
        self,
        weights: Sequence[InstalledModel],
        specialists: Sequence[frozenset[Stem]],
        stems: Iterable[Stem],
        device: str,
        preset: Preset,
        threads: int,
        compiled: bool = False,
    ) -> None:
        self._device = open_device(device, threads)
        if self._device.type == "cpu":
            retain_freed_memory()
        networks = [load_network(model) for model in weights]
        first = networks[0]
        self._segment = int(first.segment * first.samplerate)
        self._overlap = preset.overlap
        self._names = [Stem(name) for name in first.sources]
        self._stems = needed_stems(stems)
        self._precision = preset.precision_on(self._device.type)
        self._members = [
            self._member(network, self._sources_of(specialist), compiled)
            for network, specialist in zip(networks, specialists, strict=True)
        ]
        self._batch = Batch(self._device)
        self.name = EngineName.DEMUCS.value
        self.digest = _digest(weights)
        self.device = _device_name(self._device)
        self.versions = {"torch": str(torch.__version__), "demucs": _demucs_version(), "numpy": np.__version__}
        self.parameters: dict[str, float | str] = {
            "preset": preset.name,
            "overlap": preset.overlap,
            "shifts": 0,
            "precision": self._precision,
            "threads": threads,
            "compiled": str(compiled).lower(),
        }

    def _member(self, network: HTDemucs, sources: tuple[int, ...], compiled: bool) -> SubModel:
        narrowed = select_sources(network, sources).to(self._device)
        if compiled:
            narrowed.compile(dynamic=False)
        elif self._device.type == "cpu":
            narrowed = rewrite_for_cpu(narrowed)
        else:
            narrowed = rewrite_for_gpu(narrowed)
            _round(narrowed, _TYPES.get(self._precision, torch.float32))
        return SubModel(narrowed, sources)

    def _sources_of(self, specialist: frozenset[Stem]) -> tuple[int, ...]:
        wanted = [stem for stem in self._stems if not specialist or stem in specialist]
        return tuple(self._names.index(stem) for stem in wanted)

    def separate(self, mix: Iterable[Samples], track: MixStatistics) -> Iterator[StemBlock]:
        """Yield the wanted stems; the instrumental is what the vocals leave of the mix."""
        delay, scale = MixDelay(mix), track.standard_deviation + _EPSILON
        grid = Segmentation(track.samples, self._segment, int((1 - self._overlap) * self._segment))
        adder = OverlapAdd(grid, len(self._stems))
        blocks = ((block - np.float32(track.mean)) / np.float32(scale) for block in delay.blocks())
        for place, estimate in self._estimates(grid.segments(blocks)):
            done = adder.add(place, estimate) * np.float32(scale) + np.float32(track.mean)
            yield self._block(done, delay.take(done.shape[2]))

    def _block(self, done: Estimate, mix: Samples) -> StemBlock:
        stems = {stem: done[index] for index, stem in enumerate(self._stems)}
        if Stem.VOCALS in stems:
            stems[Stem.INSTRUMENTAL] = mix - stems[Stem.VOCALS]
        return stems

    def _estimates(
        self, segments: Iterable[tuple[SegmentPosition, Samples]]
    ) -> Iterator[tuple[SegmentPosition, Estimate]]:
        ahead = _AHEAD if self._device.type == "cuda" else 0
        started: deque[tuple[Sequence[SegmentPosition], Started]] = deque()
        for group in self._batch.groups(segments):
            places, audio = zip(*group, strict=True)
            started.append((places, self._batch.run(self._forward, np.stack(audio))))
            if len(started) > ahead:
                yield from _finished(*started.popleft())
        for each in started:
            yield from _finished(*each)

    def _forward(self, audio: Estimate) -> Started:
        """Begin to compute (batch, wanted stems, 2, segment)."""
        given = self._sent(audio)
        with torch.inference_mode(), self._autocast():
            parts = [member.network(given) for member in self._members]
            joined = torch.cat([part.float() for part in parts], dim=1)
            order = [source for member in self._members for source in member.sources]
            wanted = joined[:, [order.index(self._names.index(stem)) for stem in self._stems]]
        return _Arriving(wanted) if wanted.is_cuda else partial(np.asarray, wanted.numpy(), np.float32)

    def _sent(self, audio: Estimate) -> torch.Tensor:
        given = torch.from_numpy(audio)
        return given if self._device.type == "cpu" else given.pin_memory().to(self._device, non_blocking=True)

    def _autocast(self) -> AbstractContextManager[Any]:
        kind = _TYPES.get(self._precision)
        # STFT and normalisation of the network stay in float32 under autocast
        return nullcontext() if kind is None else torch.autocast(self._device.type, kind)


def _finished(places: Sequence[SegmentPosition], started: Started) -> Iterator[tuple[SegmentPosition, Estimate]]:
    return zip(places, started(), strict=True)


class _Arriving:
    """What a GPU still computes, on its way into pinned memory, which takes a fraction of the time of other memory."""

    def __init__(self, computed: torch.Tensor) -> None:
        self._samples = torch.empty(computed.shape, pin_memory=True)
        self._samples.copy_(computed, non_blocking=True)
        self._done = torch.cuda.Event()
        self._done.record()

    def __call__(self) -> Estimate:
        """Wait for it.

        Raises:
            ModelError: SEPARATION_INVALID if the GPU failed meanwhile.
        """
        try:
            self._done.synchronize()
        except RuntimeError as error:
            raise ModelError(FailureCode.SEPARATION_INVALID, f"The network failed: {error}") from error
        return np.asarray(self._samples.numpy(), np.float32)


class Batch:
    """How many segments go through the network at once: what fits a GPU's free memory, fewer when it did not fit."""

    def __init__(self, device: torch.device, largest: int = _LARGEST_BATCH) -> None:
        self._device = device
        self._largest = largest if device.type == "cuda" else 1
        self.size = 1
        self._measured = device.type != "cuda"

    def groups(
        self, segments: Iterable[tuple[SegmentPosition, Samples]]
    ) -> Iterator[Sequence[tuple[SegmentPosition, Samples]]]:
        """Yield segments in groups of the size that is current when the group is begun."""
        waiting = iter(segments)
        while group := list(islice(waiting, self.size)):
            yield group

    def run(self, forward: Callable[[Estimate], Started], audio: Estimate) -> Started:
        """Return `forward(audio)`, in halves where memory does not suffice.

        Raises:
            ModelError: OUT_OF_MEMORY if not even one segment fits.
        """
        try:
            return self._measuring(forward, audio)
        except (torch.OutOfMemoryError, MemoryError, RuntimeError) as error:
            if not _is_memory(error):
                raise ModelError(FailureCode.SEPARATION_INVALID, f"The network failed: {error}") from error
            if len(audio) == 1:
                raise ModelError(FailureCode.OUT_OF_MEMORY, "Not even one segment fits.") from error
        # outside the handler: the error holds on to the tensors of the attempt
        self._release()
        half = len(audio) // 2
        self.size = self._largest = max(1, half)
        halves = self.run(forward, audio[:half]), self.run(forward, audio[half:])
        return lambda: np.concatenate([each() for each in halves])

    def _measuring(self, forward: Callable[[Estimate], Started], audio: Estimate) -> Started:
        if self._measured:
            return forward(audio)
        torch.cuda.reset_peak_memory_stats(self._device)
        before = torch.cuda.memory_allocated(self._device)
        done = forward(audio)
        used = (torch.cuda.max_memory_allocated(self._device) - before) / len(audio)
        self._release()
        free, _ = torch.cuda.mem_get_info(self._device)
        self.size = int(min(self._largest, max(1.0, free * _MEMORY_SHARE / max(used, 1.0))))
        self._measured = True
        return done

    def _release(self) -> None:
        if self._device.type == "cuda":
            torch.cuda.empty_cache()


def _is_memory(error: Exception) -> bool:
    memory = isinstance(error, torch.OutOfMemoryError | MemoryError)
    return memory or "allocate memory" in str(error) or "out of memory" in str(error)


def needed_stems(wanted: Iterable[Stem]) -> tuple[Stem, ...]:
    """Return what a network has to give for the wanted stems, in a fixed order."""
    return tuple(sorted({Stem.VOCALS if stem is Stem.INSTRUMENTAL else stem for stem in wanted}))


def open_device(asked: str, threads: int) -> torch.device:
    """Return the device to compute on.

    Raises:
        ModelError: DEVICE_UNAVAILABLE if a GPU was asked for and cannot be used.
    """
    torch.set_num_threads(threads)
    # the fused attention of inference is slower on processors here than the plain one
    torch.backends.mha.set_fastpath_enabled(False)
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    if asked == "cpu" or (asked == "auto" and not torch.cuda.is_available()):
        return torch.device("cpu")
    try:
        device = torch.device("cuda")
        torch.zeros(1, device=device).add_(1).cpu()
    except (RuntimeError, AssertionError) as error:
        raise ModelError(FailureCode.DEVICE_UNAVAILABLE, str(error).partition("\n")[0]) from error
    return device


def device_report() -> str:
    """Return what there is to compute on, after computing a little on it."""
    device = open_device("auto", 1)
    small = HTDemucs(["vocals"], channels=16, t_layers=1).to(device).eval()
    with torch.inference_mode():
        shape = tuple(small(torch.zeros(1, 2, int(small.segment * small.samplerate), device=device)).shape)
    return f"torch {torch.__version__}, demucs {_demucs_version()}, {_device_name(device)}, gives {shape}"


def load_network(model: InstalledModel) -> HTDemucs:
    """Return the network of a safetensors file, ready to run.

    Raises:
        ModelError: MODEL_CORRUPT if the file is none, or is not of this network.
    """
    try:
        with safe_open(str(model.path), framework="pt") as file:
            told = file.metadata() or {}
            state = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 - not a dict
        network = _built(told)
        network.load_state_dict({key: value.float() for key, value in state.items()})
    except (SafetensorError, ValueError, TypeError, RuntimeError, KeyError, OSError) as error:
        raise ModelError(FailureCode.MODEL_CORRUPT, f"{model.path.name} is no {NETWORK}: {error}") from error
    return network.eval()


def select_sources(network: HTDemucs, sources: Sequence[int]) -> HTDemucs:
    """Leave a network only some of its sources; what it gives of them stays the same.

    Every source is a few output channels of the last convolution of either branch: those of the others, and their
    inverse transforms, are work that nobody hears. Nothing follows these convolutions in the published networks.
    """
    for layer, width in ((network.decoder[-1], 2), (network.tdecoder[-1], 1)):
        if not isinstance(layer.norm2, nn.Identity) or not network.cac:
            raise ModelError(FailureCode.MODEL_CORRUPT, f"It is no {NETWORK} as it was published.")
        size = width * network.audio_channels
        kept = [source * size + channel for source in sources for channel in range(size)]
        convolution = layer.conv_tr
        convolution.weight = nn.Parameter(convolution.weight[:, kept].detach(), requires_grad=False)
        convolution.bias = nn.Parameter(convolution.bias[kept].detach(), requires_grad=False)
    network.sources = [network.sources[source] for source in sources]
    return network


def _round(network: nn.Module, kind: torch.dtype) -> None:
    """Round the weights that autocast would round, once."""
    for part in network.modules():
        if isinstance(part, _PRODUCTS):
            part.to(kind)


def _built(told: Mapping[str, str]) -> HTDemucs:
    """Return an untrained network; metadata that names any other class is refused, never imported."""
    if told.get("klass") != NETWORK:
        raise ValueError(f"it is of {told.get('klass')!r}")
    given, named = (_decoded(json.loads(told[name])) for name in ("args", "kwargs"))
    return HTDemucs(*given, **named)


def _decoded(value: Any) -> Any:  # noqa: ANN401 - JSON
    if isinstance(value, dict):
        if value.get("_type") == "fraction":
            return Fraction(value["numerator"], value["denominator"])
        return {key: _decoded(each) for key, each in value.items()}
    return [_decoded(each) for each in value] if isinstance(value, list) else value


def _digest(weights: Sequence[InstalledModel]) -> str:
    if len(weights) == 1:
        return weights[0].digest
    return f"sha256:{sha256(' '.join(model.digest for model in weights).encode()).hexdigest()}"


def _device_name(device: torch.device) -> str:
    return f"cuda:{torch.cuda.get_device_name(device)}"[:128] if device.type == "cuda" else "cpu"


def _demucs_version() -> str:
    from importlib.metadata import version

    return version("demucs")
