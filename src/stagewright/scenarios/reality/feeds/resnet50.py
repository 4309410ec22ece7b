"""ResNet50 on small images."""

from __future__ import annotations

from functools import cache

import torch
from torch import nn

from stagewright.scenarios.models import resnet50
from stagewright.scenarios.reality import gate
from stagewright.scenarios.reality.feeds import number_of

SIZES = resnet50.Sizes(batch=4, image=64, width=32, classes=100)


def network() -> nn.Module:
    """Return the network with fresh weights."""
    return resnet50.network(SIZES)


@cache
def minibatch(number: int) -> tuple[torch.Tensor]:
    """Return images."""
    return resnet50.make_input(number, SIZES)


@cache
def classes(number: int) -> torch.Tensor:
    """Return what is on them."""
    return resnet50.make_target(number, SIZES)


def inputs(step: int, microbatch: int) -> tuple[torch.Tensor]:
    """Return the images of a microbatch when its round has begun."""
    gate.wait(step)
    return minibatch(number_of(step, microbatch))


def target(step: int, microbatch: int) -> torch.Tensor:
    """Return the classes of a microbatch."""
    return classes(number_of(step, microbatch))
