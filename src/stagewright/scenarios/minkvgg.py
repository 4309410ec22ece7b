"""MinkVGG16-BN for 40 classes: its layers, and how many voxels of a minibatch reach each.

VGG16 with batch normalisation (Simonyan and Zisserman, 2015, configuration D) in sparse
3x3x3 convolutions, written in MinkowskiEngine's layers. Descriptions are what the layers
print of themselves.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum

FLOAT_BYTES = 4
COORDINATE_BYTES = 16
"""A voxel's place in a sparse tensor: minibatch index, x, y and z, 32 bits each."""
KERNEL_VOLUME = 27
CLASSES = 40

_BLOCKS = ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512))
_HIDDEN = 4096


class Kind(StrEnum):
    """What a layer does."""

    INPUT = "input"
    CONVOLUTION = "convolution"
    BATCH_NORM = "batch norm"
    RELU = "relu"
    MAX_POOLING = "max pooling"
    GLOBAL_MAX_POOLING = "global max pooling"
    LINEAR = "linear"
    DROPOUT = "dropout"


@dataclass(frozen=True, slots=True)
class Tensor:
    """Shape of a layer's input or output.

    Attributes
    ----------
    channels
        Features in a row.
    stride
        Edge of a voxel in voxels of the input; ``None`` when there is one row per cloud.
    """

    channels: int
    stride: int | None


@dataclass(frozen=True, slots=True)
class MinkLayer:
    """One layer of the network with the tensors before and after it."""

    kind: Kind
    source: Tensor
    target: Tensor

    @property
    def parameter_bytes(self) -> int:
        """Bytes of the learned weights (not of a batch norm's running statistics)."""
        into, out = self.source.channels, self.target.channels
        weights = {
            Kind.CONVOLUTION: KERNEL_VOLUME * into * out,
            Kind.BATCH_NORM: 2 * out,
            Kind.LINEAR: (into + 1) * out,
        }
        return weights.get(self.kind, 0) * FLOAT_BYTES

    @property
    def description(self) -> str:
        """The layer as PyTorch or MinkowskiEngine prints it."""
        into, out = self.source.channels, self.target.channels
        return {
            Kind.INPUT: "Input0",
            Kind.CONVOLUTION: f"MinkowskiConvolution(in_channels={into}, out_channels={out}, "
            "kernel_size=[3, 3, 3], stride=[1, 1, 1], dilation=[1, 1, 1], bias=None, dimension=3)",
            Kind.BATCH_NORM: f"MinkowskiBatchNorm({out}, eps=1e-05, momentum=0.1, affine=True, "
            "track_running_stats=True)",
            Kind.RELU: "MinkowskiReLU()",
            Kind.MAX_POOLING: "MinkowskiMaxPooling(kernel_size=[2, 2, 2], stride=[2, 2, 2], "
            "dilation=[1, 1, 1], dimension=3)",
            Kind.GLOBAL_MAX_POOLING: "MinkowskiGlobalMaxPooling("
            "mode=PoolingMode.GLOBAL_MAX_POOLING_KERNEL)",
            Kind.LINEAR: f"MinkowskiLinear(in_features={into}, out_features={out}, bias=True)",
            Kind.DROPOUT: "Dropout(p=0.5, inplace=False)",
        }[self.kind]


def minkvgg16_bn() -> tuple[MinkLayer, ...]:
    """Return the layers in order, the input first.

    >>> layers = minkvgg16_bn()
    >>> len(layers), sum(layer.parameter_bytes for layer in layers)
    (53, 252731296)
    """
    layers: list[MinkLayer] = []

    def add(kind: Kind, target: Tensor) -> None:
        layers.append(MinkLayer(kind, layers[-1].target if layers else target, target))

    stride = 1
    add(Kind.INPUT, Tensor(1, stride))
    for block in _BLOCKS:
        for channels in block:
            for kind in (Kind.CONVOLUTION, Kind.BATCH_NORM, Kind.RELU):
                add(kind, Tensor(channels, stride))
        stride *= 2
        add(Kind.MAX_POOLING, Tensor(block[-1], stride))
    add(Kind.GLOBAL_MAX_POOLING, Tensor(_BLOCKS[-1][-1], None))
    for _ in range(2):
        for kind in (Kind.LINEAR, Kind.RELU, Kind.DROPOUT):
            add(kind, Tensor(_HIDDEN, None))
    add(Kind.LINEAR, Tensor(CLASSES, None))
    return tuple(layers)


@dataclass(frozen=True, slots=True)
class Clouds:
    """A minibatch of point clouds sampled from surfaces, and the voxels that they touch.

    All figures are assumptions about shapes like ModelNet40's, scaled to a longest side
    of 1; ``hete_files/README.md`` gives the reasons.

    Attributes
    ----------
    clouds
        Clouds in a minibatch.
    points
        Points sampled from each surface.
    area
        Mean area of a surface, in squares of the longest side.
    voxel
        Edge of an input voxel, in longest sides.
    cells_per_area
        Cells of edge 1 that a large flat surface of area 1 crosses, mean over directions.
    cells_around
        Of the 26 cells around one that a surface crosses, those that it crosses too.
    """

    clouds: int = 64
    points: int = 4096
    area: float = 2.0
    voxel: float = 0.02
    cells_per_area: float = 1.5
    cells_around: float = 13.0

    def crossed(self, stride: int) -> float:
        """Cells of a grid with this stride that the surface of one cloud crosses."""
        return self.cells_per_area * self.area / (self.voxel * stride) ** 2

    def filled(self, stride: int) -> float:
        """Share of the crossed cells that hold a point, if points fall independently."""
        return 1 - math.exp(-self.points / self.crossed(stride))

    def voxels(self, stride: int) -> int:
        """Active voxels of the whole minibatch, rounded to hundreds.

        >>> Clouds().voxels(1)
        202000
        """
        return 100 * round(self.clouds * self.crossed(stride) * self.filled(stride) / 100)

    def neighbours(self, stride: int) -> float:
        """Active voxels in the 3x3x3 block around an active one, itself included.

        Rounded to tenths.

        >>> Clouds().neighbours(1)
        6.5
        """
        return round(1 + self.cells_around * self.filled(stride), 1)

    def rows(self, tensor: Tensor) -> int:
        """Rows of a tensor: its active voxels, or one per cloud."""
        return self.clouds if tensor.stride is None else self.voxels(tensor.stride)

    def feature_bytes(self, tensor: Tensor) -> int:
        """Bytes of a tensor's features in 32-bit floats."""
        return self.rows(tensor) * tensor.channels * FLOAT_BYTES

    def activation_bytes(self, tensor: Tensor) -> int:
        """Bytes that cross a cut: features and, where voxels have a place, coordinates."""
        coordinates = 0 if tensor.stride is None else self.rows(tensor) * COORDINATE_BYTES
        return self.feature_bytes(tensor) + coordinates
