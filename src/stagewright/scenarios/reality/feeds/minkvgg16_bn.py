"""MinkVGG16-BN on small point clouds."""

from __future__ import annotations

from functools import cache

import MinkowskiEngine as ME  # noqa: N817
import torch
from torch import nn

from stagewright.scenarios.models import minkvgg16_bn
from stagewright.scenarios.reality import gate
from stagewright.scenarios.reality.feeds import number_of

SIZES = minkvgg16_bn.Sizes(clouds=4, points=1_500, voxel=0.05, width=32, hidden=512)


def network() -> nn.Module:
    """Return the network with fresh weights."""
    return minkvgg16_bn.network(SIZES)


@cache
def rows(number: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return features and coordinates of clouds."""
    (clouds,) = minkvgg16_bn.make_input(number, SIZES)
    return clouds.F, clouds.C


def minibatch(number: int) -> tuple[ME.SparseTensor]:
    """Return clouds that know no kernel maps yet, as a data loader makes them."""
    features, coordinates = rows(number)
    return (ME.SparseTensor(features, coordinates=coordinates),)


@cache
def classes(number: int) -> torch.Tensor:
    """Return what the clouds show."""
    return minkvgg16_bn.make_target(number, SIZES)


def inputs(step: int, microbatch: int) -> tuple[ME.SparseTensor]:
    """Return the clouds of a microbatch when its round has begun."""
    gate.wait(step)
    return minibatch(number_of(step, microbatch))


def target(step: int, microbatch: int) -> torch.Tensor:
    """Return the classes of a microbatch."""
    return classes(number_of(step, microbatch))
