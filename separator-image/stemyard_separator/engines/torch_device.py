"""Selects and configures torch's device."""

import torch

from stemyard_contract.failures import FailureCode
from stemyard_separator.errors import ModelError


def open_device(setting: str, threads: int) -> torch.device:
    """Return the device for `cpu`, `cuda` or `auto`, after configuring torch.

    Raises:
        ModelError: DEVICE_UNAVAILABLE if a GPU is required and unusable.
    """
    torch.set_num_threads(threads)
    # on CPUs the fused attention of inference is slower here than the plain one
    torch.backends.mha.set_fastpath_enabled(False)
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    if setting == "cpu" or (setting == "auto" and not torch.cuda.is_available()):
        return torch.device("cpu")
    try:
        device = torch.device("cuda")
        torch.zeros(1, device=device).add_(1).cpu()
    except (RuntimeError, AssertionError) as error:
        raise ModelError(FailureCode.DEVICE_UNAVAILABLE, cause=str(error).partition("\n")[0]) from error
    return device


def device_name(device: torch.device) -> str:
    """Return `cpu`, or `cuda:` and the name of the GPU."""
    return f"cuda:{torch.cuda.get_device_name(device)}"[:128] if device.type == "cuda" else "cpu"
