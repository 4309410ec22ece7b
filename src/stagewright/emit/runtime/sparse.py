"""Sparse tensors that cross from one stage to the next."""

from __future__ import annotations

import MinkowskiEngine as ME
import torch

Stride = tuple[int, ...]


def one_manager(
    *tensors: ME.SparseTensor, coordinates: dict[Stride, torch.Tensor] | None = None
) -> list[ME.SparseTensor]:
    """Put sparse tensors into one coordinate manager.

    Layers that change the stride look coordinates up in their tensor's manager. Tensors
    that come from one process share theirs and are returned as they are; tensors that
    were sent get a new one.

    Parameters
    ----------
    *tensors
        Tensors of one network; those of the same stride have the same coordinates.
    coordinates
        Further coordinates, by stride, that a layer of the stage looks up.

    Returns
    -------
    list
        The tensors in the order given.
    """
    manager = tensors[0].coordinate_manager
    coordinates = coordinates or {}
    shared = all(x.coordinate_manager is manager for x in tensors)
    if shared and all(_has(manager, stride) for stride in coordinates):
        return list(tensors)
    features = [x.F for x in tensors]
    strides = [tuple(x.tensor_stride) for x in tensors]
    levels = {stride: x.C for stride, x in zip(strides, tensors, strict=True)}
    return join(features, strides, {**levels, **coordinates})


def join(
    features: list[torch.Tensor],
    strides: list[Stride],
    levels: dict[Stride, torch.Tensor],
) -> list[ME.SparseTensor]:
    """Make sparse tensors that share one new coordinate manager.

    Parameters
    ----------
    features, strides
        Of each tensor.
    levels
        Coordinates by stride; one set for all tensors of a stride.
    """
    first = next(iter(levels.values()))
    kind = ME.CoordinateMapType.CUDA if first.is_cuda else ME.CoordinateMapType.CPU
    manager = ME.CoordinateManager(D=first.shape[1] - 1, coordinate_map_type=kind)
    maps = {
        stride: manager.insert_and_map(rows, list(stride))
        for stride, rows in levels.items()
    }
    tensors = []
    for values, stride in zip(features, strides, strict=True):
        key, (order, _) = maps[stride]
        in_order = torch.equal(order, torch.arange(len(order), device=order.device))
        rows = values if in_order else values[order]
        tensors.append(
            ME.SparseTensor(rows, coordinate_map_key=key, coordinate_manager=manager)
        )
    return tensors


def _has(manager: ME.CoordinateManager, stride: Stride) -> bool:
    """Return whether a manager holds coordinates of a stride."""
    return bool(manager._manager.get_coordinate_map_keys(list(stride)))
