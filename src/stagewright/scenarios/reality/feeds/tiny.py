"""A network so small that the whole loop takes seconds; for tests."""

from __future__ import annotations

from functools import cache

import torch
from torch import nn

from stagewright.scenarios.reality import gate
from stagewright.scenarios.reality.feeds import number_of


def network() -> nn.Module:
    """Return eight like convolutions."""
    layers = [nn.Conv2d(16, 16, 3, padding=1) for _ in range(8)]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 4))


@cache
def minibatch(number: int) -> tuple[torch.Tensor]:
    """Return noise, shape (4, 16, 48, 48)."""
    return (torch.randn(4, 16, 48, 48, generator=torch.Generator().manual_seed(number)),)


def inputs(step: int, microbatch: int) -> tuple[torch.Tensor]:
    """Return a microbatch when its round has begun."""
    gate.wait(step)
    return minibatch(number_of(step, microbatch))


def target(step: int, microbatch: int) -> torch.Tensor:
    """Return classes, shape (4,)."""
    return torch.arange(4).roll(number_of(step, microbatch))
