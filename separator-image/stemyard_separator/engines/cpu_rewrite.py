"""Rewrites a network for CPUs: the same function of the same weights with fewer passes over memory.

Removes what measurably costs time: layer scales (folded into the preceding weights), `1 x 1` convolutions of hundreds
of short rows (matrix products instead), memory layouts that every later layer has to undo, and weights that are
reordered at each call. Layers that the published networks do not have are not changed.
"""

from collections.abc import Callable
from copy import deepcopy
from typing import Any, Final

import torch
from demucs.htdemucs import HTDemucs
from demucs.transformer import CrossTransformerEncoderLayer
from torch import nn
from torch.nn import functional as F  # noqa: N812 - its usual name

_RESIDUAL_LAYERS: Final = ("Conv1d", "GroupNorm", "GELU", "Conv1d", "GroupNorm", "GLU", "LayerScale")


def rewrite_for_cpu(network: HTDemucs) -> HTDemucs:
    """Rewrite a network, in place, for inference of single segments on a CPU; its output is the same up to rounding."""
    with torch.inference_mode():
        for layer in transformer_layers(network):
            if layer.norm_first and not layer.sparse and layer.gamma_1 is not None:
                _rewrite_transformer(layer)
        for layer in residual_layers(network):
            layer.dconv = _Residual(layer.dconv)
        if network.cac:
            network._mask, network._ispec = _keep_spectra, _InverseStft(network.nfft)
    return network


def _keep_spectra(_mix: torch.Tensor, spectra: torch.Tensor) -> torch.Tensor:
    return spectra


def transformer_layers(network: HTDemucs) -> list[Any]:
    """Return the transformer layers of both branches, if any."""
    transformer = network.crosstransformer
    return [] if transformer is None else [*transformer.layers, *transformer.layers_t]


def _rewrite_transformer(layer: Any) -> None:  # noqa: ANN401 - torch is untyped here
    is_cross = isinstance(layer, CrossTransformerEncoderLayer)
    name = "cross_attn" if is_cross else "self_attn"
    setattr(layer, name, _Attention(getattr(layer, name), _scale(layer.gamma_1), is_cross))
    fuse_gelu = layer.activation is F.gelu
    layer.linear1 = _Linear(layer.linear1.weight, layer.linear1.bias, gelu=fuse_gelu)
    layer.activation = nn.Identity() if fuse_gelu else layer.activation
    layer.linear2 = _scaled_linear(layer.linear2, _scale(layer.gamma_2))
    layer.gamma_1 = layer.gamma_2 = nn.Identity()
    if layer.norm_out and layer.norm_out.num_groups == 1:
        layer.norm_out = _WholeNorm(layer.norm_out)


def _scale(gamma: Any) -> torch.Tensor | None:  # noqa: ANN401 - torch is untyped here
    return getattr(gamma, "scale", None)


def _scaled_linear(linear: nn.Linear, scale: torch.Tensor | None) -> "_Linear":
    """Return a linear layer with a layer scale folded in."""
    if scale is None:
        return _Linear(linear.weight, linear.bias)
    return _Linear(linear.weight * scale[:, None], linear.bias * scale)


def _onednn_linear(weight: torch.Tensor) -> Callable[[torch.Tensor, torch.Tensor, str], torch.Tensor] | None:
    """Return oneDNN's linear operator with a prepacked weight, which torch exposes to its compiler only."""
    if not torch.backends.mkldnn.is_available():
        return None
    try:
        packed = torch.ops.mkldnn._reorder_linear_weight(weight)
        linear = torch.ops.mkldnn._linear_pointwise
    except (AttributeError, RuntimeError):
        return None
    return lambda x, bias, activation: torch.as_tensor(linear(x, packed, bias, activation, [], "none"))


class _Linear(nn.Module):  # type: ignore[misc] # torch is untyped here
    """A linear layer with a prepacked weight and optionally a fused GELU."""

    def __init__(self, weight: torch.Tensor, bias: torch.Tensor, gelu: bool = False) -> None:
        super().__init__()
        self._weight, self._bias = weight.detach().contiguous(), bias.detach().contiguous()
        self._gelu = gelu
        self._onednn = _onednn_linear(self._weight)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self._onednn is not None:
            return self._onednn(x, self._bias, "gelu" if self._gelu else "none")
        y = F.linear(x, self._weight, self._bias)
        return F.gelu(y) if self._gelu else y


class _Attention(nn.Module):  # type: ignore[misc] # torch is untyped here
    """Multi-head self-attention or cross-attention with the call signature of torch's own."""

    batch_first = True

    def __init__(self, attention: nn.MultiheadAttention, scale: torch.Tensor | None, is_cross: bool) -> None:
        super().__init__()
        self._heads, size = attention.num_heads, attention.embed_dim
        weight, bias = attention.in_proj_weight, attention.in_proj_bias
        self._query = _Linear(weight[:size], bias[:size]) if is_cross else None
        self._rest = _Linear(weight[size:], bias[size:]) if is_cross else _Linear(weight, bias)
        self._out = _scaled_linear(attention.out_proj, scale)

    def forward(self, query: torch.Tensor, key: torch.Tensor, *_: object, **__: object) -> tuple[torch.Tensor, None]:
        if self._query is None:
            queries, keys, values = self._split(self._rest(query), 3)
        else:
            (queries,), (keys, values) = self._split(self._query(query), 1), self._split(self._rest(key), 2)
        attended = F.scaled_dot_product_attention(queries, keys, values)
        return self._out(attended.transpose(1, 2).flatten(2)), None

    def _split(self, joined: torch.Tensor, parts: int) -> torch.Tensor:
        """Return (parts, batch, heads, length, size)."""
        batch, length, _ = joined.shape
        return joined.view(batch, length, parts, self._heads, -1).permute(2, 0, 3, 1, 4)


class _WholeNorm(nn.Module):  # type: ignore[misc] # torch is untyped here
    """Normalises each (length, channels) as one group, without the transposed layout of demucs's own norm."""

    def __init__(self, norm: nn.GroupNorm) -> None:
        super().__init__()
        self._weight, self._bias, self._eps = norm.weight.detach(), norm.bias.detach(), norm.eps

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.addcmul(self._bias, F.layer_norm(x, x.shape[1:], eps=self._eps), self._weight)


def residual_layers(network: HTDemucs) -> list[Any]:
    """Return the encoder and decoder layers whose residual branches have the published structure."""
    parts = (network.encoder, network.decoder, network.tencoder, network.tdecoder)
    return [layer for part in parts for layer in part if _is_published(getattr(layer, "dconv", None))]


def _is_published(dconv: Any) -> bool:  # noqa: ANN401 - torch is untyped here
    return dconv is not None and all(
        tuple(type(part).__name__ for part in layer) == _RESIDUAL_LAYERS and layer[0].kernel_size == (3,)
        for layer in dconv.layers
    )


class _Residual(nn.Module):  # type: ignore[misc] # torch is untyped here
    """The residual branches of one layer; the layer scale is folded into the linear half of GLU's input."""

    def __init__(self, dconv: Any) -> None:  # noqa: ANN401 - torch is untyped here
        super().__init__()
        self._branches = [_Branch(*layer) for layer in dconv.layers]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for branch in self._branches:
            x = branch(x).add_(x)
        return x


class _Branch:
    """One residual branch: convolutions of hundreds of short rows as batched matrix products.

    The first convolution is one product for its three taps, the outer two of which are shifted by its dilation.
    """

    def __init__(self, narrow: Any, first: Any, _gelu: Any, widen: Any, second: Any, _glu: Any, scale: Any) -> None:  # noqa: ANN401 - torch is untyped here
        self._taps = narrow.weight.permute(2, 0, 1).flatten(0, 1).contiguous()
        self._bias, self._dilation, self._first = narrow.bias[:, None].contiguous(), narrow.dilation[0], first
        self._widen, self._wide_bias = widen.weight[:, :, 0].contiguous(), widen.bias[None, :, None].contiguous()
        self._second, half = deepcopy(second), len(scale.scale)
        self._second.weight[:half] *= scale.scale
        self._second.bias[:half] *= scale.scale

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        hidden = F.gelu(self._first(self._narrow(x)))
        wide = torch.baddbmm(self._wide_bias, self._widen.expand(len(hidden), -1, -1), hidden)
        return F.glu(self._second(wide), 1)

    def _narrow(self, x: torch.Tensor) -> torch.Tensor:
        left, centre, right = torch.bmm(self._taps.expand(len(x), -1, -1), x).chunk(3, dim=1)
        narrow = centre + self._bias
        narrow[:, :, self._dilation :] += left[:, :, : -self._dilation]
        narrow[:, :, : -self._dilation] += right[:, :, self._dilation :]
        return narrow


class _InverseStft:
    """Inverse STFT directly from the network's real and imaginary channels.

    demucs trims two and a half frames from either end, where fewer than four frames overlap; everywhere else the
    squares of the Hann windows sum to 1.5.
    """

    def __init__(self, size: int) -> None:
        self._size, self._hop = size, size // 4
        self._window = torch.hann_window(size) * (size**0.5 / 1.5)

    def __call__(self, spectra: torch.Tensor, length: int) -> torch.Tensor:
        batch, sources, doubled, bins, frames = spectra.shape
        signals = batch * sources * doubled // 2
        pairs = torch.zeros(signals, frames, bins + 1, 2)
        pairs[:, :, :bins] = spectra.reshape(signals, 2, bins, frames).permute(0, 3, 2, 1)
        windowed = torch.fft.irfft(torch.view_as_complex(pairs), self._size).mul_(self._window)
        total = torch.zeros(signals, frames + 3, self._hop)
        for quarter, part in enumerate(windowed.view(signals, frames, 4, self._hop).unbind(2)):
            total[:, quarter : quarter + frames] += part
        start = self._hop // 2 * 3
        return total.flatten(1)[:, start : start + length].reshape(batch, sources, -1, length)
