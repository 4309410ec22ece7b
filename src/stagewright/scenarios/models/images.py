"""Images as input: of the right shape and scale, from a seed."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

COARSEST = 8
"""Pixels a side of the coarsest pattern in an image."""


def minibatch(seed: int, batch: int, size: int) -> torch.Tensor:
    """Return normalised images with patterns of all sizes, shape (batch, 3, size, size).

    Neighbouring pixels of photographs resemble each other; noise at octaves of resolution,
    each half as strong as the one before, does too.
    """
    import torch  # noqa: PLC0415
    from torch.nn.functional import interpolate  # noqa: PLC0415

    generator = torch.Generator().manual_seed(seed)
    image = torch.zeros(batch, 3, size, size)
    side, strength = COARSEST, 1.0
    while side < size:
        noise = torch.randn(batch, 3, side, side, generator=generator)
        image += strength * interpolate(noise, size=(size, size), mode="bilinear")
        side, strength = 2 * side, strength / 2
    image += strength * torch.randn(batch, 3, size, size, generator=generator)
    return (image - image.mean()) / image.std()


def classes(seed: int, batch: int, number: int) -> torch.Tensor:
    """Return a class for each image, shape (batch,)."""
    import torch  # noqa: PLC0415

    return torch.randint(number, (batch,), generator=torch.Generator().manual_seed(seed))
