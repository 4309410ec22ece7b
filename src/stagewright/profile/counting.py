"""Operations and bytes of each layer, counted while it runs.

Matrix products and dense convolutions are counted by torch's own counter. Layers of
MinkowskiEngine are kernels of their own: a sparse convolution multiplies one row by one matrix
for each pair of an input and an output voxel that its kernel joins, so its kernel map tells.
Operations are those of products alone, one multiplication and one addition counting as two.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from stagewright.profile.clocks import WallClock
from stagewright.profile.layered import run_layered
from stagewright.profile.leaves import is_of_minkowski
from stagewright.profile.recording import Call, Recording
from stagewright.profile.values import at, features, is_data, is_sparse, parts, tensor_bytes


@dataclass(frozen=True)
class Count:
    """Operations and bytes of one call.

    Bytes are what has to be moved at least: forward, every operand, weight and output once;
    backward, those again and the gradients of all of them that take one. A sparse convolution
    gathers and scatters its rows, so each pair of voxels counts as a read and a write.
    """

    forward_flops: float = 0.0
    backward_flops: float = 0.0
    forward_bytes: float = 0.0
    backward_bytes: float = 0.0


def count(
    recording: Recording,
    inputs: Any,
    values: Sequence[Any],
    given: Sequence[torch.Tensor | None],
) -> list[Count]:
    """Return the counts of all calls.

    Parameters
    ----------
    recording, inputs
        The network, and a fresh copy of the input.
    values
        Of one replay on the same input.
    given
        Gradient of each output.
    """
    forward: dict[int, _Counter] = {}
    backward: dict[int, _Counter] = {}
    run_layered(
        recording,
        inputs,
        given,
        WallClock(),
        lambda k: forward.setdefault(k, _Counter()),
        lambda k: backward.setdefault(k, _Counter()),
    )
    found = []
    for position, call in enumerate(recording.calls):
        ahead, back = (x[position].flops if position in x else 0.0 for x in (forward, backward))
        own = _own_flops(call, values, position)
        if own is not None:
            ahead = own
            back = own * _products_backward(call, values) if position in backward else 0.0
        moved = _moved(call, values, position)
        found.append(Count(ahead, back, moved[0], moved[1] if position in backward else 0.0))
    return found


class _Counter:
    """Counts the operations of torch while it is entered."""

    def __init__(self) -> None:
        self._mode = FlopCounterMode(display=False)

    def __enter__(self) -> None:
        self._mode.__enter__()

    def __exit__(self, *error: object) -> None:
        self._mode.__exit__(*error)

    @property
    def flops(self) -> float:
        """Operations so far."""
        return float(self._mode.get_total_flops())


def _operands(call: Call, values: Sequence[Any]) -> list[Any]:
    return [part for ref in call.reads for _, part in parts(at(values[ref.call], ref.path))]


def _own_flops(call: Call, values: Sequence[Any], position: int) -> float | None:
    """Return the forward operations that torch's counter does not see, or None."""
    module = call.module
    if module is None:
        return None
    if isinstance(module, nn.LSTM):
        steps = features(_operands(call, values)[0]).numel() / int(module.input_size)
        return float(2.0 * steps * _matrices(module))
    if not is_of_minkowski(module) or not hasattr(module, "kernel_generator"):
        return None
    pairs = float(_pairs(module, call, values, position))
    if type(module).__name__ == "MinkowskiChannelwiseConvolution":
        return float(2.0 * pairs * features(values[position]).shape[1])
    if hasattr(module, "in_channels") and hasattr(module, "out_channels"):
        return float(2.0 * pairs * module.in_channels * module.out_channels)
    return None


def _matrices(module: nn.Module) -> int:
    return sum(x.numel() for x in module.parameters() if x.dim() > 1)


def _products_backward(call: Call, values: Sequence[Any]) -> int:
    """Return how many products the backward pass does for one of the forward pass.

    One for the gradient of the weights, and one for that of the operand if it takes one.
    """
    weights = any(x.requires_grad for x in call.parameters)
    return int(weights) + int(features(_operands(call, values)[0]).requires_grad)


def _pairs(module: Any, call: Call, values: Sequence[Any], position: int) -> int:
    """Return how many pairs of input and output voxels the kernel of a layer joins."""
    operand, result = _operands(call, values)[0], values[position]
    generator = module.kernel_generator
    up = "Transpose" in type(module).__name__
    ends = (result, operand) if up else (operand, result)
    maps = operand.coordinate_manager.kernel_map(
        ends[0].coordinate_map_key,
        ends[1].coordinate_map_key,
        stride=generator.kernel_stride,
        kernel_size=generator.kernel_size,
        dilation=generator.kernel_dilation,
        region_type=generator.region_type,
    )
    return sum(int(x.shape[-1]) for x in maps.values())


def _moved(call: Call, values: Sequence[Any], position: int) -> tuple[float, float]:
    """Return the bytes that have to be moved forward and backward."""
    if call.is_input:
        return 0.0, 0.0
    operands = [features(x) for x in _operands(call, values)]
    outputs = [features(x) for _, x in parts(values[position])]
    if _is_view(operands, outputs):
        return 0.0, 0.0
    weights = sum(tensor_bytes(x) for x in call.parameters)
    kept = sum(map(tensor_bytes, operands)) + weights
    written = sum(map(tensor_bytes, outputs))
    gathered = 0.0
    if call.module is not None and hasattr(call.module, "kernel_generator"):
        pairs = _pairs(call.module, call, values, position)
        width = operands[0].shape[1] * operands[0].element_size()
        gathered = float(pairs * (width + outputs[0].shape[1] * outputs[0].element_size()))
        kept, written = weights, 0
    gradients = sum(tensor_bytes(x) for x in operands if x.requires_grad) + weights
    forward = kept + written + gathered
    return forward, forward + gradients + gathered * (gradients > weights)


def _is_view(operands: Sequence[torch.Tensor], outputs: Sequence[torch.Tensor]) -> bool:
    stores = {x.untyped_storage().data_ptr() for x in operands if is_data(x)}
    return all(x.untyped_storage().data_ptr() in stores for x in outputs)


__all__ = ["Count", "count", "is_sparse"]
