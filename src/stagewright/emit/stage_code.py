"""One stage as the text of a Python module."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from stagewright.emit import layout
from stagewright.emit.boundaries import Coordinates, Crossing, Partition
from stagewright.emit.construct import constructor_arguments
from stagewright.emit.operators import OPERATORS
from stagewright.emit.program import Nothing, Operand, Size, Step, Tensor

NN = "from torch import nn"
MANAGER = "from .sparse import one_manager"


def crossing_name(partition: Partition, crossing: Crossing) -> str:
    """Name a tensor that enters or leaves a stage, the same in every stage.

    An input is ``input0``, a layer's output is called by the layer, coordinates by their
    stride.
    """
    program = partition.program
    if isinstance(crossing, Coordinates):
        stride = crossing.level
        parts = stride[:1] if len(set(stride)) == 1 else stride
        return "coordinates_" + "_".join(str(x) for x in parts)
    if crossing.node in program.inputs:
        return f"input{program.inputs.index(crossing.node)}"
    step = program.by_node[crossing.node]
    return f"{step.label}_{step.layer.outputs[crossing.item]}" if crossing.item else step.label


def stage_code(partition: Partition, stage: int) -> str:
    """Return the text of ``stage<k>.py``."""
    return _StageWriter(partition, stage).text()


class _StageWriter:
    """Names and lines of one stage."""

    def __init__(self, partition: Partition, stage: int) -> None:
        self.partition = partition
        self.program = partition.program
        self.stage = stage
        self.steps = self.program.stages[stage]
        self.arriving = partition.arriving(stage)
        self.leaving = partition.cuts[stage]
        self.imports: list[str] = [NN]
        self.names: dict[Tensor, str] = {
            x: crossing_name(partition, x) for x in self.arriving if isinstance(x, Tensor)
        }
        self.carriers = self._carriers()
        self.position = {step.node: k for k, step in enumerate(self.steps)}
        for step in self.steps:
            for item in range(len(step.layer.outputs) or 1):
                tensor = Tensor(step.node, item if step.layer.outputs else None)
                self.names[tensor] = self._name(tensor)

    def text(self) -> str:
        """Return the module."""
        parameters = ["self", *(crossing_name(self.partition, x) for x in self.arriving)]
        lines = [f"class Stage{self.stage}(nn.Module):", *self._init()]
        lines += layout.bracketed("def forward(", parameters, "):", 1)
        body = [*self._join_managers(), *(x for step in self.steps for x in self._statement(step))]
        lines += [*body, *self._return()]
        docstring = f"Stage {self.stage} of a pipeline of {self.program.stage_count}."
        return layout.module(docstring, self.imports, lines)

    def _name(self, tensor: Tensor) -> str:
        """Return ``x`` for a value that only the next line reads, else the layer's name."""
        if tensor in self.carriers.values():
            return crossing_name(self.partition, tensor)
        readers = [x for x in self.program.readers.get(tensor, []) if x.stage == self.stage]
        if tensor in self.leaving:
            alone = len(self.leaving) == 1 and self.steps[-1].node == tensor.node
            return "x" if alone and not readers else crossing_name(self.partition, tensor)
        if not readers and tensor.item is not None:
            return "_"
        only = len(readers) == 1 and not tensor.item
        if only and self.position[readers[0].node] == self.position[tensor.node] + 1:
            return "x"
        return crossing_name(self.partition, tensor)

    def _carriers(self) -> dict[Coordinates, Tensor]:
        """For coordinates that start here, the first tensor of the stage on that level."""
        levels = self.partition.levels
        here = [*self.names, *(Tensor(step.node) for step in self.steps)]
        return {
            x: next(tensor for tensor in here if levels.get(tensor.node) == x.level)
            for x in self.leaving
            if isinstance(x, Coordinates) and x not in self.arriving
        }

    def _init(self) -> list[str]:
        lines = []
        for step in _with_modules(self.steps):
            self.imports.append(step.layer.imports)
            args, kwargs = constructor_arguments(self.program, step)
            items = [layout.literal(x) for x in args]
            items += [f"{key}={layout.literal(x)}" for key, x in kwargs.items()]
            head = f"self.{step.module} = {step.layer.constructor}("
            lines += layout.bracketed(head, items, ")", 2)
            if step.weight_of:
                lines.append(
                    f"{layout.INDENT * 2}self.{step.module}.weight = self.{step.weight_of}.weight"
                )
            if any("ME." in item for item in items):
                self.imports.append("import MinkowskiEngine as ME")
        if not lines:
            return []
        start = f"{layout.INDENT}def __init__(self):"
        return [start, f"{layout.INDENT * 2}super().__init__()", *lines, ""]

    def _join_managers(self) -> list[str]:
        """Bring what came from elsewhere into one coordinate manager, where that matters."""
        names = [self.names[x] for x in self.arriving if isinstance(x, Tensor) and self._sparse(x)]
        given = [
            x
            for x in self.arriving
            if isinstance(x, Coordinates) and x.level in self.partition.lookups[self.stage]
        ]
        if not names or not any(step.sparse for step in self.steps):
            return []
        if len(names) == 1 and not given:
            return []
        self.imports.append(MANAGER)
        items = list(names)
        if given:
            pairs = (f"{x.level}: {crossing_name(self.partition, x)}" for x in given)
            items.append(f"coordinates={{{', '.join(pairs)}}}")
        targets = f"({names[0]},)" if len(names) == 1 else ", ".join(names)
        return layout.bracketed(f"{targets} = one_manager(", items, ")", 2)

    def _sparse(self, tensor: Tensor) -> bool:
        return tensor.node in self.program.sparse

    def _statement(self, step: Step) -> list[str]:
        if step.layer.outputs:
            names = [self.names[Tensor(step.node, k)] for k in range(len(step.layer.outputs))]
        else:
            names = [self.names[Tensor(step.node)]]
        operands = [self._operand(x) for x in step.operands]
        if step.layer.is_operator:
            operator = OPERATORS[step.layer.name]
            self.imports.append(operator.imports(step.sparse))
            code = operator.write(step.arguments, operands, step.sparse)
            return self._assignment(names[0], code)
        while operands and operands[-1] == "None":
            operands.pop()
        return layout.bracketed(f"{', '.join(names)} = self.{step.module}(", operands, ")", 2)

    def _assignment(self, name: str, code: str) -> list[str]:
        """Lay ``name = code`` out; a call that is too long is broken at its brackets."""
        flat = f"{layout.INDENT * 2}{name} = {code}"
        if len(flat) <= layout.WIDTH:
            return [flat]
        return layout.bracketed(f"{name} = (", [code], ")", 2)

    def _operand(self, operand: Operand) -> str:
        match operand:
            case Nothing():
                return "None"
            case Size():
                return f"{self.names[operand.tensor]}.size({operand.dim})"
            case _:
                return self.names[operand]

    def _return(self) -> list[str]:
        names = [self._left(x) for x in self.leaving]
        if len(", ".join(names)) + 15 <= layout.WIDTH:
            return [f"{layout.INDENT * 2}return {', '.join(names)}"]
        margin = layout.INDENT * 2
        return [f"{margin}return (", *(f"{margin}    {name}," for name in names), f"{margin})"]

    def _left(self, crossing: Crossing) -> str:
        if isinstance(crossing, Tensor):
            return self.names[crossing]
        if crossing in self.arriving:
            return crossing_name(self.partition, crossing)
        return f"{self.names[self.carriers[crossing]]}.C"


def _with_modules(steps: Iterable[Step]) -> Iterator[Step]:
    """Yield the first step of each module."""
    seen: set[str] = set()
    for step in steps:
        if not step.layer.is_operator and step.module not in seen:
            seen.add(step.module)
            yield step
