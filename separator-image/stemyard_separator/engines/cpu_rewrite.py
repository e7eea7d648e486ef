"""Rewrites a network for processors: the same function of the same weights in fewer passes over memory.

What is measured to take time there and need not: layer scales (they go into the weights before them), `1 x 1`
convolutions of hundreds of small pieces (a product of matrices does them), layouts that every later layer has to
undo, and weights that are put in order anew at each call. Layers of a kind that the published networks do not have
stay as they are.
"""

from collections.abc import Callable
from copy import deepcopy
from typing import Any, Final

import torch
from demucs.htdemucs import HTDemucs
from demucs.transformer import CrossTransformerEncoderLayer
from torch import nn
from torch.nn import functional as F  # noqa: N812 - its name everywhere

_RESIDUAL: Final = ("Conv1d", "GroupNorm", "GELU", "Conv1d", "GroupNorm", "GLU", "LayerScale")


def rewrite_for_cpu(network: HTDemucs) -> HTDemucs:
    """Rewrite a network for inference of one segment at a time; what it gives stays the same but for rounding."""
    with torch.inference_mode():
        for layer in transformer_layers(network):
            if layer.norm_first and not layer.sparse and layer.gamma_1 is not None:
                _rewrite_transformer(layer)
        for layer in residual_layers(network):
            layer.dconv = _Residual(layer.dconv)
        if network.cac:
            network._mask, network._ispec = _as_it_is, _Inverse(network.nfft)
    return network


def _as_it_is(_mix: torch.Tensor, spectra: torch.Tensor) -> torch.Tensor:
    return spectra


def transformer_layers(network: HTDemucs) -> list[Any]:
    """Return the layers of both branches, if it has any."""
    transformer = network.crosstransformer
    return [] if transformer is None else [*transformer.layers, *transformer.layers_t]


def _rewrite_transformer(layer: Any) -> None:  # noqa: ANN401 - torch is untyped here
    crossing = isinstance(layer, CrossTransformerEncoderLayer)
    name = "cross_attn" if crossing else "self_attn"
    setattr(layer, name, _Attention(getattr(layer, name), _scale(layer.gamma_1), crossing))
    scale = _scale(layer.gamma_2)
    fused = layer.activation is F.gelu
    layer.linear1 = _Linear(layer.linear1.weight, layer.linear1.bias, gelu=fused)
    layer.activation = nn.Identity() if fused else layer.activation
    layer.linear2 = _scaled(layer.linear2, scale)
    layer.gamma_1 = layer.gamma_2 = nn.Identity()
    if layer.norm_out and layer.norm_out.num_groups == 1:
        layer.norm_out = _WholeNorm(layer.norm_out)


def _scale(gamma: Any) -> torch.Tensor | None:  # noqa: ANN401 - torch is untyped here
    return getattr(gamma, "scale", None)


def _scaled(linear: nn.Linear, scale: torch.Tensor | None) -> "_Linear":
    if scale is None:
        return _Linear(linear.weight, linear.bias)
    return _Linear(linear.weight * scale[:, None], linear.bias * scale)


def _packed(weight: torch.Tensor) -> Callable[[torch.Tensor, torch.Tensor, str], torch.Tensor] | None:
    """Return oneDNN's product with a weight in its own order, which torch gives to its compiler only."""
    if not torch.backends.mkldnn.is_available():
        return None
    try:
        ordered = torch.ops.mkldnn._reorder_linear_weight(weight)
        product = torch.ops.mkldnn._linear_pointwise
    except (AttributeError, RuntimeError):
        return None
    return lambda given, bias, then: torch.as_tensor(product(given, ordered, bias, then, [], "none"))


class _Linear(nn.Module):  # type: ignore[misc] # torch is untyped here
    """A linear layer whose weight is put in order once, with GELU in the same pass if wanted."""

    def __init__(self, weight: torch.Tensor, bias: torch.Tensor, gelu: bool = False) -> None:
        super().__init__()
        self._weight, self._bias = weight.detach().contiguous(), bias.detach().contiguous()
        self._gelu = gelu
        self._product = _packed(self._weight)

    def forward(self, given: torch.Tensor) -> torch.Tensor:
        if self._product is not None:
            return self._product(given, self._bias, "gelu" if self._gelu else "none")
        done = F.linear(given, self._weight, self._bias)
        return F.gelu(done) if self._gelu else done


class _Attention(nn.Module):  # type: ignore[misc] # torch is untyped here
    """Multi-head attention of a sequence to itself or to another one, called as torch's own is."""

    batch_first = True

    def __init__(self, given: nn.MultiheadAttention, scale: torch.Tensor | None, crossing: bool) -> None:
        super().__init__()
        self._heads, size = given.num_heads, given.embed_dim
        weight, bias = given.in_proj_weight, given.in_proj_bias
        self._query = _Linear(weight[:size], bias[:size]) if crossing else None
        self._rest = _Linear(weight[size:], bias[size:]) if crossing else _Linear(weight, bias)
        self._out = _scaled(given.out_proj, scale)

    def forward(self, query: torch.Tensor, key: torch.Tensor, *_: object, **__: object) -> tuple[torch.Tensor, None]:
        if self._query is None:
            asked, keys, values = self._split(self._rest(query), 3)
        else:
            (asked,), (keys, values) = self._split(self._query(query), 1), self._split(self._rest(key), 2)
        found = F.scaled_dot_product_attention(asked, keys, values)
        return self._out(found.transpose(1, 2).flatten(2)), None

    def _split(self, joined: torch.Tensor, parts: int) -> torch.Tensor:
        """Return (parts, batch, heads, length, size)."""
        batch, length, _ = joined.shape
        return joined.view(batch, length, parts, self._heads, -1).permute(2, 0, 3, 1, 4)


class _WholeNorm(nn.Module):  # type: ignore[misc] # torch is untyped here
    """Normalises each (length, channels) as one group, without the transposed layout that demucs leaves behind."""

    def __init__(self, given: nn.GroupNorm) -> None:
        super().__init__()
        self._weight, self._bias, self._eps = given.weight.detach(), given.bias.detach(), given.eps

    def forward(self, given: torch.Tensor) -> torch.Tensor:
        return torch.addcmul(self._bias, F.layer_norm(given, given.shape[1:], eps=self._eps), self._weight)


def residual_layers(network: HTDemucs) -> list[Any]:
    """Return the layers of all encoders and decoders whose residual branches are of the published kind."""
    parts = (network.encoder, network.decoder, network.tencoder, network.tdecoder)
    return [layer for part in parts for layer in part if _is_plain(getattr(layer, "dconv", None))]


def _is_plain(dconv: Any) -> bool:  # noqa: ANN401 - torch is untyped here
    return dconv is not None and all(
        tuple(type(part).__name__ for part in layer) == _RESIDUAL and layer[0].kernel_size == (3,)
        for layer in dconv.layers
    )


class _Residual(nn.Module):  # type: ignore[misc] # torch is untyped here
    """The residual branches of one layer; the layer scale goes into the linear half of GLU's input."""

    def __init__(self, given: Any) -> None:  # noqa: ANN401 - torch is untyped here
        super().__init__()
        self._branches = [_Branch(*layer) for layer in given.layers]

    def forward(self, given: torch.Tensor) -> torch.Tensor:
        for branch in self._branches:
            given = branch(given).add_(given)
        return given


class _Branch:
    """One residual branch: convolutions as products of matrices, one for each of hundreds of short pieces.

    The first convolution is three products at once, the outer two shifted by its dilation.
    """

    def __init__(self, narrow: Any, first: Any, _gelu: Any, widen: Any, second: Any, _glu: Any, scale: Any) -> None:  # noqa: ANN401 - torch is untyped here
        self._taps = narrow.weight.permute(2, 0, 1).flatten(0, 1).contiguous()
        self._bias, self._dilation, self._first = narrow.bias[:, None].contiguous(), narrow.dilation[0], first
        self._widen, self._wide_bias = widen.weight[:, :, 0].contiguous(), widen.bias[None, :, None].contiguous()
        self._second, half = deepcopy(second), len(scale.scale)
        self._second.weight[:half] *= scale.scale
        self._second.bias[:half] *= scale.scale

    def __call__(self, given: torch.Tensor) -> torch.Tensor:
        hidden = F.gelu(self._first(self._narrowed(given)))
        wide = torch.baddbmm(self._wide_bias, self._widen.expand(len(hidden), -1, -1), hidden)
        return F.glu(self._second(wide), 1)

    def _narrowed(self, given: torch.Tensor) -> torch.Tensor:
        before, here, after = torch.bmm(self._taps.expand(len(given), -1, -1), given).chunk(3, dim=1)
        done = here + self._bias
        done[:, :, self._dilation :] += before[:, :, : -self._dilation]
        done[:, :, : -self._dilation] += after[:, :, self._dilation :]
        return done


class _Inverse:
    """The inverse transform, from the network's real and imaginary channels at once.

    demucs cuts two frames and a half off either end, where fewer than four frames overlap; everywhere else the squares
    of the Hann windows sum up to 1.5.
    """

    def __init__(self, size: int) -> None:
        self._size, self._hop = size, size // 4
        self._window = torch.hann_window(size) * (size**0.5 / 1.5)

    def __call__(self, spectra: torch.Tensor, length: int) -> torch.Tensor:
        batch, sources, doubled, bins, frames = spectra.shape
        signals = batch * sources * doubled // 2
        ordered = torch.zeros(signals, frames, bins + 1, 2)
        ordered[:, :, :bins] = spectra.reshape(signals, 2, bins, frames).permute(0, 3, 2, 1)
        parts = torch.fft.irfft(torch.view_as_complex(ordered), self._size).mul_(self._window)
        done = torch.zeros(signals, frames + 3, self._hop)
        for quarter, part in enumerate(parts.view(signals, frames, 4, self._hop).unbind(2)):
            done[:, quarter : quarter + frames] += part
        start = self._hop // 2 * 3
        return done.flatten(1)[:, start : start + length].reshape(batch, sources, -1, length)
