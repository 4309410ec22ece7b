"""Networks on sparse tensors: a VGG, a ResNet and a U-Net."""

from __future__ import annotations

from collections.abc import Iterable

import MinkowskiEngine as ME  # noqa: N817
from torch import nn

from stagewright.scenarios.models import minkresnet, minkunet, minkvgg16_bn


def unit(inputs: int, outputs: int, kernel: int = 3, stride: int = 1) -> list[nn.Module]:
    """Convolution, batch norm and ReLU."""
    convolution = ME.MinkowskiConvolution(
        inputs, outputs, kernel_size=kernel, stride=stride, dimension=3
    )
    return [convolution, ME.MinkowskiBatchNorm(outputs), ME.MinkowskiReLU()]


class Residual(nn.Module):
    """Two convolutions around a shortcut."""

    def __init__(self, inputs: int, outputs: int, stride: int = 1) -> None:
        super().__init__()
        second = unit(outputs, outputs)
        self.branch = nn.Sequential(*unit(inputs, outputs, stride=stride), *second[:2])
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or inputs != outputs:
            self.shortcut = nn.Sequential(*unit(inputs, outputs, 1, stride)[:2])
        self.relu = ME.MinkowskiReLU()

    def forward(self, x: ME.SparseTensor) -> ME.SparseTensor:
        """Return the branch and the shortcut together."""
        return self.relu(self.branch(x) + self.shortcut(x))


def residuals(inputs: int, outputs: int, blocks: int, stride: int = 1) -> Iterable[Residual]:
    """The blocks of one level; the first of them changes width and resolution."""
    for block in range(blocks):
        first = block == 0
        yield Residual(inputs if first else outputs, outputs, stride if first else 1)


class MinkVGG(nn.Module):
    """VGG16 with batch norm; one row of logits for each cloud."""

    def __init__(self, sizes: minkvgg16_bn.Sizes) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        channels = sizes.in_channels
        for block in minkvgg16_bn.BLOCKS:
            for factor in block:
                layers += unit(channels, factor * sizes.width)
                channels = factor * sizes.width
            layers.append(ME.MinkowskiMaxPooling(kernel_size=2, stride=2, dimension=3))
        layers.append(ME.MinkowskiGlobalMaxPooling())
        for _ in range(2):
            layers += [ME.MinkowskiLinear(channels, sizes.hidden), ME.MinkowskiReLU()]
            layers.append(ME.MinkowskiDropout())
            channels = sizes.hidden
        layers.append(ME.MinkowskiLinear(channels, sizes.classes))
        self.layers = nn.Sequential(*layers)

    def forward(self, x: ME.SparseTensor) -> ME.SparseTensor:
        """Return logits."""
        return self.layers(x)


class MinkResNet(nn.Module):
    """A residual classifier; one row of logits for each cloud."""

    def __init__(self, sizes: minkresnet.Sizes) -> None:
        super().__init__()
        layers = unit(sizes.in_channels, sizes.width)
        layers.append(ME.MinkowskiMaxPooling(kernel_size=2, stride=2, dimension=3))
        channels = sizes.width
        for level, blocks in enumerate(sizes.blocks):
            layers += residuals(channels, sizes.width << level, blocks, 2 if level else 1)
            channels = sizes.width << level
        layers += [ME.MinkowskiGlobalMaxPooling(), ME.MinkowskiLinear(channels, sizes.classes)]
        self.layers = nn.Sequential(*layers)

    def forward(self, x: ME.SparseTensor) -> ME.SparseTensor:
        """Return logits."""
        return self.layers(x)


class Climb(nn.Module):
    """One level of the decoder: up, beside the skip, and through residual blocks."""

    def __init__(self, inputs: int, outputs: int, skipped: int, blocks: int) -> None:
        super().__init__()
        self.up = nn.Sequential(
            ME.MinkowskiConvolutionTranspose(inputs, outputs, kernel_size=2, stride=2, dimension=3),
            ME.MinkowskiBatchNorm(outputs),
            ME.MinkowskiReLU(),
        )
        self.merge = nn.Sequential(*residuals(outputs + skipped, outputs, blocks))

    def forward(self, x: ME.SparseTensor, skip: ME.SparseTensor) -> ME.SparseTensor:
        """Return the level's features, on the coordinates of ``skip``."""
        return self.merge(ME.cat(self.up(x), skip))


class MinkUNet(nn.Module):
    """Semantic segmentation; one row of logits for each voxel."""

    def __init__(self, sizes: minkunet.Sizes) -> None:
        super().__init__()
        self.stem = nn.Sequential(*unit(sizes.in_channels, sizes.stem, sizes.stem_kernel))
        widths = (sizes.stem, *sizes.encoder)
        self.encoder = nn.ModuleList(
            nn.Sequential(*unit(x, x, 2, 2), *residuals(x, y, sizes.blocks))
            for x, y in zip(widths, sizes.encoder, strict=False)
        )
        climbs = (sizes.encoder[-1], *sizes.decoder)
        self.decoder = nn.ModuleList(
            Climb(x, y, skipped, sizes.blocks)
            for x, y, skipped in zip(climbs, sizes.decoder, widths[-2::-1], strict=False)
        )
        self.head = ME.MinkowskiLinear(sizes.decoder[-1], sizes.classes)

    def forward(self, x: ME.SparseTensor) -> ME.SparseTensor:
        """Return logits."""
        x = self.stem(x)
        skips = []
        for level in self.encoder:
            skips.append(x)
            x = level(x)
        for level in self.decoder:
            x = level(x, skips.pop())
        return self.head(x)
