"""ResNet50 on images (He et al., arXiv:1512.03385; the stride in the 3 x 3 convolution)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from stagewright.model.graph import LayerGraph
from stagewright.scenarios.models import images
from stagewright.scenarios.models.dense import DenseBuilder, Features
from stagewright.scenarios.models.roofline import TYPICAL_GPU, Roofline

if TYPE_CHECKING:
    import torch
    from torch import nn

EXPANSION = 4
"""Channels after a bottleneck, in units of those inside."""


@dataclass(frozen=True)
class Sizes:
    """Widths and resolutions; as given, the network as published.

    Attributes
    ----------
    batch, image
        Images in a minibatch, and pixels a side.
    width, classes
        Channels inside the first bottleneck, and the classes.
    blocks
        Bottlenecks of each level.
    """

    batch: int = 128
    image: int = 224
    width: int = 64
    blocks: tuple[int, ...] = (3, 4, 6, 3)
    classes: int = 1_000


FULL = Sizes()
SMALL = Sizes(batch=2, image=64, width=4, blocks=(1, 2, 1, 1), classes=10)


def layer_graph(sizes: Sizes = FULL, roofline: Roofline = TYPICAL_GPU) -> LayerGraph:
    """Return the network as a layer graph."""
    net = DenseBuilder(sizes.batch, roofline)
    x = net.input(3, sizes.image)
    x = net.relu(net.batch_norm(net.conv(x, sizes.width, 7, stride=2, padding=3)))
    x = net.max_pool(x, 3, 2, padding=1)
    for level, blocks in enumerate(sizes.blocks):
        for block in range(blocks):
            stride = 2 if block == 0 and level > 0 else 1
            x = _bottleneck(net, x, sizes.width << level, stride)
    x = net.flatten(net.avg_pool(x, x.size[0], 1))
    net.linear(x, sizes.classes)
    return net.graph("resnet50")


def _bottleneck(net: DenseBuilder, x: Features, width: int, stride: int) -> Features:
    y = net.relu(net.batch_norm(net.conv(x, width, 1)))
    y = net.relu(net.batch_norm(net.conv(y, width, 3, stride=stride, padding=1)))
    y = net.batch_norm(net.conv(y, EXPANSION * width, 1))
    if stride != 1 or x.channels != y.channels:
        x = net.batch_norm(net.conv(x, y.channels, 1, stride=stride))
    return net.relu(net.add(y, x))


def network(sizes: Sizes = FULL) -> nn.Module:
    """Return the network with fresh weights, as one writes it by hand."""
    from stagewright.scenarios.models.networks.images import ResNet50  # noqa: PLC0415

    return ResNet50(sizes)


def make_input(seed: int, sizes: Sizes = SMALL) -> tuple[torch.Tensor]:
    """Return a minibatch of images, shape (batch, 3, image, image)."""
    return (images.minibatch(seed, sizes.batch, sizes.image),)


def make_target(seed: int, sizes: Sizes = SMALL) -> torch.Tensor:
    """Return a class for each image, shape (batch,)."""
    return images.classes(seed, sizes.batch, sizes.classes)
