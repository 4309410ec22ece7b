"""The unsplit network, run node by node from the graph: what written stages are held against.

It shares the table of layers with the writer, but none of the written code: it keeps every
value, never overwrites one, and does not know about stages.
"""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from stagewright.emit.construct import constructor_arguments
from stagewright.emit.operators import OPERATORS
from stagewright.emit.program import Nothing, Operand, Program, Size, Step, Tensor
from stagewright.model.describe import Enumerated, Value


class Reference(nn.Module):
    """A network as its graph says.

    Parameters
    ----------
    program
        The network. Modules are made in its order, so equal seeds give equal weights.
    """

    def __init__(self, program: Program) -> None:
        super().__init__()
        self.program = program
        self.layers = nn.ModuleDict()
        for step in program.steps:
            if step.layer.is_operator or step.module in self.layers:
                continue
            self.layers[step.module] = make_module(program, step)
            if step.weight_of:
                self.layers[step.module].weight = self.layers[step.weight_of].weight

    def run(self, inputs: Sequence[Any]) -> dict[Tensor, Any]:
        """Return every value of one forward pass."""
        nodes = (Tensor(node) for node in self.program.inputs)
        values: dict[Tensor, Any] = dict(zip(nodes, inputs, strict=True))
        for step in self.program.steps:
            operands = [_value(x, values) for x in step.operands]
            if step.layer.is_operator:
                operator = OPERATORS[step.layer.name]
                result = operator.run(step.arguments, operands, step.sparse)
            else:
                result = self.layers[step.module](*operands)
            if step.layer.outputs:
                values.update({Tensor(step.node, k): x for k, x in enumerate(result)})
            else:
                values[Tensor(step.node)] = result
        return values

    def forward(self, *inputs: Any) -> tuple[Any, ...]:
        """Return the outputs of the network."""
        values = self.run(inputs)
        return tuple(values[x] for x in self.program.outputs)


def make_module(program: Program, step: Step) -> nn.Module:
    """Make the module of a step, never in-place."""
    args, kwargs = constructor_arguments(program, step)
    kwargs.pop("inplace", None)
    made = _constructor(step)(
        *(_object(x) for x in args), **{key: _object(x) for key, x in kwargs.items()}
    )
    if not isinstance(made, nn.Module):
        raise TypeError(f"{step.layer.constructor} makes {type(made).__name__}, not a module")
    return made


def _constructor(step: Step) -> Any:
    """Return the class that the layer's import and constructor name."""
    name = step.layer.constructor.rpartition(".")[2]
    if step.layer.constructor.startswith("nn."):
        return getattr(nn, name)
    if step.layer.constructor.startswith("ME."):
        return getattr(importlib.import_module("MinkowskiEngine"), name)
    module = step.layer.imports.split()[1]
    if module.startswith("."):
        module = f"stagewright.emit.runtime{module}"
    return getattr(importlib.import_module(module), name)


def _object(value: Value) -> Any:
    if isinstance(value, Enumerated):
        engine = importlib.import_module("MinkowskiEngine")
        return getattr(getattr(engine, value.enumeration), value.member)
    return value


def _value(operand: Operand, values: dict[Tensor, Any]) -> Any:
    match operand:
        case Nothing():
            return None
        case Size():
            return values[operand.tensor].size(operand.dim)
        case _:
            return values[operand]


def is_sparse(value: Any) -> bool:
    """Return whether a value is a sparse tensor of MinkowskiEngine."""
    return not isinstance(value, torch.Tensor) and hasattr(value, "coordinate_manager")
