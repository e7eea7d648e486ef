"""Batches segments for a torch device and halves batches that do not fit its memory."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from typing import Final

import numpy as np
import torch

from stemyard_contract.failures import FailureCode
from stemyard_separator.engines.overlap import Estimate, Segment
from stemyard_separator.errors import ModelError

_MAX_BATCH: Final = 16
_MEMORY_SHARE: Final = 0.8
PendingEstimate = Callable[[], Estimate]
"""Waits for estimates that are being computed and returns them."""


class HostCopy:
    """Asynchronous copy of a GPU's result to pinned memory, much faster than a copy to pageable memory."""

    def __init__(self, result: torch.Tensor) -> None:
        self._samples = torch.empty(result.shape, pin_memory=True)
        self._samples.copy_(result, non_blocking=True)
        self._done = torch.cuda.Event()
        self._done.record()

    def __call__(self) -> Estimate:
        """Wait for the copy and return it.

        Raises:
            ModelError: DEVICE_UNAVAILABLE if the GPU failed.
        """
        try:
            self._done.synchronize()
        except RuntimeError as error:
            raise _network_error(error) from error
        return np.asarray(self._samples.numpy(), np.float32)


class Batcher:
    """Chooses the batch size: 1 on a CPU; on a GPU what fits its free memory, smaller after an out-of-memory error."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._max_size = _MAX_BATCH if device.type == "cuda" else 1
        self.size = 1
        self._measured = device.type != "cuda"

    def batches(self, segments: Iterable[Segment]) -> Iterator[Sequence[Segment]]:
        """Yield segments in batches, each of the size that is current when it is started."""
        remaining = iter(segments)
        while batch := list(islice(remaining, self.size)):
            yield batch

    def run(self, forward: Callable[[Estimate], PendingEstimate], audio: Estimate) -> PendingEstimate:
        """Return `forward(audio)`, split in halves if memory does not suffice.

        Raises:
            ModelError: OUT_OF_MEMORY if not even one segment fits, SEPARATION_INVALID if the network fails,
                DEVICE_UNAVAILABLE if the GPU does: its context is of no use to this process any more.
        """
        try:
            return self._measure(forward, audio)
        except (torch.OutOfMemoryError, MemoryError, RuntimeError) as error:
            if not _is_out_of_memory(error):
                raise _network_error(error) from error
            if len(audio) == 1:
                raise ModelError(FailureCode.OUT_OF_MEMORY, "Not even one segment fits.") from error
        # outside the handler: the error references the tensors of the failed attempt
        self._empty_cache()
        half = len(audio) // 2
        self.size = self._max_size = max(1, half)
        halves = self.run(forward, audio[:half]), self.run(forward, audio[half:])
        return lambda: np.concatenate([pending() for pending in halves])

    def _measure(self, forward: Callable[[Estimate], PendingEstimate], audio: Estimate) -> PendingEstimate:
        """Run the batch; after the first one, set the batch size from the memory it used."""
        if self._measured:
            return forward(audio)
        torch.cuda.reset_peak_memory_stats(self._device)
        before = torch.cuda.memory_allocated(self._device)
        pending = forward(audio)
        per_segment = (torch.cuda.max_memory_allocated(self._device) - before) / len(audio)
        self._empty_cache()
        free, _ = torch.cuda.mem_get_info(self._device)
        self.size = int(min(self._max_size, max(1.0, free * _MEMORY_SHARE / max(per_segment, 1.0))))
        self._measured = True
        return pending

    def _empty_cache(self) -> None:
        if self._device.type == "cuda":
            torch.cuda.empty_cache()


def _network_error(error: Exception) -> ModelError:
    lost = "CUDA error" in str(error) or type(error).__name__ == "AcceleratorError"
    return ModelError(FailureCode.DEVICE_UNAVAILABLE if lost else FailureCode.SEPARATION_INVALID, cause=str(error))


def _is_out_of_memory(error: Exception) -> bool:
    has_type = isinstance(error, torch.OutOfMemoryError | MemoryError)
    return has_type or "allocate memory" in str(error) or "out of memory" in str(error)
