"""Image networks of torch.nn, layer by layer, with the shapes they give."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from stagewright.model.errors import InputError
from stagewright.model.graph import LayerGraph
from stagewright.scenarios.models.builder import GraphBuilder
from stagewright.scenarios.models.roofline import FLOAT_BYTES, Roofline


@dataclass(frozen=True, slots=True)
class Features:
    """Output of a dense layer: its node, channels, and the height and width of the map."""

    node: str
    channels: int
    size: tuple[int, int] = (1, 1)


class DenseBuilder:
    """Builds the layer graph of an image network.

    Parameters
    ----------
    batch
        Images in a minibatch.
    roofline
        The GPU whose times the graph carries.
    """

    def __init__(self, batch: int, roofline: Roofline) -> None:
        self.batch = batch
        self._builder = GraphBuilder(roofline)

    def graph(self, name: str) -> LayerGraph:
        """Return what was added."""
        return self._builder.graph(name)

    def input(self, channels: int, size: int) -> Features:
        """Square images of ``size`` pixels a side."""
        node = self._builder.input("Input", self._bytes(channels, (size, size)))
        return Features(node, channels, (size, size))

    def conv(
        self,
        x: Features,
        channels: int,
        kernel: int | tuple[int, int],
        *,
        stride: int = 1,
        padding: int | tuple[int, int] = 0,
        bias: bool = False,
    ) -> Features:
        """``Conv2d``; a whole number stands for both dimensions."""
        kernels, paddings = _pair(kernel), _pair(padding)
        text = f"{x.channels}, {channels}, kernel_size={kernels}, stride={_pair(stride)}"
        text += f", padding={paddings}" if any(paddings) else ""
        text += "" if bias else ", bias=False"
        weights = x.channels * channels * math.prod(kernels)
        size = _slide(x, kernels, stride, paddings)
        return self._layer(
            f"Conv2d({text})",
            [x],
            Features("", channels, size),
            parameters=weights + (channels if bias else 0),
            flops=2.0 * self.batch * weights * math.prod(size),
        )

    def batch_norm(self, x: Features, *, eps: str = "1e-05") -> Features:
        """``BatchNorm2d``."""
        text = f"{x.channels}, eps={eps}, momentum=0.1, affine=True, track_running_stats=True"
        return self._layer(f"BatchNorm2d({text})", [x], x, parameters=2 * x.channels)

    def relu(self, x: Features) -> Features:
        """``ReLU`` that overwrites its operand, as image networks have it."""
        return self._layer("ReLU(inplace)", [x], x)

    def max_pool(self, x: Features, kernel: int, stride: int, padding: int = 0) -> Features:
        """``MaxPool2d``."""
        text = f"kernel_size={kernel}, stride={stride}, padding={padding}"
        size = _slide(x, _pair(kernel), stride, _pair(padding))
        text = f"MaxPool2d({text}, dilation=1, ceil_mode=False)"
        return self._layer(text, [x], Features("", x.channels, size))

    def avg_pool(self, x: Features, kernel: int, stride: int, padding: int = 0) -> Features:
        """``AvgPool2d``."""
        text = f"AvgPool2d(kernel_size={kernel}, stride={stride}, padding={padding})"
        size = _slide(x, _pair(kernel), stride, _pair(padding))
        return self._layer(text, [x], Features("", x.channels, size))

    def concat(self, parts: Sequence[Features]) -> Features:
        """``torch.cat`` over the channels."""
        channels = sum(x.channels for x in parts)
        return self._layer("Concat(1)", parts, Features("", channels, parts[0].size))

    def add(self, x: Features, y: Features) -> Features:
        """Residual sum, written ``x += y``."""
        return self._layer("Add(inplace)", [x, y], x)

    def flatten(self, x: Features) -> Features:
        """``x.view(x.size(0), -1)``, two nodes in profiles."""
        size = self._builder.view("Size(0)", [x.node], [FLOAT_BYTES])
        channels = x.channels * math.prod(x.size)
        text, outputs_bytes = "View(-1)", [self._bytes(channels, (1, 1))]
        return Features(self._builder.view(text, [x.node, size], outputs_bytes), channels)

    def linear(self, x: Features, features: int) -> Features:
        """``Linear`` with bias."""
        weights = x.channels * features
        return self._layer(
            f"Linear(in_features={x.channels}, out_features={features}, bias=True)",
            [x],
            Features("", features),
            parameters=weights + features,
            flops=2.0 * self.batch * weights,
        )

    def dropout(self, x: Features) -> Features:
        """``Dropout`` of half the features."""
        return self._layer("Dropout(p=0.5)", [x], x)

    def _layer(
        self,
        text: str,
        operands: Sequence[Features],
        shape: Features,
        *,
        parameters: int = 0,
        flops: float = 0.0,
    ) -> Features:
        node = self._builder.add(
            text,
            [x.node for x in operands],
            [self._bytes(shape.channels, shape.size)],
            parameters=parameters,
            flops=flops,
        )
        return Features(node, shape.channels, shape.size)

    def _bytes(self, channels: int, size: tuple[int, int]) -> int:
        return FLOAT_BYTES * self.batch * channels * math.prod(size)


def _pair(value: int | tuple[int, int]) -> tuple[int, int]:
    return value if isinstance(value, tuple) else (value, value)


def _slide(
    x: Features, kernel: tuple[int, int], stride: int, padding: tuple[int, int]
) -> tuple[int, int]:
    """Return the map that a window leaves behind that slides over ``x`` (torch.nn.Conv2d)."""
    height, width = (
        (size + 2 * pad - window) // stride + 1
        for size, window, pad in zip(x.size, kernel, padding, strict=True)
    )
    if height < 1 or width < 1:
        raise InputError(
            f"a window of {kernel[0]} x {kernel[1]} does not fit a map of "
            f"{x.size[0]} x {x.size[1]}",
            hint="Take larger images",
        )
    return height, width
