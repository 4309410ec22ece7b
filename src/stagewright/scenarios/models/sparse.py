"""Networks of MinkowskiEngine, layer by layer, with the rows and channels they give."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from stagewright.model.graph import LayerGraph
from stagewright.scenarios.models.builder import GraphBuilder
from stagewright.scenarios.models.roofline import FLOAT_BYTES, Roofline

DIMENSION = 3
COORDINATE_BYTES = 4 * (1 + DIMENSION)
"""Bytes of a row's coordinates: the cloud's number and a place, as 32-bit integers."""

SPARSE_RATE = 1 / 8
"""Arithmetic of a sparse convolution against a dense one: it gathers and scatters its rows.
Profiles of MinkVGG16 show 1.3e12 operations a second where dense networks reach 1e13."""

SURFACE = 2
"""Points lie on surfaces: k^3 cells in space hold about k^2 of them."""


@dataclass(frozen=True, slots=True)
class Voxels:
    """Output of a sparse layer: its node, channels, and the number of occupied voxels."""

    node: str
    channels: int
    rows: int


class SparseBuilder:
    """Builds the layer graph of a network on point clouds.

    Activation bytes are those of a sparse tensor: features, and the coordinates that go with
    them wherever they go.

    Parameters
    ----------
    clouds
        Point clouds in a minibatch.
    roofline
        The GPU whose times the graph carries.
    """

    def __init__(self, clouds: int, roofline: Roofline) -> None:
        self.clouds = clouds
        self._builder = GraphBuilder(roofline)

    def graph(self, name: str) -> LayerGraph:
        """Return what was added."""
        return self._builder.graph(name)

    def input(self, channels: int, rows: int) -> Voxels:
        """Voxelised clouds, ``rows`` occupied voxels in all."""
        node = self._builder.input("Input0", _bytes(rows, channels))
        return Voxels(node, channels, rows)

    def conv(self, x: Voxels, channels: int, kernel: int = 3, stride: int = 1) -> Voxels:
        """``MinkowskiConvolution`` without bias."""
        text = f"in_channels={x.channels}, out_channels={channels}, {_window(kernel, stride)}"
        rows = self._strided(x.rows, stride)
        return self._layer(
            f"MinkowskiConvolution({text}, bias=None, dimension={DIMENSION})",
            [x],
            Voxels("", channels, rows),
            parameters=x.channels * channels * kernel**DIMENSION,
            flops=2.0 * rows * kernel**SURFACE * x.channels * channels / SPARSE_RATE,
        )

    def conv_transpose(self, x: Voxels, channels: int, like: Voxels, kernel: int = 2) -> Voxels:
        """``MinkowskiConvolutionTranspose`` up to the coordinates of ``like``."""
        text = f"in_channels={x.channels}, out_channels={channels}, {_window(kernel, kernel)}"
        return self._layer(
            f"MinkowskiConvolutionTranspose({text}, bias=None, dimension={DIMENSION})",
            [x],
            Voxels("", channels, like.rows),
            parameters=x.channels * channels * kernel**DIMENSION,
            flops=2.0 * like.rows * x.channels * channels / SPARSE_RATE,
        )

    def batch_norm(self, x: Voxels) -> Voxels:
        """``MinkowskiBatchNorm``."""
        text = f"{x.channels}, eps=1e-05, momentum=0.1, affine=True, track_running_stats=True"
        return self._layer(f"MinkowskiBatchNorm({text})", [x], x, parameters=2 * x.channels)

    def relu(self, x: Voxels) -> Voxels:
        """``MinkowskiReLU``."""
        return self._layer("MinkowskiReLU()", [x], x)

    def max_pool(self, x: Voxels) -> Voxels:
        """``MinkowskiMaxPooling`` of two voxels a side into one."""
        text = f"MinkowskiMaxPooling({_window(2, 2)}, dimension={DIMENSION})"
        return self._layer(text, [x], Voxels("", x.channels, self._strided(x.rows, 2)))

    def global_max_pool(self, x: Voxels) -> Voxels:
        """``MinkowskiGlobalMaxPooling``: one row for each cloud."""
        text = "MinkowskiGlobalMaxPooling(mode=PoolingMode.GLOBAL_MAX_POOLING_KERNEL)"
        return self._layer(text, [x], Voxels("", x.channels, self.clouds))

    def linear(self, x: Voxels, features: int) -> Voxels:
        """``MinkowskiLinear`` with bias."""
        weights = x.channels * features
        return self._layer(
            f"MinkowskiLinear(in_features={x.channels}, out_features={features}, bias=True)",
            [x],
            Voxels("", features, x.rows),
            parameters=weights + features,
            flops=2.0 * x.rows * weights,
        )

    def dropout(self, x: Voxels) -> Voxels:
        """``MinkowskiDropout``, which profiles spell like the dense one."""
        return self._layer("Dropout(p=0.5, inplace=False)", [x], x)

    def add(self, x: Voxels, y: Voxels) -> Voxels:
        """Residual sum of two tensors on the same coordinates."""
        return self._layer("Add", [x, y], x)

    def concat(self, x: Voxels, y: Voxels) -> Voxels:
        """``ME.cat``: the channels of two tensors on the same coordinates."""
        return self._layer("Concat(1)", [x, y], Voxels("", x.channels + y.channels, x.rows))

    def conv_norm_relu(self, x: Voxels, channels: int, kernel: int = 3, stride: int = 1) -> Voxels:
        """Convolution, batch norm and ReLU."""
        return self.relu(self.batch_norm(self.conv(x, channels, kernel, stride)))

    def residual(self, x: Voxels, channels: int, stride: int = 1) -> Voxels:
        """Two convolutions around a shortcut (He et al., arXiv:1512.03385, fig. 2)."""
        y = self.conv_norm_relu(x, channels, stride=stride)
        y = self.batch_norm(self.conv(y, channels))
        if stride != 1 or x.channels != channels:
            x = self.batch_norm(self.conv(x, channels, kernel=1, stride=stride))
        return self.relu(self.add(y, x))

    def _strided(self, rows: int, stride: int) -> int:
        return max(self.clouds, rows // (stride * stride))

    def _layer(
        self,
        text: str,
        operands: Sequence[Voxels],
        shape: Voxels,
        *,
        parameters: int = 0,
        flops: float = 0.0,
    ) -> Voxels:
        node = self._builder.add(
            text,
            [x.node for x in operands],
            [_bytes(shape.rows, shape.channels)],
            parameters=parameters,
            flops=flops,
        )
        return Voxels(node, shape.channels, shape.rows)


def _bytes(rows: int, channels: int) -> int:
    return rows * (FLOAT_BYTES * channels + COORDINATE_BYTES)


def _window(kernel: int, stride: int) -> str:
    return (
        f"kernel_size={[kernel] * DIMENSION}, stride={[stride] * DIMENSION}, "
        f"dilation={[1] * DIMENSION}"
    )
