"""A layer graph cut into stages, as a program: what runs where, in which order, on what.

Three kinds of node are no work of their own and are folded into their readers: ``Size(k)``
becomes ``x.size(k)`` where it is used, ``__getitem__(k)`` of a layer with several outputs is
the name of that output, and ``hidden`` (no initial state) is nothing at all.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

from stagewright.emit.layers import LayerType
from stagewright.model.describe import Call, Value


@dataclass(frozen=True, slots=True)
class Tensor:
    """The output of a node, or the ``item``-th of its outputs."""

    node: str
    item: int | None = None


@dataclass(frozen=True, slots=True)
class Size:
    """The length of a tensor along a dimension."""

    tensor: Tensor
    dim: int


@dataclass(frozen=True, slots=True)
class Nothing:
    """No value: the state of a recurrent layer before the first step."""


Operand = Tensor | Size | Nothing


@dataclass(frozen=True, slots=True)
class Step:
    """One node that computes something.

    Attributes
    ----------
    node, stage
        Which node, and the stage that it runs in.
    layer, call, arguments
        What it is; ``layer`` is already the sparse twin where the operand is sparse.
    operands
        What it reads, in operand order.
    sparse
        Whether it works on sparse tensors.
    label
        Name of its output in the written code, unique in the program.
    module
        Name of its module there; steps of the same weights may have one module.
    weight_of
        The module whose ``weight`` its own module takes over, or "".
    """

    node: str
    stage: int
    layer: LayerType
    call: Call
    arguments: Mapping[str, Value]
    operands: tuple[Operand, ...]
    sparse: bool
    label: str
    module: str
    weight_of: str = ""

    @property
    def reads(self) -> tuple[Tensor, ...]:
        """Tensors that it reads, each once."""
        found = (x.tensor if isinstance(x, Size) else x for x in self.operands)
        return tuple(dict.fromkeys(x for x in found if isinstance(x, Tensor)))


@dataclass(frozen=True)
class Program:
    """A network cut into stages, ready to be written or run.

    Attributes
    ----------
    steps
        In the order in which they run: stage by stage.
    inputs
        Nodes that feed data in, in order.
    outputs
        What the network returns, in order.
    stage_count
        Number of stages.
    sparse
        Nodes whose output is a sparse tensor.
    """

    steps: tuple[Step, ...]
    inputs: tuple[str, ...]
    outputs: tuple[Tensor, ...]
    stage_count: int
    sparse: frozenset[str]

    @cached_property
    def by_node(self) -> dict[str, Step]:
        """Steps by node."""
        return {step.node: step for step in self.steps}

    @cached_property
    def stages(self) -> tuple[tuple[Step, ...], ...]:
        """Steps of each stage."""
        lists: list[list[Step]] = [[] for _ in range(self.stage_count)]
        for step in self.steps:
            lists[step.stage].append(step)
        return tuple(tuple(x) for x in lists)

    @cached_property
    def readers(self) -> dict[Tensor, list[Step]]:
        """Steps that read each tensor, in order."""
        readers: dict[Tensor, list[Step]] = {}
        for step in self.steps:
            for tensor in step.reads:
                readers.setdefault(tensor, []).append(step)
        return readers

    def stage_of(self, tensor: Tensor) -> int:
        """Return the stage that makes a tensor; inputs enter at the first one."""
        return 0 if tensor.node in self.inputs else self.by_node[tensor.node].stage
