"""What layers give one another: dense tensors, sparse tensors, and tuples of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch

Path = tuple[int | str, ...]


def is_sparse(value: Any) -> bool:
    """Return whether a value is a sparse tensor of MinkowskiEngine."""
    return not isinstance(value, torch.Tensor) and hasattr(value, "coordinate_manager")


def is_data(value: Any) -> bool:
    """Return whether a value is a tensor, dense or sparse."""
    return isinstance(value, torch.Tensor) or is_sparse(value)


def features(value: Any) -> torch.Tensor:
    """Return the tensor that takes gradients: a dense one itself, a sparse one's features."""
    found: torch.Tensor = value.F if is_sparse(value) else value
    return found


def parts(value: Any, path: Path = ()) -> Iterator[tuple[Path, Any]]:
    """Yield the tensors in a nested structure, each with its place."""
    if is_data(value):
        yield path, value
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from parts(item, (*path, key))
    elif isinstance(value, (tuple, list)):
        for place, item in enumerate(value):
            yield from parts(item, (*path, place))


def at(value: Any, path: Path) -> Any:
    """Return the part of a nested structure at a place."""
    for step in path:
        value = value[step]
    return value


def mapped(value: Any, change: Callable[[Any], Any]) -> Any:
    """Return a nested structure with ``change`` applied to everything that is not a container."""
    if isinstance(value, dict):
        return {key: mapped(item, change) for key, item in value.items()}
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return type(value)(*(mapped(item, change) for item in value))
    if isinstance(value, (tuple, list)) and not isinstance(value, torch.Size):
        return type(value)(mapped(item, change) for item in value)
    if isinstance(value, slice):
        return slice(*(change(x) for x in (value.start, value.stop, value.step)))
    return change(value)


def tensor_bytes(tensor: torch.Tensor) -> int:
    """Return the bytes of a tensor's elements."""
    return int(tensor.numel() * tensor.element_size())


def parts_bytes(value: Any) -> tuple[float, ...]:
    """Return the bytes of everything that crosses a cut with a value.

    One number for each dense tensor, and two for a sparse one: features and coordinates.
    """
    found: list[float] = []
    for _, part in parts(value):
        found.append(float(tensor_bytes(features(part))))
        if is_sparse(part):
            found.append(float(tensor_bytes(part.C)))
    return tuple(found) or (0.0,)


def as_received(value: Any) -> Any:
    """Return a tensor cut from what made it, with the same storage and coordinates.

    It takes gradients where the tensor does.
    """
    found = features(value)
    leaf = found.detach().requires_grad_(found.requires_grad)
    if not is_sparse(value):
        return leaf
    import MinkowskiEngine  # noqa: PLC0415

    return MinkowskiEngine.SparseTensor(
        leaf,
        coordinate_map_key=value.coordinate_map_key,
        coordinate_manager=value.coordinate_manager,
    )


def as_loaded(value: Any) -> Any:
    """Return a copy of an input as a data loader would give it anew.

    A sparse tensor gets a coordinate manager of its own: kernel maps that an earlier run made
    are not there.
    """
    if not is_sparse(value):
        return value.detach().clone() if isinstance(value, torch.Tensor) else value
    return resettled(value, value.F.detach().clone(), value.C.clone())


def resettled(value: Any, rows: torch.Tensor, coordinates: torch.Tensor) -> Any:
    """Return a sparse tensor of these rows in a coordinate manager of its own."""
    import MinkowskiEngine  # noqa: PLC0415

    kind = MinkowskiEngine.CoordinateMapType
    manager = MinkowskiEngine.CoordinateManager(
        D=value.D,
        coordinate_map_type=kind.CUDA if coordinates.is_cuda else kind.CPU,
    )
    stride = [int(x) for x in value.tensor_stride]
    key, (rows_kept, _) = manager.insert_and_map(coordinates, stride)
    if len(rows_kept) and len(rows_kept) != len(rows):
        rows = rows[rows_kept.long()]
    return MinkowskiEngine.SparseTensor(rows, coordinate_map_key=key, coordinate_manager=manager)
