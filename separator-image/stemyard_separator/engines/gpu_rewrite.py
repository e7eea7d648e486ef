"""Rewrites a network for GPUs: removes norms over a whole segment, for which torch uses one thread block per norm.

A residual branch ends with a `1 x 1` convolution, norm, GLU and layer scale. The norm's mean and variance follow from
the second moments of the few channels before the convolution, so the norm is folded into the convolution's weights and
the wide tensor is written once instead of being read and written by each layer. Layers that the published networks do
not have are not changed.
"""

from typing import Any, Final

import torch
from demucs.htdemucs import HTDemucs
from torch import nn
from torch.nn import functional as F  # noqa: N812 - its usual name

from stemyard_separator.engines.cpu_rewrite import residual_layers, transformer_layers

_ALIGNED: Final = 8
"""Tensor cores process multiples of this number of channels."""
_CHUNK: Final = 1024
"""Samples per sum of second moments, so that a long segment uses more than one thread block."""


def rewrite_for_gpu(network: HTDemucs) -> HTDemucs:
    """Rewrite a network, in place, for inference on a GPU; its output is the same up to rounding."""
    with torch.inference_mode():
        for layer in transformer_layers(network):
            if layer.norm_out and layer.norm_out.num_groups == 1:
                layer.norm_out = _WholeNorm(layer.norm_out)
        for layer in residual_layers(network):
            layer.dconv = _Residual(layer.dconv)
    return network


class _WholeNorm(nn.Module):  # type: ignore[misc] # torch is untyped here
    """Normalises each (length, channels) as one group."""

    def __init__(self, norm: nn.GroupNorm) -> None:
        super().__init__()
        self._eps = norm.eps
        self.register_buffer("_weight", norm.weight.detach())
        self.register_buffer("_bias", norm.bias.detach())

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        scale, shift = _affine(x, self._weight, self._bias, self._eps)
        return torch.addcmul(shift, x, scale)


class _Residual(nn.Module):  # type: ignore[misc] # torch is untyped here
    """The residual branches of one layer."""

    def __init__(self, dconv: Any) -> None:  # noqa: ANN401 - torch is untyped here
        super().__init__()
        self.branches = nn.ModuleList(_Branch(*layer) for layer in dconv.layers)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for branch in self.branches:
            x = x + branch(x)
        return x


class _Branch(nn.Module):  # type: ignore[misc] # torch is untyped here
    """One residual branch; input and output are (rows, channels, length).

    Let `h` be its narrow channels with a row of ones below them. Then the wide channels are `A h`, with the
    convolution's bias as a column of `A`. Over the `N` wide values of a row, with `e` the unit vector of the ones, the
    sum is `1' A (h h') e` and the sum of squares is `tr(A' A h h')`.
    """

    def __init__(self, narrow: Any, first: Any, _gelu: Any, widen: Any, second: Any, _glu: Any, scale: Any) -> None:  # noqa: ANN401 - torch is untyped here
        super().__init__()
        self._narrow, self._first_eps, self._second_eps = narrow, first.eps, second.eps
        wide, self._hidden = widen.weight.shape[:2]
        weights = widen.weight.new_zeros(wide, -(-(self._hidden + 1) // _ALIGNED) * _ALIGNED)
        weights[:, : self._hidden], weights[:, self._hidden] = widen.weight[:, :, 0], widen.bias
        layer_scale = torch.cat((scale.scale, torch.ones_like(scale.scale)))
        constants = {
            "_first_weight": first.weight[:, None],
            "_first_bias": first.bias[:, None],
            "_weights": weights,
            "_column_sums": weights.sum(0),
            "_products": weights.T @ weights,
            "_second_weight": second.weight * layer_scale,
            "_second_bias": second.bias * layer_scale,
        }
        for name, value in constants.items():
            self.register_buffer(name, value.detach().clone())

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        hidden = self._narrow_channels(x)
        with torch.autocast(x.device.type, enabled=False):
            weights = self._wide_weights(_second_moments(hidden), hidden.shape[2])
        return F.glu(torch.bmm(weights, hidden), 1)

    def _narrow_channels(self, x: torch.Tensor) -> torch.Tensor:
        """Return the narrow channels, a row of ones, and zeros up to a multiple of `_ALIGNED` channels."""
        narrow = self._narrow(x).float()
        scale, shift = _affine(narrow, self._first_weight, self._first_bias, self._first_eps)
        hidden = narrow.new_zeros(len(narrow), self._weights.shape[1], narrow.shape[2])
        hidden[:, self._hidden] = 1
        channels = hidden[:, : self._hidden]
        torch.addcmul(shift, narrow, scale, out=channels)
        torch.ops.aten.gelu_(channels)
        return hidden

    def _wide_weights(self, moments: torch.Tensor, length: int) -> torch.Tensor:
        """Return each row's weights of the convolution, with norm and layer scale folded in."""
        count = len(self._weights) * length
        mean = moments[:, self._hidden] @ self._column_sums / count
        variance = (moments * self._products).sum((1, 2)) / count - mean * mean
        scale = self._second_weight * (variance + self._second_eps).rsqrt()[:, None]
        weights = self._weights * scale[:, :, None]
        weights[:, :, self._hidden] += self._second_bias - mean[:, None] * scale
        return weights


def _affine(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor, eps: float) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the scale and shift that a norm over all but the first dimension amounts to."""
    variance, mean = torch.var_mean(x, (1, 2), correction=0, keepdim=True)
    scale = weight * (variance + eps).rsqrt()
    return scale, bias - mean * scale


def _second_moments(hidden: torch.Tensor) -> torch.Tensor:
    """Return (rows, channels, channels): sums over time of the products of each two channels."""
    rows, channels, length = hidden.shape
    chunks = -(-length // _CHUNK)
    if chunks == 1:
        return hidden @ hidden.mT
    padded = F.pad(hidden, (0, chunks * _CHUNK - length)).unflatten(2, (chunks, _CHUNK)).transpose(1, 2)
    flat = padded.reshape(rows * chunks, channels, _CHUNK)
    return torch.as_tensor((flat @ flat.mT).unflatten(0, (rows, chunks)).sum(1))
