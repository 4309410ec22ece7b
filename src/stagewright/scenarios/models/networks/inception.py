"""Inception v3, with its auxiliary classifier."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import nn

from stagewright.scenarios.models import inception_v3


class Conv(NamedTuple):
    """A convolution of the published width; ``same`` keeps the size of the map."""

    outputs: int
    kernel: int | tuple[int, int]
    stride: int = 1
    same: bool = True


ROW, COLUMN = (1, 7), (7, 1)


class Branches(nn.Module):
    """Branches side by side, their channels joined."""

    def __init__(self, outputs: int, *branches: nn.Module) -> None:
        super().__init__()
        self.outputs = outputs
        self.branches = nn.ModuleList(branches)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the channels of all branches."""
        return torch.cat([branch(x) for branch in self.branches], dim=1)


class InceptionV3(nn.Module):
    """Inception modules, a main classifier and an auxiliary one."""

    def __init__(self, sizes: inception_v3.Sizes) -> None:
        super().__init__()
        self.width = sizes.width
        self.stem = nn.Sequential(
            self.chain(3, Conv(32, 3, 2, False), Conv(32, 3, same=False), Conv(64, 3)),
            nn.MaxPool2d(3, 2),
            self.chain(self.scaled(64), Conv(80, 1), Conv(192, 3, same=False)),
            nn.MaxPool2d(3, 2),
        )
        early: list[Branches] = []
        channels = self.scaled(192)
        for pooled in (32, 64, 64):
            early.append(self.module_a(channels, pooled))
            channels = early[-1].outputs
        early.append(self.reduction_a(channels))
        channels = early[-1].outputs
        for inner in (128, 160, 160, 192):
            early.append(self.module_b(channels, inner))
            channels = early[-1].outputs
        self.early = nn.Sequential(*early)
        left = (map_size(sizes.image) - 5) // 3 + 1
        self.auxiliary = nn.Sequential(
            nn.AvgPool2d(5, 3),
            self.chain(channels, Conv(128, 1), Conv(768, left, same=False)),
            nn.Flatten(),
            nn.Linear(self.scaled(768), sizes.classes),
        )
        late = [self.reduction_b(channels)]
        for _ in range(2):
            late.append(self.module_c(late[-1].outputs))
        self.late = nn.Sequential(*late)
        self.head = nn.Sequential(
            nn.AdaptiveAvgPool2d(1),
            nn.Dropout(),
            nn.Flatten(),
            nn.Linear(late[-1].outputs, sizes.classes),
        )

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return auxiliary and main logits, each of shape (batch, classes)."""
        x = self.early(self.stem(x))
        return self.auxiliary(x), self.head(self.late(x))

    def scaled(self, channels: int) -> int:
        """Channels of the published network, at this network's width."""
        return max(1, channels * self.width // inception_v3.WIDTH)

    def chain(self, inputs: int, *convolutions: Conv) -> nn.Sequential:
        """Convolutions, each with batch norm and ReLU, one after the other."""
        layers: list[nn.Module] = []
        for conv in convolutions:
            outputs = self.scaled(conv.outputs)
            padding = "same" if conv.same else "valid"
            layers += [
                nn.Conv2d(inputs, outputs, conv.kernel, conv.stride, padding, bias=False),
                nn.BatchNorm2d(outputs, eps=0.001),
                nn.ReLU(),
            ]
            inputs = outputs
        return nn.Sequential(*layers)

    def averaged(self, inputs: int, outputs: int) -> nn.Module:
        """The branch that averages its neighbourhood."""
        return nn.Sequential(nn.AvgPool2d(3, 1, padding=1), self.chain(inputs, Conv(outputs, 1)))

    def crossed(self, inputs: int) -> nn.Module:
        """A row and a column side by side."""
        row, column = Conv(384, (1, 3)), Conv(384, (3, 1))
        return Branches(2 * self.scaled(384), self.chain(inputs, row), self.chain(inputs, column))

    def module_a(self, inputs: int, pooled: int) -> Branches:
        """Figure 5 of the paper."""
        return Branches(
            self.scaled(64) * 2 + self.scaled(96) + self.scaled(pooled),
            self.chain(inputs, Conv(64, 1)),
            self.chain(inputs, Conv(48, 1), Conv(64, 5)),
            self.chain(inputs, Conv(64, 1), Conv(96, 3), Conv(96, 3)),
            self.averaged(inputs, pooled),
        )

    def reduction_a(self, inputs: int) -> Branches:
        """From maps of 35 a side to 17."""
        return Branches(
            self.scaled(384) + self.scaled(96) + inputs,
            self.chain(inputs, Conv(384, 3, 2, False)),
            self.chain(inputs, Conv(64, 1), Conv(96, 3), Conv(96, 3, 2, False)),
            nn.MaxPool2d(3, 2),
        )

    def module_b(self, inputs: int, inner: int) -> Branches:
        """Figure 6 of the paper."""
        row, column = Conv(inner, ROW), Conv(inner, COLUMN)
        return Branches(
            4 * self.scaled(192),
            self.chain(inputs, Conv(192, 1)),
            self.chain(inputs, Conv(inner, 1), row, Conv(192, COLUMN)),
            self.chain(inputs, Conv(inner, 1), column, row, column, Conv(192, ROW)),
            self.averaged(inputs, 192),
        )

    def reduction_b(self, inputs: int) -> Branches:
        """From maps of 17 a side to 8."""
        sevens = (Conv(192, ROW), Conv(192, COLUMN))
        return Branches(
            self.scaled(320) + self.scaled(192) + inputs,
            self.chain(inputs, Conv(192, 1), Conv(320, 3, 2, False)),
            self.chain(inputs, Conv(192, 1), *sevens, Conv(192, 3, 2, False)),
            nn.MaxPool2d(3, 2),
        )

    def module_c(self, inputs: int) -> Branches:
        """Figure 7 of the paper."""
        return Branches(
            self.scaled(320) + 4 * self.scaled(384) + self.scaled(192),
            self.chain(inputs, Conv(320, 1)),
            nn.Sequential(self.chain(inputs, Conv(384, 1)), self.crossed(self.scaled(384))),
            nn.Sequential(
                self.chain(inputs, Conv(448, 1), Conv(384, 3)), self.crossed(self.scaled(384))
            ),
            self.averaged(inputs, 192),
        )


def map_size(image: int) -> int:
    """Return the side of the maps that the auxiliary classifier reads.

    >>> map_size(299)
    17
    """
    size = image
    for convolved in (2, 2, 0, 0):
        size = (size - 3) // 2 + 1 - convolved
    return size
