"""Engine of Hybrid Transformer Demucs on torch.

Rouard, Massa, Defossez, "Hybrid Transformers for Music Source Separation" (ICASSP 2023). The network's class comes from
the `demucs` package.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import partial
from hashlib import sha256
from importlib.metadata import version
from typing import Any, Final

import numpy as np
import torch
from demucs.htdemucs import HTDemucs

from stemyard_contract.findings import Stem
from stemyard_contract.models import Engine
from stemyard_separator.engines.batching import Batcher, HostCopy, PendingEstimate
from stemyard_separator.engines.cpu_rewrite import rewrite_for_cpu
from stemyard_separator.engines.demucs_network import cast_weights, load_network, select_sources
from stemyard_separator.engines.gpu_rewrite import rewrite_for_gpu
from stemyard_separator.engines.malloc import retain_freed_memory
from stemyard_separator.engines.mix_delay import MixDelay
from stemyard_separator.engines.overlap import Estimate, OverlapAdd, Segment, Segmentation, SegmentPosition
from stemyard_separator.engines.presets import Precision, Preset
from stemyard_separator.engines.protocol import MixStatistics, Samples, StemBlock
from stemyard_separator.engines.torch_device import device_name, open_device
from stemyard_separator.models.folder import InstalledModel

_EPSILON: Final = 1e-8
"""Added to the standard deviation, as in demucs."""
_GPU_QUEUE: Final = 1
"""Batches that a GPU computes while the estimates of an earlier one are overlap-added."""
_DTYPES: Final = {Precision.FP32: torch.float32, Precision.BF16: torch.bfloat16, Precision.FP16: torch.float16}


@dataclass(frozen=True, slots=True)
class SubModel:
    """One network of a model.

    Attributes:
        network: maps (batch, 2, segment) to (batch, sources, 2, segment).
        sources: indices of its outputs in the model's sources.
    """

    network: Callable[[torch.Tensor], torch.Tensor]
    sources: tuple[int, ...]


class DemucsEngine:
    """One or more loaded networks of one model.

    Args:
        weights: files of the required sub-models.
        sub_model_stems: stems taken from each sub-model; empty means all requested stems.
        stems: requested stems.
        device: `cpu`, `cuda`, or `auto`: a GPU if there is one.
        preset: overlap and precision.
        threads: CPU threads.
        compiled: whether to compile the networks with torch, which takes minutes and needs a C++ compiler; otherwise
            they are rewritten by hand.
        residual: whether `other` is the mix minus the other stems if all are requested, so that they sum to the mix.
    """

    def __init__(
        self,
        weights: Sequence[InstalledModel],
        sub_model_stems: Sequence[frozenset[Stem]],
        stems: Iterable[Stem],
        device: str,
        preset: Preset,
        threads: int,
        compiled: bool = False,
        residual: bool = True,
    ) -> None:
        self._device = open_device(device, threads)
        if self._device.type == "cpu":
            retain_freed_memory()
        networks = [load_network(model) for model in weights]
        first = networks[0]
        self._segment = int(first.segment * first.samplerate)
        self._overlap = preset.overlap
        self._names = [Stem(name) for name in first.sources]
        self._stems = _network_stems(stems)
        self._residual = residual and set(self._stems) == set(self._names)
        self._precision = preset.precision_on(self._device.type)
        self._sub_models = [
            self._prepare(network, self._source_indices(own_stems), compiled)
            for network, own_stems in zip(networks, sub_model_stems, strict=True)
        ]
        self._batcher = Batcher(self._device)
        self.name = Engine.DEMUCS.value
        self.digest = _digest(weights)
        self.device = device_name(self._device)
        self.versions = {"torch": str(torch.__version__), "demucs": version("demucs"), "numpy": np.__version__}
        self.parameters: dict[str, float | str] = {
            "preset": preset.name,
            "overlap": preset.overlap,
            "shifts": 0,
            "precision": self._precision,
            "threads": threads,
            "compiled": str(compiled).lower(),
            "residual": str(self._residual).lower(),
        }

    def _prepare(self, network: HTDemucs, sources: tuple[int, ...], compiled: bool) -> SubModel:
        network = select_sources(network, sources).to(self._device)
        if compiled:
            network.compile(dynamic=False)
        elif self._device.type == "cpu":
            network = rewrite_for_cpu(network)
        else:
            network = rewrite_for_gpu(network)
            cast_weights(network, _DTYPES[self._precision])
        return SubModel(network, sources)

    def _source_indices(self, own_stems: frozenset[Stem]) -> tuple[int, ...]:
        return tuple(self._names.index(stem) for stem in self._stems if not own_stems or stem in own_stems)

    def separate(self, mix: Iterable[Samples], statistics: MixStatistics) -> Iterator[StemBlock]:
        """Yield the requested stems; instrumental is the mix minus the vocals, other what all other stems leave."""
        delay, scale = MixDelay(mix), statistics.standard_deviation + _EPSILON
        stride = int((1 - self._overlap) * self._segment)
        segmentation = Segmentation(statistics.samples, self._segment, stride)
        overlap_add = OverlapAdd(segmentation, len(self._stems))
        blocks = ((block - np.float32(statistics.mean)) / np.float32(scale) for block in delay.blocks())
        for position, estimate in self._estimates(segmentation.segments(blocks)):
            complete = overlap_add.add(position, estimate) * np.float32(scale) + np.float32(statistics.mean)
            yield self._stem_block(complete, delay.take(complete.shape[2]))

    def _stem_block(self, estimate: Estimate, mix: Samples) -> StemBlock:
        stems = {stem: estimate[index] for index, stem in enumerate(self._stems)}
        if self._residual:
            stems[Stem.OTHER] = mix - sum(samples for stem, samples in stems.items() if stem is not Stem.OTHER)
        if Stem.VOCALS in stems:
            stems[Stem.INSTRUMENTAL] = mix - stems[Stem.VOCALS]
        return stems

    def _estimates(self, segments: Iterable[Segment]) -> Iterator[tuple[SegmentPosition, Estimate]]:
        queue_length = _GPU_QUEUE if self._device.type == "cuda" else 0
        queue: deque[tuple[Sequence[SegmentPosition], PendingEstimate]] = deque()
        for batch in self._batcher.batches(segments):
            positions, audio = zip(*batch, strict=True)
            queue.append((positions, self._batcher.run(self._forward, np.stack(audio))))
            if len(queue) > queue_length:
                yield from _wait(*queue.popleft())
        for remaining in queue:
            yield from _wait(*remaining)

    def _forward(self, audio: Estimate) -> PendingEstimate:
        """Start to compute (batch, requested stems, 2, segment)."""
        mix = self._to_device(audio)
        with torch.inference_mode(), self._autocast():
            outputs = [sub_model.network(mix) for sub_model in self._sub_models]
            joined = torch.cat([output.float() for output in outputs], dim=1)
            order = [source for sub_model in self._sub_models for source in sub_model.sources]
            estimate = joined[:, [order.index(self._names.index(stem)) for stem in self._stems]]
        return HostCopy(estimate) if estimate.is_cuda else partial(np.asarray, estimate.numpy(), np.float32)

    def _to_device(self, audio: Estimate) -> torch.Tensor:
        mix = torch.from_numpy(audio)
        return mix if self._device.type == "cpu" else mix.pin_memory().to(self._device, non_blocking=True)

    def _autocast(self) -> AbstractContextManager[Any]:
        dtype = _DTYPES[self._precision]
        # the network's STFT and normalisation stay in float32 under autocast
        return nullcontext() if dtype is torch.float32 else torch.autocast(self._device.type, dtype)


def _wait(positions: Sequence[SegmentPosition], pending: PendingEstimate) -> Iterator[tuple[SegmentPosition, Estimate]]:
    return zip(positions, pending(), strict=True)


def _network_stems(stems: Iterable[Stem]) -> tuple[Stem, ...]:
    """Return the stems that the network must produce for the requested ones, in a fixed order."""
    return tuple(sorted({Stem.VOCALS if stem is Stem.INSTRUMENTAL else stem for stem in stems}))


def device_report() -> str:
    """Return versions and device, after running a small network on it."""
    device = open_device("auto", 1)
    network = HTDemucs(["vocals"], channels=16, t_layers=1).to(device).eval()
    with torch.inference_mode():
        samples = int(network.segment * network.samplerate)
        shape = tuple(network(torch.zeros(1, 2, samples, device=device)).shape)
    return f"torch {torch.__version__}, demucs {version('demucs')}, {device_name(device)}, output shape {shape}"


def _digest(weights: Sequence[InstalledModel]) -> str:
    if len(weights) == 1:
        return weights[0].digest
    return f"sha256:{sha256(' '.join(model.digest for model in weights).encode()).hexdigest()}"
