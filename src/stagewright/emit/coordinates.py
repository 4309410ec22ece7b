"""Coordinates of sparse tensors: which level each tensor lies on, and who looks levels up.

A MinkowskiEngine layer that changes the stride asks the coordinate manager for the coordinates
of its output level and makes them only if they are not there. All tensors of a level share
them. A level is the tensor stride, one number per dimension; zeros are the level of global
pooling, which has one row per point cloud.
"""

from __future__ import annotations

from collections.abc import Mapping

from stagewright.emit.layers import Motion
from stagewright.emit.program import Program, Step, Tensor
from stagewright.model.describe import Value
from stagewright.model.errors import InputError, printable

Level = tuple[int, ...]


def coordinate_levels(program: Program, source: str) -> dict[str, Level]:
    """Return the level of each node whose output is sparse.

    Raises
    ------
    InputError
        If there are two sparse inputs (their levels could not be told apart), operands of
        one layer lie on different levels, or a stride does not fit.
    """
    sparse_inputs = [node for node in program.inputs if node in program.sparse]
    if not sparse_inputs:
        return {}
    if len(sparse_inputs) > 1:
        raise InputError(
            "the network has two sparse inputs; their coordinates could not be told apart",
            source=source,
            hint="Only networks with one sparse input are written",
        )
    levels: dict[str, Level] = {sparse_inputs[0]: (1,) * spatial_dimension(program)}
    for step in program.steps:
        if not step.sparse:
            continue
        if step.layer.gives_dense:
            continue
        before = {levels[x.node] for x in step.operands if isinstance(x, Tensor)}
        try:
            levels[step.node] = _after(step, before)
        except InputError as error:
            raise InputError(
                f"node '{printable(step.node, 60)}': {error.message}", source=source
            ) from None
    return levels


def spatial_dimension(program: Program) -> int:
    """Return the number of spatial dimensions, as the first layer that tells has it."""
    for step in program.steps:
        if found := dimension_of(step.arguments):
            return found
    return 3


def dimension_of(arguments: Mapping[str, Value]) -> int:
    """Return the dimension that a layer's arguments tell, or 0."""
    dimension = arguments.get("dimension")
    if isinstance(dimension, int) and not isinstance(dimension, bool) and 0 < dimension <= 8:
        return dimension
    kernel = arguments.get("kernel_size")
    return len(kernel) if isinstance(kernel, tuple) else 0


def looks_up(step: Step, levels: Mapping[str, Level]) -> bool:
    """Return whether a step asks the coordinate manager for another level than its operand's."""
    if not step.sparse or step.layer.gives_dense:
        return False
    return any(levels[x.node] != levels[step.node] for x in step.reads)


def looked_up_from_before(program: Program, levels: Mapping[str, Level]) -> list[set[Level]]:
    """Return, for each stage, the levels that it looks up and an earlier stage has made."""
    made_in: dict[Level, int] = {levels[node]: 0 for node in program.inputs if node in levels}
    needed: list[set[Level]] = [set() for _ in range(program.stage_count)]
    for step in program.steps:
        if not step.sparse or step.layer.gives_dense:
            continue
        level = levels[step.node]
        first = made_in.setdefault(level, step.stage)
        if first < step.stage and looks_up(step, levels):
            needed[step.stage].add(level)
    return needed


def _after(step: Step, before: set[Level]) -> Level:
    if len(before) > 1:
        raise InputError(
            f"{step.call.name} joins tensors of strides {sorted(before)}, "
            "which have different coordinates"
        )
    (level,) = before
    motion = step.layer.motion
    if motion is Motion.ORIGIN:
        return (0,) * len(level)
    if motion is Motion.STAY:
        return level
    stride = _per_dimension(step.arguments.get("stride", 1), len(level))
    if motion is Motion.DOWN:
        return tuple(a * b for a, b in zip(level, stride, strict=True))
    if any(a % b for a, b in zip(level, stride, strict=True)):
        raise InputError(f"{step.call.name} divides the stride {level} by {stride}")
    return tuple(a // b for a, b in zip(level, stride, strict=True))


def _per_dimension(value: Value, dimension: int) -> Level:
    values = value if isinstance(value, tuple) else (value,) * dimension
    whole = tuple(x for x in values if isinstance(x, int) and not isinstance(x, bool) and x > 0)
    if len(whole) != len(values) or len(whole) != dimension:
        raise InputError(f"the stride is {value}; expected {dimension} whole numbers above 0")
    return whole
