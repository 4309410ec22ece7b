"""Networks on images: VGG16 and ResNet50."""

from __future__ import annotations

import torch
from torch import nn

from stagewright.scenarios.models import resnet50, vgg16


class VGG16(nn.Module):
    """Blocks of convolutions, and three linear layers."""

    def __init__(self, sizes: vgg16.Sizes) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        channels = 3
        for block in vgg16.BLOCKS:
            for factor in block:
                layers += [nn.Conv2d(channels, factor * sizes.width, 3, padding=1), nn.ReLU()]
                channels = factor * sizes.width
            layers.append(nn.MaxPool2d(2))
        layers.append(nn.Flatten())
        channels *= (sizes.image >> len(vgg16.BLOCKS)) ** 2
        for _ in range(2):
            layers += [nn.Linear(channels, sizes.hidden), nn.ReLU(), nn.Dropout()]
            channels = sizes.hidden
        layers.append(nn.Linear(channels, sizes.classes))
        self.layers = nn.Sequential(*layers)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return logits, shape (batch, classes)."""
        return self.layers(x)


class Bottleneck(nn.Module):
    """Narrow, convolve, widen, around a shortcut."""

    def __init__(self, inputs: int, width: int, stride: int) -> None:
        super().__init__()
        outputs = resnet50.EXPANSION * width
        self.branch = nn.Sequential(
            nn.Conv2d(inputs, width, 1, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(),
            nn.Conv2d(width, width, 3, stride, padding=1, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(),
            nn.Conv2d(width, outputs, 1, bias=False),
            nn.BatchNorm2d(outputs),
        )
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or inputs != outputs:
            self.shortcut = nn.Sequential(
                nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs)
            )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the branch and the shortcut together."""
        return torch.relu(self.branch(x) + self.shortcut(x))


class ResNet50(nn.Module):
    """Levels of bottlenecks, and one linear layer."""

    def __init__(self, sizes: resnet50.Sizes) -> None:
        super().__init__()
        channels = sizes.width
        layers: list[nn.Module] = [
            nn.Conv2d(3, channels, 7, stride=2, padding=3, bias=False),
            nn.BatchNorm2d(channels),
            nn.ReLU(),
            nn.MaxPool2d(3, 2, padding=1),
        ]
        for level, blocks in enumerate(sizes.blocks):
            width = sizes.width << level
            for block in range(blocks):
                layers.append(Bottleneck(channels, width, 2 if level and block == 0 else 1))
                channels = resnet50.EXPANSION * width
        layers += [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, sizes.classes)]
        self.layers = nn.Sequential(*layers)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return logits, shape (batch, classes)."""
        return self.layers(x)
