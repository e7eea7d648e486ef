"""Rewrites a network for GPUs: norms over a whole segment, each of which torch gives to one block of threads, go away.

A residual branch ends with `1 x 1` convolution, norm, GLU and layer scale. The norm's mean and variance follow from the
second moments of the few channels before the convolution, so that it becomes a factor of the convolution's weights, and
the wide tensor is written once instead of being read and written by each of them. Layers of a kind that the published
networks do not have stay as they are.
"""

from typing import Any, Final

import torch
from demucs.htdemucs import HTDemucs
from torch import nn
from torch.nn import functional as F  # noqa: N812 - its name everywhere

from stemyard_separator.engines.cpu_rewrite import residual_layers, transformer_layers

_ALIGNED: Final = 8
"""Channels of which tensor cores take a multiple."""
_PIECE: Final = 1024
"""Samples whose second moments are summed at once, so that a long segment keeps more than one block of threads busy."""


def rewrite_for_gpu(network: HTDemucs) -> HTDemucs:
    """Rewrite a network for inference on a GPU; what it gives stays the same but for rounding."""
    with torch.inference_mode():
        for layer in transformer_layers(network):
            if layer.norm_out and layer.norm_out.num_groups == 1:
                layer.norm_out = _WholeNorm(layer.norm_out)
        for layer in residual_layers(network):
            layer.dconv = _Residual(layer.dconv)
    return network


class _WholeNorm(nn.Module):  # type: ignore[misc] # torch is untyped here
    """Normalises each (length, channels) as one group."""

    def __init__(self, given: nn.GroupNorm) -> None:
        super().__init__()
        self._eps = given.eps
        self.register_buffer("_weight", given.weight.detach())
        self.register_buffer("_bias", given.bias.detach())

    def forward(self, given: torch.Tensor) -> torch.Tensor:
        factor, shift = _affine(given, self._weight, self._bias, self._eps)
        return torch.addcmul(shift, given, factor)


class _Residual(nn.Module):  # type: ignore[misc] # torch is untyped here
    """The residual branches of one layer."""

    def __init__(self, given: Any) -> None:  # noqa: ANN401 - torch is untyped here
        super().__init__()
        self.branches = nn.ModuleList(_Branch(*layer) for layer in given.layers)

    def forward(self, given: torch.Tensor) -> torch.Tensor:
        for branch in self.branches:
            given = given + branch(given)
        return given


class _Branch(nn.Module):  # type: ignore[misc] # torch is untyped here
    """One residual branch, as (rows, channels, length) to the same.

    With `h` its narrow channels and a row of ones below them, the wide ones are `A h`, the convolution's bias being a
    column of `A`. Over a row's `N` wide values their sum is `1' A (h h') e` and that of their squares `tr(A' A h h')`.
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

    def forward(self, given: torch.Tensor) -> torch.Tensor:
        hidden = self._narrowed(given)
        with torch.autocast(given.device.type, enabled=False):
            widening = self._widening(_second_moments(hidden), hidden.shape[2])
        return F.glu(torch.bmm(widening, hidden), 1)

    def _narrowed(self, given: torch.Tensor) -> torch.Tensor:
        """Return the narrow channels, a row of ones, and zeros up to a number that tensor cores like."""
        raw = self._narrow(given).float()
        factor, shift = _affine(raw, self._first_weight, self._first_bias, self._first_eps)
        hidden = raw.new_zeros(len(raw), self._weights.shape[1], raw.shape[2])
        hidden[:, self._hidden] = 1
        channels = hidden[:, : self._hidden]
        torch.addcmul(shift, raw, factor, out=channels)
        torch.ops.aten.gelu_(channels)
        return hidden

    def _widening(self, moments: torch.Tensor, length: int) -> torch.Tensor:
        """Return each row's weights of the convolution, norm and layer scale included."""
        count = len(self._weights) * length
        mean = moments[:, self._hidden] @ self._column_sums / count
        variance = (moments * self._products).sum((1, 2)) / count - mean * mean
        factor = self._second_weight * (variance + self._second_eps).rsqrt()[:, None]
        widening = self._weights * factor[:, :, None]
        widening[:, :, self._hidden] += self._second_bias - mean[:, None] * factor
        return widening


def _affine(
    given: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor, eps: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return what a norm over all but the first dimension comes to: a factor and a shift."""
    variance, mean = torch.var_mean(given, (1, 2), correction=0, keepdim=True)
    factor = weight * (variance + eps).rsqrt()
    return factor, bias - mean * factor


def _second_moments(hidden: torch.Tensor) -> torch.Tensor:
    """Return (rows, channels, channels): sums over time of the products of any two channels."""
    rows, channels, length = hidden.shape
    pieces = -(-length // _PIECE)
    if pieces == 1:
        return hidden @ hidden.mT
    cut = F.pad(hidden, (0, pieces * _PIECE - length)).unflatten(2, (pieces, _PIECE)).transpose(1, 2)
    flat = cut.reshape(rows * pieces, channels, _PIECE)
    return torch.as_tensor((flat @ flat.mT).unflatten(0, (rows, pieces)).sum(1))
