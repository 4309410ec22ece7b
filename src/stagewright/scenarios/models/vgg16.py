"""VGG16 on images (Simonyan and Zisserman, arXiv:1409.1556, configuration D)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from stagewright.model.graph import LayerGraph
from stagewright.scenarios.models import images
from stagewright.scenarios.models.dense import DenseBuilder
from stagewright.scenarios.models.roofline import TYPICAL_GPU, Roofline

if TYPE_CHECKING:
    import torch
    from torch import nn

BLOCKS = ((1, 1), (2, 2), (4, 4, 4), (8, 8, 8), (8, 8, 8))
"""Convolutions of each block, in units of the width; a block ends in a pooling."""


@dataclass(frozen=True)
class Sizes:
    """Widths and resolutions; as given, the network as published.

    Attributes
    ----------
    batch, image
        Images in a minibatch, and pixels a side.
    width, hidden, classes
        Channels of the first block and of the two hidden layers, and the classes.
    """

    batch: int = 128
    image: int = 224
    width: int = 64
    hidden: int = 4_096
    classes: int = 1_000


FULL = Sizes()
SMALL = Sizes(batch=2, image=32, width=4, hidden=16, classes=10)


def layer_graph(sizes: Sizes = FULL, roofline: Roofline = TYPICAL_GPU) -> LayerGraph:
    """Return the network as a layer graph."""
    net = DenseBuilder(sizes.batch, roofline)
    x = net.input(3, sizes.image)
    for block in BLOCKS:
        for factor in block:
            x = net.relu(net.conv(x, factor * sizes.width, 3, padding=1, bias=True))
        x = net.max_pool(x, 2, 2)
    x = net.flatten(x)
    for _ in range(2):
        x = net.dropout(net.relu(net.linear(x, sizes.hidden)))
    net.linear(x, sizes.classes)
    return net.graph("vgg16")


def network(sizes: Sizes = FULL) -> nn.Module:
    """Return the network with fresh weights, as one writes it by hand."""
    from stagewright.scenarios.models.networks.images import VGG16  # noqa: PLC0415

    return VGG16(sizes)


def make_input(seed: int, sizes: Sizes = SMALL) -> tuple[torch.Tensor]:
    """Return a minibatch of images, shape (batch, 3, image, image)."""
    return (images.minibatch(seed, sizes.batch, sizes.image),)


def make_target(seed: int, sizes: Sizes = SMALL) -> torch.Tensor:
    """Return a class for each image, shape (batch,)."""
    return images.classes(seed, sizes.batch, sizes.classes)
