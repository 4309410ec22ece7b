"""Sending tensors, dense and sparse, from one stage's process to another's."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

DTYPES = (
    torch.float32,
    torch.float64,
    torch.float16,
    torch.bfloat16,
    torch.int64,
    torch.int32,
    torch.bool,
    torch.uint8,
)
MAX_DIMENSIONS = 8
ROW = 5 + 2 * MAX_DIMENSIONS


@dataclass(frozen=True)
class Received:
    """What a stage received for one microbatch.

    Attributes
    ----------
    values
        Arguments of the stage: tensors and sparse tensors.
    leaves
        The tensors (features, if sparse) whose gradients go back; None where none does.
    """

    values: list[Any]
    leaves: list[Tensor | None]


class Link:
    """One direction between stages.

    Forward and backward have a group each, so that their messages cannot wait for each
    other. Messages between two ranks arrive in the order in which they were sent.

    Parameters
    ----------
    group
        Process group of this direction.
    device
        Where tensors live.
    """

    def __init__(self, group: dist.ProcessGroup, device: torch.device) -> None:
        self.group = group
        self.device = device
        self._sent: list[tuple[dist.Work | None, Tensor]] = []

    def send(self, tensor: Tensor, rank: int) -> None:
        """Start to send a tensor; it is kept until :meth:`flush`."""
        tensor = tensor.detach().contiguous()
        if tensor.numel():
            self._sent.append((dist.isend(tensor, rank, group=self.group), tensor))

    def receive(self, shape: Sequence[int], dtype: torch.dtype, rank: int) -> Tensor:
        """Wait for a tensor."""
        tensor = torch.empty(tuple(shape), dtype=dtype, device=self.device)
        if tensor.numel():
            dist.recv(tensor, rank, group=self.group)
        return tensor

    def flush(self) -> None:
        """Wait until everything has left."""
        for work, _ in self._sent:
            if work is not None:
                work.wait()
        self._sent.clear()


def is_sparse(value: Any) -> bool:
    """Return whether a value is a sparse tensor of MinkowskiEngine."""
    return not isinstance(value, Tensor) and hasattr(value, "coordinate_manager")


def features(value: Any) -> Tensor:
    """Return a tensor, or the features of a sparse tensor."""
    tensor: Tensor = value.F if is_sparse(value) else value
    return tensor


def needs_gradient(value: Any) -> bool:
    """Return whether a gradient for this value comes back."""
    return bool(features(value).requires_grad)


def send_values(link: Link, values: Sequence[Any], rank: int) -> None:
    """Send what leaves a stage: a header, tensors, and coordinates once a level."""
    rows, payloads = [], []
    levels: set[tuple[int, ...]] = set()
    for value in values:
        tensor = features(value)
        stride: tuple[int, ...] = ()
        coordinates = 0
        payloads.append(tensor)
        if is_sparse(value):
            stride = tuple(value.tensor_stride)
            if stride not in levels:
                levels.add(stride)
                coordinates = 1
                payloads.append(value.C)
        rows.append(_row(tensor, stride, coordinates))
    header = torch.tensor(rows, dtype=torch.int64, device=link.device)
    link.send(header, rank)
    for payload in payloads:
        link.send(payload, rank)


def _row(tensor: Tensor, stride: tuple[int, ...], coordinates: int) -> list[int]:
    if tensor.ndim > MAX_DIMENSIONS:
        raise ValueError(f"a tensor of {tensor.ndim} dimensions cannot be sent")
    code = DTYPES.index(tensor.dtype)
    row = [code, int(tensor.requires_grad), coordinates, tensor.ndim, len(stride)]
    row += [*tensor.shape, *[0] * (MAX_DIMENSIONS - tensor.ndim)]
    return [*row, *stride, *[0] * (MAX_DIMENSIONS - len(stride))]


def receive_values(link: Link, count: int, rank: int) -> Received:
    """Receive what another stage's :func:`send_values` sent."""
    header = link.receive((count, ROW), torch.int64, rank).tolist()
    tensors, strides = [], []
    levels: dict[tuple[int, ...], Tensor] = {}
    for row in header:
        code, gradient, coordinates, dimensions, stride_length = row[:5]
        shape = row[5 : 5 + dimensions]
        stride = tuple(row[5 + MAX_DIMENSIONS :][:stride_length])
        tensor = link.receive(shape, DTYPES[code], rank)
        if coordinates:
            rows = (shape[0], stride_length + 1)
            levels[stride] = link.receive(rows, torch.int32, rank)
        tensors.append(tensor.requires_grad_(bool(gradient)))
        strides.append(stride)
    return Received(
        _values(tensors, strides, levels),
        [x if x.requires_grad else None for x in tensors],
    )


def _values(
    tensors: list[Tensor],
    strides: list[tuple[int, ...]],
    levels: dict[tuple[int, ...], Tensor],
) -> list[Any]:
    """Make the sparse tensors among what was received, in one coordinate manager."""
    if not levels:
        return list(tensors)
    from .sparse import join  # noqa: PLC0415 - needs MinkowskiEngine, dense stages do not

    places = [k for k, stride in enumerate(strides) if stride]
    made = join([tensors[k] for k in places], [strides[k] for k in places], levels)
    sparse = dict(zip(places, made, strict=True))
    return [sparse.get(k, tensor) for k, tensor in enumerate(tensors)]


def send_gradients(link: Link, leaves: Sequence[Tensor | None], rank: int) -> None:
    """Send the gradients of what was received, zeros where the stage used none."""
    for leaf in leaves:
        if leaf is not None:
            link.send(torch.zeros_like(leaf) if leaf.grad is None else leaf.grad, rank)


def receive_gradients(link: Link, values: Sequence[Any], rank: int) -> list[Tensor]:
    """Receive the gradients of those of ``values`` that need one."""
    wanted = [features(x) for x in values if needs_gradient(x)]
    return [link.receive(x.shape, x.dtype, rank) for x in wanted]


def to_device(value: Any, device: torch.device) -> Any:
    """Move a tensor or a sparse tensor."""
    if not is_sparse(value):
        return value.to(device)
    if value.F.device == device:
        return value
    from .sparse import join  # noqa: PLC0415

    stride = tuple(value.tensor_stride)
    return join([value.F.to(device)], [stride], {stride: value.C.to(device)})[0]
