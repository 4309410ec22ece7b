"""Point clouds as input: random solids, sampled on their surfaces and voxelised."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from stagewright.model.errors import InputError

if TYPE_CHECKING:
    import torch
    from MinkowskiEngine import SparseTensor

Array = NDArray[np.float64]

SENSOR_NOISE = 0.002
"""Standard deviation of a measured point from the surface; a cloud is about one across."""

MAX_CHANNELS = 4
"""An occupied voxel is known by 1 and the surface's normal."""


@dataclass(frozen=True)
class Cloud:
    """Points on surfaces.

    Attributes
    ----------
    points
        Places, shape (n, 3), in a cube of about one a side.
    normals
        Unit vectors away from the surface, shape (n, 3).
    """

    points: Array
    normals: Array


def cloud(rng: np.random.Generator, points: int) -> Cloud:
    """Return ``points`` samples of the surfaces of three to six solids."""
    solids = int(rng.integers(3, 7))
    scales = rng.uniform(0.15, 0.4, solids)
    areas = scales**2
    shares = rng.multinomial(points, areas / areas.sum())
    places, normals = [], []
    for scale, share in zip(scales, shares, strict=True):
        sample = (_ellipsoid, _box, _cylinder)[int(rng.integers(3))]
        surface, normal = sample(rng, int(share))
        turn = np.linalg.qr(rng.normal(size=(3, 3)))[0]
        centre = rng.uniform(-0.25, 0.25, 3)
        places.append(scale * surface @ turn.T + centre)
        normals.append(normal @ turn.T)
    noise = rng.normal(scale=SENSOR_NOISE, size=(points, 3))
    return Cloud(np.concatenate(places) + noise, np.concatenate(normals))


def minibatch(seed: int, clouds: int, points: int, voxel: float, channels: int) -> SparseTensor:
    """Return ``clouds`` clouds of ``points`` points, voxelised by MinkowskiEngine's quantiser.

    Parameters
    ----------
    seed
        The same seed gives the same minibatch, bit for bit.
    voxel
        Side of a voxel; points that share one become one row.
    channels
        How many of (1, normal x, normal y, normal z) a row holds, 1 to 4.

    Raises
    ------
    InputError
        If a number is out of range.
    """
    if clouds < 1 or points < 1 or voxel <= 0 or not 1 <= channels <= MAX_CHANNELS:
        raise InputError(
            f"{clouds} clouds of {points} points in voxels of {voxel} with {channels} channels",
            hint=f"At least 1 cloud, 1 point, a voxel above 0 and 1 to {MAX_CHANNELS} channels",
        )
    import MinkowskiEngine as ME  # noqa: N817, PLC0415
    import torch  # noqa: PLC0415

    rng = np.random.default_rng(seed)
    coordinates, features = [], []
    for _ in range(clouds):
        sampled = cloud(rng, points)
        known = np.hstack([np.ones((points, 1)), sampled.normals])[:, :channels]
        places, rows = ME.utils.sparse_quantize(
            sampled.points,
            features=known.astype(np.float32),
            quantization_size=voxel,
        )
        coordinates.append(places)
        features.append(torch.as_tensor(rows))
    return ME.SparseTensor(
        torch.cat(features), coordinates=ME.utils.batched_coordinates(coordinates)
    )


def cloud_classes(seed: int, clouds: int, classes: int) -> torch.Tensor:
    """Return a class for each cloud, shape (clouds,)."""
    import torch  # noqa: PLC0415

    return torch.randint(classes, (clouds,), generator=torch.Generator().manual_seed(seed))


def voxel_classes(voxels: SparseTensor, classes: int) -> torch.Tensor:
    """Return a class for each row: how high it lies in its minibatch, in equal shares."""
    import torch  # noqa: PLC0415

    height: torch.Tensor = voxels.C[:, 3]
    rank = torch.argsort(torch.argsort(height, stable=True), stable=True)
    return rank * classes // len(height)


def _ellipsoid(rng: np.random.Generator, points: int) -> tuple[Array, Array]:
    axes = rng.uniform(0.5, 1.0, 3)
    direction = rng.normal(size=(points, 3))
    direction /= np.linalg.norm(direction, axis=1, keepdims=True)
    normal = direction / axes
    return direction * axes, normal / np.linalg.norm(normal, axis=1, keepdims=True)


def _box(rng: np.random.Generator, points: int) -> tuple[Array, Array]:
    sides = rng.uniform(0.3, 1.0, 3)
    areas = np.prod(sides) / sides
    axis = rng.choice(3, size=points, p=areas / areas.sum())
    sign = rng.choice([-1.0, 1.0], size=points)
    place = rng.uniform(-1.0, 1.0, (points, 3))
    place[np.arange(points), axis] = sign
    normal = np.zeros((points, 3))
    normal[np.arange(points), axis] = sign
    return place * sides, normal


def _cylinder(rng: np.random.Generator, points: int) -> tuple[Array, Array]:
    radius = rng.uniform(0.2, 0.6)
    angle = rng.uniform(0.0, 2 * np.pi, points)
    normal = np.stack([np.cos(angle), np.sin(angle), np.zeros(points)], axis=1)
    place = radius * normal
    place[:, 2] = rng.uniform(-1.0, 1.0, points)
    return place, normal
