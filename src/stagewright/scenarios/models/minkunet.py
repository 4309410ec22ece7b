"""MinkUNet: semantic segmentation of point clouds, with skips from encoder to decoder.

The skips of the finest levels cross almost the whole network, so a pipeline has to carry
them, and their coordinates, over many stages.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from stagewright.model.errors import InputError
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
    """Widths and resolutions; as given, those of MinkUNet18A (Choy et al., CVPR 2019).

    Attributes
    ----------
    clouds, points
        Point clouds in a minibatch, and points in each.
    voxel
        Side of a voxel, where a cloud is about one unit across.
    in_channels, stem, classes
        Channels of the input and before the first level, and the classes of a voxel.
    stem_kernel
        Voxels a side that the first convolution sees.
    encoder, decoder
        Channels of each level, downwards and upwards; as many up as down.
    blocks
        Residual blocks of each level.
    """

    clouds: int = 8
    points: int = 20_000
    voxel: float = 0.01
    in_channels: int = 4
    stem: int = 32
    stem_kernel: int = 5
    encoder: tuple[int, ...] = (32, 64, 128, 256)
    decoder: tuple[int, ...] = (128, 128, 96, 96)
    blocks: int = 2
    classes: int = 20


FULL = Sizes()
SMALL = Sizes(
    clouds=4,
    points=2_000,
    voxel=0.02,
    stem=8,
    stem_kernel=3,
    encoder=(8, 16, 16),
    decoder=(16, 8, 8),
    blocks=1,
    classes=8,
)


def layer_graph(sizes: Sizes = FULL, roofline: Roofline = TYPICAL_GPU) -> LayerGraph:
    """Return the network as a layer graph.

    Raises
    ------
    InputError
        If the decoder has not as many levels as the encoder.
    """
    if len(sizes.encoder) != len(sizes.decoder):
        raise InputError(
            f"a U-Net of {len(sizes.encoder)} levels down and {len(sizes.decoder)} up",
            hint="Give encoder and decoder the same number of levels",
        )
    net = SparseBuilder(sizes.clouds, roofline)
    x = net.input(sizes.in_channels, sizes.clouds * sizes.points)
    x = net.conv_norm_relu(x, sizes.stem, sizes.stem_kernel)
    skips = []
    for channels in sizes.encoder:
        skips.append(x)
        x = net.conv_norm_relu(x, x.channels, kernel=2, stride=2)
        for _ in range(sizes.blocks):
            x = net.residual(x, channels)
    for channels in sizes.decoder:
        skip = skips.pop()
        x = net.relu(net.batch_norm(net.conv_transpose(x, channels, like=skip)))
        x = net.concat(x, skip)
        for _ in range(sizes.blocks):
            x = net.residual(x, channels)
    net.linear(x, sizes.classes)
    return net.graph("minkunet")


def network(sizes: Sizes = FULL) -> nn.Module:
    """Return the network with fresh weights, as one writes it by hand."""
    from stagewright.scenarios.models.networks.point_clouds import MinkUNet  # noqa: PLC0415

    return MinkUNet(sizes)


def make_input(seed: int, sizes: Sizes = SMALL) -> tuple[SparseTensor]:
    """Return a minibatch of voxelised clouds."""
    return (clouds.minibatch(seed, sizes.clouds, sizes.points, sizes.voxel, sizes.in_channels),)


def make_target(seed: int, sizes: Sizes = SMALL) -> torch.Tensor:
    """Return the class of each voxel of ``make_input(seed, sizes)``, shape (rows,)."""
    (voxels,) = make_input(seed, sizes)
    return clouds.voxel_classes(voxels, sizes.classes)
