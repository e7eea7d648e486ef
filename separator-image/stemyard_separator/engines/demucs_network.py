"""Loads an HTDemucs network from safetensors and reduces it to the requested sources and precision."""

import json
from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Any, Final

import torch
from demucs.htdemucs import HTDemucs
from safetensors import SafetensorError, safe_open
from torch import nn

from stemyard_contract.failures import FailureCode
from stemyard_separator.errors import ModelError
from stemyard_separator.models.folder import InstalledModel

_CLASS: Final = "demucs.htdemucs.HTDemucs"
_MATRIX_LAYERS: Final = (nn.Conv1d, nn.Conv2d, nn.ConvTranspose1d, nn.ConvTranspose2d, nn.Linear, nn.MultiheadAttention)
"""Layers whose weights autocast would cast at each call."""


def load_network(model: InstalledModel) -> HTDemucs:
    """Return the network of a safetensors file, in evaluation mode.

    Raises:
        ModelError: MODEL_CORRUPT if it is not a safetensors file or not of this network.
    """
    try:
        with safe_open(str(model.path), framework="pt") as file:
            metadata = file.metadata() or {}
            state = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 - not a dict
        network = _build(metadata)
        network.load_state_dict({key: value.float() for key, value in state.items()})
    except (SafetensorError, ValueError, TypeError, RuntimeError, KeyError, OSError) as error:
        detail = f"{model.path.name} is not a network of this model."
        raise ModelError(FailureCode.MODEL_CORRUPT, detail, cause=f"{_CLASS}: {error}") from error
    return network.eval()


def select_sources(network: HTDemucs, sources: Sequence[int]) -> HTDemucs:
    """Reduce a network to some of its sources, in place; their output does not change.

    Every source is a few output channels of the last convolution of either branch, so the other sources' channels and
    inverse transforms are unnecessary work. In the published networks no layer follows these convolutions.
    """
    for layer, width in ((network.decoder[-1], 2), (network.tdecoder[-1], 1)):
        if not isinstance(layer.norm2, nn.Identity) or not network.cac:
            raise ModelError(FailureCode.MODEL_CORRUPT, f"It differs from the published {_CLASS}.")
        size = width * network.audio_channels
        channels = [source * size + channel for source in sources for channel in range(size)]
        convolution = layer.conv_tr
        convolution.weight = nn.Parameter(convolution.weight[:, channels].detach(), requires_grad=False)
        convolution.bias = nn.Parameter(convolution.bias[channels].detach(), requires_grad=False)
    network.sources = [network.sources[source] for source in sources]
    return network


def cast_weights(network: nn.Module, dtype: torch.dtype) -> None:
    """Cast once the weights that autocast would cast at each call."""
    for module in network.modules():
        if isinstance(module, _MATRIX_LAYERS):
            module.to(dtype)


def _build(metadata: Mapping[str, str]) -> HTDemucs:
    """Return an untrained network; metadata that names any other class is refused, never imported."""
    if metadata.get("klass") != _CLASS:
        raise ValueError(f"its class is {metadata.get('klass')!r}")
    args, kwargs = (_decode(json.loads(metadata[name])) for name in ("args", "kwargs"))
    return HTDemucs(*args, **kwargs)


def _decode(value: Any) -> Any:  # noqa: ANN401 - JSON
    if isinstance(value, dict):
        if value.get("_type") == "fraction":
            return Fraction(value["numerator"], value["denominator"])
        return {key: _decode(item) for key, item in value.items()}
    return [_decode(item) for item in value] if isinstance(value, list) else value
