"""Inception v3 on images, with its auxiliary classifier (Szegedy et al., arXiv:1512.00567)."""

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

WIDTH = 64
"""Channels that every width of the published network is given in units of."""


@dataclass(frozen=True)
class Sizes:
    """Widths and resolutions; as given, the network as published.

    Attributes
    ----------
    batch, image
        Images in a minibatch, and pixels a side (at least 107).
    width
        Scale of all widths, 64 for the published network.
    classes
        Number of classes.
    """

    batch: int = 128
    image: int = 299
    width: int = WIDTH
    classes: int = 1_000


FULL = Sizes()
SMALL = Sizes(batch=2, image=107, width=4, classes=10)


def layer_graph(sizes: Sizes = FULL, roofline: Roofline = TYPICAL_GPU) -> LayerGraph:
    """Return the network as a layer graph with two outputs: auxiliary and main logits."""
    net = _Inception(sizes, roofline)
    x = net.input(3, sizes.image)
    x = net.unit(net.unit(net.unit(x, 32, 3, stride=2), 32, 3), 64, 3, padding=1)
    x = net.max_pool(x, 3, 2)
    x = net.max_pool(net.unit(net.unit(x, 80, 1), 192, 3), 3, 2)
    for pooled in (32, 64, 64):
        x = net.module_a(x, pooled)
    x = net.reduction_a(x)
    for inner in (128, 160, 160, 192):
        x = net.module_b(x, inner)
    net.auxiliary(x, sizes.classes)
    x = net.reduction_b(x)
    for _ in range(2):
        x = net.module_c(x)
    x = net.dropout(net.avg_pool(x, x.size[0], x.size[0]))
    net.linear(net.flatten(x), sizes.classes)
    return net.graph("inception_v3")


class _Inception(DenseBuilder):
    """The modules of figures 5 to 7 of the paper, branch by branch."""

    def __init__(self, sizes: Sizes, roofline: Roofline) -> None:
        super().__init__(sizes.batch, roofline)
        self.width = sizes.width

    def unit(
        self,
        x: Features,
        channels: int,
        kernel: int | tuple[int, int],
        *,
        stride: int = 1,
        padding: int | tuple[int, int] = 0,
    ) -> Features:
        """Convolution, batch norm and ReLU; ``channels`` are those of the published width."""
        scaled = max(1, channels * self.width // WIDTH)
        x = self.conv(x, scaled, kernel, stride=stride, padding=padding)
        return self.relu(self.batch_norm(x, eps="0.001"))

    def row(self, x: Features, channels: int, length: int) -> Features:
        """A convolution along the width."""
        return self.unit(x, channels, (1, length), padding=(0, length // 2))

    def column(self, x: Features, channels: int, length: int) -> Features:
        """A convolution along the height."""
        return self.unit(x, channels, (length, 1), padding=(length // 2, 0))

    def module_a(self, x: Features, pooled: int) -> Features:
        a = self.unit(x, 64, 1)
        b = self.unit(self.unit(x, 48, 1), 64, 5, padding=2)
        c = self.unit(self.unit(x, 64, 1), 96, 3, padding=1)
        c = self.unit(c, 96, 3, padding=1)
        d = self.unit(self.avg_pool(x, 3, 1, padding=1), pooled, 1)
        return self.concat([a, b, c, d])

    def reduction_a(self, x: Features) -> Features:
        a = self.unit(x, 384, 3, stride=2)
        b = self.unit(self.unit(self.unit(x, 64, 1), 96, 3, padding=1), 96, 3, stride=2)
        return self.concat([a, b, self.max_pool(x, 3, 2)])

    def module_b(self, x: Features, inner: int) -> Features:
        a = self.unit(x, 192, 1)
        b = self.column(self.row(self.unit(x, inner, 1), inner, 7), 192, 7)
        c = self.row(self.column(self.unit(x, inner, 1), inner, 7), inner, 7)
        c = self.row(self.column(c, inner, 7), 192, 7)
        d = self.unit(self.avg_pool(x, 3, 1, padding=1), 192, 1)
        return self.concat([a, b, c, d])

    def auxiliary(self, x: Features, classes: int) -> Features:
        x = self.unit(self.avg_pool(x, 5, 3), 128, 1)
        x = self.unit(x, 768, x.size)
        return self.linear(self.flatten(x), classes)

    def reduction_b(self, x: Features) -> Features:
        a = self.unit(self.unit(x, 192, 1), 320, 3, stride=2)
        b = self.column(self.row(self.unit(x, 192, 1), 192, 7), 192, 7)
        b = self.unit(b, 192, 3, stride=2)
        return self.concat([a, b, self.max_pool(x, 3, 2)])

    def module_c(self, x: Features) -> Features:
        a = self.unit(x, 320, 1)
        b = self.unit(x, 384, 1)
        b = self.concat([self.row(b, 384, 3), self.column(b, 384, 3)])
        c = self.unit(self.unit(x, 448, 1), 384, 3, padding=1)
        c = self.concat([self.row(c, 384, 3), self.column(c, 384, 3)])
        d = self.unit(self.avg_pool(x, 3, 1, padding=1), 192, 1)
        return self.concat([a, b, c, d])


def network(sizes: Sizes = FULL) -> nn.Module:
    """Return the network with fresh weights, as one writes it by hand."""
    from stagewright.scenarios.models.networks.inception import InceptionV3  # noqa: PLC0415

    return InceptionV3(sizes)


def make_input(seed: int, sizes: Sizes = SMALL) -> tuple[torch.Tensor]:
    """Return a minibatch of images, shape (batch, 3, image, image)."""
    return (images.minibatch(seed, sizes.batch, sizes.image),)


def make_target(seed: int, sizes: Sizes = SMALL) -> torch.Tensor:
    """Return a class for each image, shape (batch,)."""
    return images.classes(seed, sizes.batch, sizes.classes)
