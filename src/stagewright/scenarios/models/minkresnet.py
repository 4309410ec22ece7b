"""MinkResNet: a residual classifier of point clouds."""

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


@dataclass(frozen=True)
class Sizes:
    """Widths and resolutions; as given, the depth and widths of ResNet-18.

    Attributes
    ----------
    clouds, points
        Point clouds in a minibatch, and points in each.
    voxel
        Side of a voxel, where a cloud is about one unit across.
    in_channels, width, classes
        Channels of the input and of the first level, and the classes.
    blocks
        Residual blocks of each level; each level halves the resolution and doubles the width.
    """

    clouds: int = 32
    points: int = 4_000
    voxel: float = 0.02
    in_channels: int = 4
    width: int = 64
    blocks: tuple[int, ...] = (2, 2, 2, 2)
    classes: int = 40


FULL = Sizes()
SMALL = Sizes(clouds=4, points=2_000, width=8, blocks=(1, 1, 1))


def layer_graph(sizes: Sizes = FULL, roofline: Roofline = TYPICAL_GPU) -> LayerGraph:
    """Return the network as a layer graph."""
    net = SparseBuilder(sizes.clouds, roofline)
    x = net.input(sizes.in_channels, sizes.clouds * sizes.points)
    x = net.max_pool(net.conv_norm_relu(x, sizes.width))
    for level, blocks in enumerate(sizes.blocks):
        for block in range(blocks):
            stride = 2 if block == 0 and level > 0 else 1
            x = net.residual(x, sizes.width << level, stride)
    net.linear(net.global_max_pool(x), sizes.classes)
    return net.graph("minkresnet")


def network(sizes: Sizes = FULL) -> nn.Module:
    """Return the network with fresh weights, as one writes it by hand."""
    from stagewright.scenarios.models.networks.point_clouds import MinkResNet  # noqa: PLC0415

    return MinkResNet(sizes)


def make_input(seed: int, sizes: Sizes = SMALL) -> tuple[SparseTensor]:
    """Return a minibatch of voxelised clouds."""
    return (clouds.minibatch(seed, sizes.clouds, sizes.points, sizes.voxel, sizes.in_channels),)


def make_target(seed: int, sizes: Sizes = SMALL) -> torch.Tensor:
    """Return a class for each cloud, shape (clouds,)."""
    return clouds.cloud_classes(seed, sizes.clouds, sizes.classes)
