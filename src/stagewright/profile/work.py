"""What the layers of a profile compute and move, estimated from their descriptions.

Only for profiles that come without counts. A layer with weights applies all of them at every
place of a tensor, two operations each; every tensor passes the memory as often as the layer
reads and writes it. ``docs/profile-predict.md`` tables the rules.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from stagewright.model.describe import Call, Value, parse_description
from stagewright.model.errors import InputError
from stagewright.model.graph import Layer, LayerGraph
from stagewright.profile.roofline import Work

FLOAT_BYTES = 4
COORDINATE_BYTES = 16
"""A voxel's place in a sparse tensor: minibatch index, x, y and z, 32 bits each."""

SURFACE = 1.5
"""Points lie on surfaces. A block of k x k x k cells around a cell that a large flat surface
crosses holds about 1.5 k^2 crossed cells, mean over directions: 13.5 of 27 for k = 3."""

ON_CHIP_BYTES_PER_FLOP = 2.5
"""MinkowskiEngine multiplies 32 x 32 tiles in shared memory, one result a thread: for each
multiply-add a value of one tile, and a quarter of a 16-byte load of the other."""

NORMS = ("BatchNorm", "InstanceNorm", "LayerNorm", "GroupNorm", "SyncBatchNorm")
ACTIVATIONS = frozenset(
    {"ReLU", "ReLU6", "LeakyReLU", "PReLU", "ELU", "SiLU", "GELU", "Hardswish", "Sigmoid", "Tanh"}
)
VIEWS = frozenset({"Size", "View", "Flatten", "Identity", "Transpose", "__getitem__", "hidden"})
RECURRENT = frozenset({"LSTM", "GRU", "RNN"})
DENSE_CONVOLUTIONS = {
    f"Conv{way}{dimensions}d": dimensions for way in ("", "Transpose") for dimensions in (1, 2, 3)
}
SPACE = 3
"""Dimensions of a sparse kernel that is given by one side."""


@dataclass(frozen=True, slots=True)
class LayerWork:
    """The work of one layer for a minibatch."""

    forward: Work
    backward: Work


def estimate_work(graph: LayerGraph) -> dict[str, LayerWork]:
    """Return the estimated work of every layer, by node.

    Layers that are not known by name, or whose description cannot be read, count their traffic
    with the memory and no arithmetic.
    """
    return {
        layer.id: _layer_work(layer, [graph.by_id[x] for x in graph.operands(layer.id)])
        for layer in graph.layers
    }


def is_sparse_convolution(description: str) -> bool:
    """Whether the layer runs MinkowskiEngine's own matrix product."""
    name = _read(description).name
    return name.startswith("Minkowski") and "Convolution" in name


def on_chip(description: str, work: LayerWork) -> LayerWork:
    """Return ``work`` with the traffic on the chip that a layer of its kind causes.

    Library kernels for dense layers keep that traffic off their critical path; it is counted
    for sparse convolutions only.
    """
    if not is_sparse_convolution(description):
        return work
    return LayerWork(
        *(
            replace(x, on_chip_bytes=ON_CHIP_BYTES_PER_FLOP * x.flops)
            for x in (work.forward, work.backward)
        )
    )


def neighbours(volume: float) -> float:
    """Return how many cells of a kernel's block hold a point.

    >>> round(neighbours(27), 6), neighbours(1), neighbours(2)
    (13.5, 1.0, 2)
    """
    return 1.0 if volume <= 1 else min(volume, SURFACE * volume ** (2 / 3))


def _layer_work(layer: Layer, operands: list[Layer]) -> LayerWork:
    call = _read(layer.description)
    kind = call.name.removeprefix("Minkowski")
    read, written = sum(x.activation_bytes for x in operands), layer.activation_bytes
    if kind.startswith("Input") or kind in VIEWS:
        return LayerWork(Work(), Work())
    if kind.startswith(NORMS):
        return LayerWork(Work(0, 3 * written), Work(0, 5 * written))
    if kind in ACTIVATIONS:
        return LayerWork(Work(0, read + written), Work(0, read + 2 * written))
    if kind.startswith("Dropout"):
        return LayerWork(Work(0, read + 2 * written), Work(0, read + 2 * written))
    if kind == "Embedding":
        return LayerWork(Work(0, 2 * written), Work(0, written + layer.parameter_bytes))
    flops = _flops(call, layer, operands)
    forward = Work(flops, read + written + layer.parameter_bytes)
    backward = forward.times(2) if layer.parameter_bytes or flops else forward
    return on_chip(layer.description, LayerWork(forward, backward))


def _flops(call: Call, layer: Layer, operands: list[Layer]) -> float:
    """Operations of the forward pass of a layer that is a matrix product; 0 if it is none."""
    sizes = _sizes(call)
    if sizes is not None and call.name in DENSE_CONVOLUTIONS:
        return _dense_flops(call, sizes, layer, operands)
    if sizes is not None and call.name.startswith("Minkowski") and "Convolution" in call.name:
        return _sparse_flops(call, sizes, layer, operands)
    numbers = layer.activation_parts_bytes[0] / FLOAT_BYTES
    if sizes is not None and call.name.removeprefix("Minkowski") == "Linear":
        return 2 * numbers * sizes[0]
    width = _width(call)
    return 2 * (layer.parameter_bytes / FLOAT_BYTES) * numbers / width if width else 0.0


def _dense_flops(
    call: Call, sizes: tuple[float, float], layer: Layer, operands: list[Layer]
) -> float:
    """Two operations for each weight and each place of the map that the kernel slides over."""
    into, out = sizes
    slides_over_input = "Transpose" in call.name and operands
    mapped, channels = (operands[0], into) if slides_over_input else (layer, out)
    places = mapped.activation_parts_bytes[0] / FLOAT_BYTES / channels
    kernel = _volume(_argument(call, 2, "kernel_size"), DENSE_CONVOLUTIONS[call.name])
    return 2 * places * into * out * kernel / _number(_argument(call, 6, "groups"), 1)


def _sparse_flops(
    call: Call, sizes: tuple[float, float], layer: Layer, operands: list[Layer]
) -> float:
    """Two operations for each pair of points under the kernel, input and output channel."""
    into, out = sizes
    volume = _volume(_argument(call, 2, "kernel_size"), SPACE)
    stride = _volume(_argument(call, 3, "stride"), SPACE)
    rows = layer.activation_parts_bytes[0] / (FLOAT_BYTES * out)
    if call.name.endswith("Transpose") or not operands:
        return 2 * _pairs(rows, rows, volume, stride) * into * out
    source = operands[0]
    # A network's input may carry its size in points or not at all: where it is less than one
    # number a row, the layer is taken to keep the points.
    given = source.activation_parts_bytes[0] / (FLOAT_BYTES * into)
    pairs = _pairs(rows, given if given >= rows else rows, volume, stride)
    channels = into if "Channelwise" in call.name else into * out
    return 2 * pairs * channels


def _pairs(rows: float, source_rows: float, volume: float, stride: float) -> float:
    """Pairs of an input and an output point that the kernel joins.

    Kernels as wide as their stride tile the space: each point of the finer side is in one pair.
    """
    if volume == stride and volume > 1:
        return max(rows, source_rows)
    return rows * neighbours(volume)


def _width(call: Call) -> float:
    """Numbers in a row of the output of a recurrent layer, or of a module that is made of such.

    The last of the modules inside that states its width decides.
    """
    if call.name in RECURRENT:
        directions = 2 if dict(call.kwargs).get("bidirectional") is True else 1
        return directions * _number(_argument(call, 1, "hidden_size"), 0)
    if call.name == "Linear":
        return _number(_argument(call, 1, "out_features"), 0)
    widths = [width for _, child in call.children if (width := _width(child))]
    return widths[-1] if widths else 0.0


def _sizes(call: Call) -> tuple[float, float] | None:
    into = _argument(call, 0, "in_channels", "in_features")
    out = _argument(call, 1, "out_channels", "out_features")
    into, out = (_number(x, 0) for x in (into, out))
    if "Channelwise" in call.name:
        out = into
    return (into, out) if into > 0 and out > 0 else None


def _argument(call: Call, place: int, *names: str) -> Value:
    given = dict(call.kwargs)
    for name in names:
        if name in given:
            return given[name]
    return call.args[place] if 0 <= place < len(call.args) else None


def _number(value: Value, default: float) -> float:
    good = isinstance(value, int | float) and not isinstance(value, bool) and value > 0
    return float(value) if good else default  # type: ignore[arg-type]


def _volume(value: Value, dimensions: int) -> float:
    """Cells of a window: given by its sides, or by one side for all dimensions."""
    if isinstance(value, tuple):
        return math.prod(_number(x, 1) for x in value)
    return _number(value, 1) ** dimensions


def _read(description: str) -> Call:
    try:
        return parse_description(description)
    except InputError:
        return Call(description.partition("(")[0].strip())
