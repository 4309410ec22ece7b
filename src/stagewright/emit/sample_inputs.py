"""Inputs to run a network on, worked out from the layers that read them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch

from stagewright.emit.program import Program, Step, Tensor
from stagewright.emit.reference import Reference
from stagewright.model.describe import Value
from stagewright.model.errors import InputError

BATCH = 2
STEPS = 7
IMAGE_SIZES = (32, 64, 96, 128, 160, 192, 224, 256, 299, 320, 331, 384, 448, 512)
CLOUD_POINTS = 2_000
CLOUD_EXTENT = 48

Shape = tuple[int, ...]


def sample_inputs(program: Program, seed: int, dtype: torch.dtype) -> list[Any]:
    """Return one random minibatch: images, tokens, lengths, or point clouds.

    Raises
    ------
    InputError
        If the shape of an input cannot be told from the graph.
    """
    generator = torch.Generator().manual_seed(seed)
    size = _image_size(program)
    return [_input(program, node, size, generator, dtype) for node in program.inputs]


def _input(
    program: Program, node: str, size: int, generator: torch.Generator, dtype: torch.dtype
) -> Any:
    if node in program.sparse:
        return point_clouds(_channels(program, node), generator, dtype)
    step, position = _reader(program, node)
    arguments = step.arguments
    match step.call.name:
        case "Embedding":
            count = _int(arguments["num_embeddings"])
            return torch.randint(1, count, (STEPS, BATCH), generator=generator)
        case "EmuBidirLSTM" | "RecurrentAttention" if position > 0:
            return torch.arange(STEPS, STEPS - BATCH, -1)
        case "Linear":
            shape: Shape = (BATCH, _int(arguments["in_features"]))
        case "LSTM":
            shape = (STEPS, BATCH, _int(arguments["input_size"]))
        case _:
            shape = (BATCH, _int(arguments["in_channels"]), *(size,) * _dimension(step))
    return torch.randn(shape, generator=generator).to(dtype)


def point_clouds(channels: int, generator: torch.Generator, dtype: torch.dtype) -> Any:
    """Return points on bent sheets, voxelised: one sparse tensor of BATCH clouds."""
    import MinkowskiEngine  # noqa: PLC0415

    clouds = []
    for _ in range(BATCH):
        points = torch.rand(CLOUD_POINTS, 3, generator=generator)
        points[:, 2] = 0.5 + 0.3 * torch.sin(5 * points[:, 0]) * torch.cos(4 * points[:, 1])
        clouds.append(torch.unique((points * CLOUD_EXTENT).int(), dim=0))
    coordinates = MinkowskiEngine.utils.batched_coordinates(clouds)
    features = torch.randn(len(coordinates), channels, generator=generator).to(dtype)
    return MinkowskiEngine.SparseTensor(features, coordinates)


def _channels(program: Program, node: str) -> int:
    for step in program.readers.get(Tensor(node), []):
        for key in ("in_channels", "in_features", "num_features"):
            if key in step.arguments:
                return _int(step.arguments[key])
    raise _unknown(node)


def _reader(program: Program, node: str) -> tuple[Step, int]:
    """Return a reader that tells the input's shape, and which of its operands the input is."""
    for step in program.readers.get(Tensor(node), []):
        known = {"Embedding", "EmuBidirLSTM", "RecurrentAttention", "Linear", "LSTM"}
        if step.call.name in known or _dimension(step):
            return step, step.operands.index(Tensor(node))
    raise _unknown(node)


def _unknown(node: str) -> InputError:
    return InputError(
        f"the shape of input '{node}' cannot be told from the layers that read it",
        hint="Give inputs with --input MODULE:FACTORY",
    )


def _dimension(step: Step) -> int:
    """Return the spatial dimensions of a dense convolution, else 0."""
    name = step.call.name
    return int(name[4]) if name in {"Conv1d", "Conv2d", "Conv3d"} else 0


def _int(value: Value) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise InputError(f"'{value}' is not a whole number")
    return value


def _image_size(program: Program) -> int:
    """Return the smallest usual image size on which the network runs, tried without computing."""
    spatial = [
        node
        for node in program.inputs
        if node not in program.sparse
        and any(map(_dimension, program.readers.get(Tensor(node), [])))
    ]
    if not spatial:
        return 0
    with torch.device("meta"):
        network = Reference(program)
    errors = []
    for size, shapes in _trials(program, spatial):
        try:
            network(*(torch.empty(shape, device="meta") for shape in shapes))
        except (RuntimeError, ValueError) as error:
            errors.append(f"{size}: {error}")
        else:
            return size
    raise InputError(
        f"the network runs on none of the usual image sizes ({errors[-1]})",
        hint="Give inputs with --input MODULE:FACTORY",
    )


def _trials(program: Program, spatial: list[str]) -> Iterator[tuple[int, list[Shape]]]:
    for size in IMAGE_SIZES:
        shapes: list[Shape] = []
        for node in program.inputs:
            if node not in spatial:
                raise _unknown(node)
            step, _ = _reader(program, node)
            channels = _int(step.arguments["in_channels"])
            shapes.append((BATCH, channels, *(size,) * _dimension(step)))
        yield size, shapes
