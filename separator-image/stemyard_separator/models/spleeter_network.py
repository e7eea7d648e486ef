"""Builds Spleeter's two-stem network as an ONNX graph: two U-Nets on a magnitude spectrogram, whose output is one mask.

Architecture: Hennequin et al., "Spleeter: a fast and efficient music source separation tool" (JOSS 2020), after
Jansson et al., "Singing voice separation with deep U-Net convolutional networks" (ISMIR 2017). Six 5x5 convolutions
of stride 2 with TensorFlow's `same` padding, six transposed convolutions; skip connections branch off before batch
normalisation.
"""

from collections.abc import Iterable
from typing import Final

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from stemyard_separator.models.checkpoint import Tensors

INPUT: Final = "magnitude"
OUTPUT: Final = "vocals_mask"
OPSET: Final = 17
IR_VERSION: Final = 9
Attribute = int | float | list[int]
_DEPTH: Final = 6
_BATCH_NORM_EPSILON: Final = 1e-3
_LEAK: Final = 0.2
_MASK_EPSILON: Final = 1e-10
_SAME_PADS: Final = [1, 1, 2, 2]
"""Padding before and after (rows, columns): TensorFlow's `same` for kernel 5, stride 2 and even input."""


class _Graph:
    """Nodes and weights of the model; the names of one network share a prefix."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.weights: list[onnx.TensorProto] = []

    def weight(self, name: str, value: np.ndarray) -> str:
        self.weights.append(numpy_helper.from_array(value, name))
        return name

    def add(self, operator: str, inputs: list[str], output: str, **attributes: Attribute) -> str:
        node = helper.make_node(operator, inputs, [output], name=output)
        node.attribute.extend(helper.make_attribute(key, value) for key, value in attributes.items())
        self.nodes.append(node)
        return output


class _UNet:
    """Adds one U-Net to a graph."""

    def __init__(self, graph: _Graph, prefix: str, tensors: Tensors) -> None:
        self._graph = graph
        self._prefix = prefix
        self._tensors = tensors

    def _weights(self, layer: str, names: Iterable[str]) -> list[str]:
        keys = (f"{layer}.{name}" for name in names)
        return [self._graph.weight(f"{self._prefix}.{key}", self._tensors[key]) for key in keys]

    def _add(self, operator: str, inputs: list[str], name: str, **attributes: Attribute) -> str:
        return self._graph.add(operator, inputs, f"{self._prefix}.{name}", **attributes)

    def _normalise(self, layer: str, x: str) -> str:
        weights = self._weights(layer, ("weight", "bias", "running_mean", "running_var"))
        return self._add("BatchNormalization", [x, *weights], f"{layer}.norm", epsilon=_BATCH_NORM_EPSILON)

    def _down(self, level: int, x: str) -> str:
        layer = f"down{level}_conv.1"
        inputs = [x, *self._weights(layer, ("weight", "bias"))]
        return self._add("Conv", inputs, layer, kernel_shape=[5, 5], strides=[2, 2], pads=_SAME_PADS)

    def _up(self, level: int, x: str) -> str:
        layer = f"up{level}.0"
        inputs = [x, *self._weights(layer, ("weight", "bias"))]
        y = self._add("ConvTranspose", inputs, layer, kernel_shape=[5, 5], strides=[2, 2], pads=_SAME_PADS)
        return self._normalise(f"up{level}.3", self._add("Relu", [y], f"{layer}.relu"))

    def _encode(self, x: str) -> list[str]:
        skips = [self._down(1, x)]
        for level in range(2, _DEPTH + 1):
            y = self._normalise(f"down{level - 1}_act.0", skips[-1])
            y = self._add("LeakyRelu", [y], f"down{level - 1}_act.leak", alpha=_LEAK)
            skips.append(self._down(level, y))
        return skips

    def estimate(self, x: str) -> str:
        """Return the estimated magnitude of this network's stem."""
        skips = self._encode(x)
        y = self._up(1, skips.pop())
        for level in range(2, _DEPTH + 1):
            y = self._up(level, self._add("Concat", [skips.pop(), y], f"up{level}.skip", axis=1))
        inputs = [y, *self._weights("up7.0", ("weight", "bias"))]
        y = self._add("Conv", inputs, "up7.0", kernel_shape=[4, 4], dilations=[2, 2], pads=[3, 3, 3, 3])
        return self._add("Mul", [self._add("Sigmoid", [y], "up7.sigmoid"), x], "estimate")


def _add_mask(graph: _Graph, vocals: str, accompaniment: str) -> None:
    """Add the vocals' share of the energy as output: (v^2 + e/2) / (v^2 + a^2 + e)."""
    half = graph.weight("half_epsilon", np.array(_MASK_EPSILON / 2, np.float32))
    v = graph.add("Add", [graph.add("Mul", [vocals, vocals], "vocals.square"), half], "vocals.energy")
    a = graph.add("Mul", [accompaniment, accompaniment], "accompaniment.square")
    a = graph.add("Add", [a, half], "accompaniment.energy")
    graph.add("Div", [v, graph.add("Add", [v, a], "energy")], OUTPUT)


def build_model(vocals: Tensors, accompaniment: Tensors) -> onnx.ModelProto:
    """Return the network as one ONNX model.

    Input `magnitude`: float32 (batch, 2 channels, frames, 1024 bins), frames a multiple of 64.
    Output `vocals_mask`: the same shape, 0 to 1. Two unused normalisations of the checkpoints are omitted.
    """
    graph = _Graph()
    networks = {"vocals": vocals, "accompaniment": accompaniment}
    estimates = [_UNet(graph, name, tensors).estimate(INPUT) for name, tensors in networks.items()]
    _add_mask(graph, *estimates)
    shape: list[str | int | None] = ["batch", 2, "frames", 1024]
    inputs = [helper.make_tensor_value_info(INPUT, TensorProto.FLOAT, shape)]
    outputs = [helper.make_tensor_value_info(OUTPUT, TensorProto.FLOAT, shape)]
    onnx_graph = helper.make_graph(graph.nodes, "spleeter-2stems", inputs, outputs, graph.weights)
    model = helper.make_model(onnx_graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION)
    onnx.checker.check_model(model)
    return model
