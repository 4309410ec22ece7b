"""MinkVGG16-BN: VGG16 with batch norm on point clouds, a classifier (SparsePipe's workload)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from stagewright.model.graph import LayerGraph
from stagewright.scenarios.models import clouds
from stagewright.scenarios.models.roofline import TYPICAL_GPU, Roofline
from stagewright.scenarios.models.sparse import SparseBuilder

if TYPE_CHECKING:
    import torch
    from MinkowskiEngine import SparseTensor
    from torch import nn

BLOCKS = ((1, 1), (2, 2), (4, 4, 4), (8, 8, 8), (8, 8, 8))
"""Convolutions of each block, in units of the width; a block ends in a pooling."""


@dataclass(frozen=True)
class Sizes:
    """Widths and resolutions; as given, those measured on ModelNet40.

    Attributes
    ----------
    clouds, points
        Point clouds in a minibatch, and points in each.
    voxel
        Side of a voxel, where a cloud is about one unit across.
    in_channels, width, hidden, classes
        Channels of the input, the first block and the two hidden layers, and the classes.
    """

    clouds: int = 64
    points: int = 3_185
    voxel: float = 0.02
    in_channels: int = 1
    width: int = 64
    hidden: int = 4_096
    classes: int = 40


FULL = Sizes()
SMALL = Sizes(clouds=4, points=2_000, width=8, hidden=32)


def layer_graph(sizes: Sizes = FULL, roofline: Roofline = TYPICAL_GPU) -> LayerGraph:
    """Return the network as a layer graph: 53 nodes in a row."""
    net = SparseBuilder(sizes.clouds, roofline)
    x = net.input(sizes.in_channels, sizes.clouds * sizes.points)
    for block in BLOCKS:
        for factor in block:
            x = net.conv_norm_relu(x, factor * sizes.width)
        x = net.max_pool(x)
    x = net.global_max_pool(x)
    for _ in range(2):
        x = net.dropout(net.relu(net.linear(x, sizes.hidden)))
    net.linear(x, sizes.classes)
    return net.graph("minkvgg16_bn")


def network(sizes: Sizes = FULL) -> nn.Module:
    """Return the network with fresh weights, as one writes it by hand."""
    from stagewright.scenarios.models.networks.point_clouds import MinkVGG  # noqa: PLC0415

    return MinkVGG(sizes)


def make_input(seed: int, sizes: Sizes = SMALL) -> tuple[SparseTensor]:
    """Return a minibatch of voxelised clouds."""
    return (clouds.minibatch(seed, sizes.clouds, sizes.points, sizes.voxel, sizes.in_channels),)


def make_target(seed: int, sizes: Sizes = SMALL) -> torch.Tensor:
    """Return a class for each cloud, shape (clouds,)."""
    return clouds.cloud_classes(seed, sizes.clouds, sizes.classes)
