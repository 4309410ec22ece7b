"""From a layer graph with stages to a program: folding, kinds of tensors, order and names."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from stagewright.emit.layers import LayerType, Takes, find_layer
from stagewright.emit.operators import whole
from stagewright.emit.program import Nothing, Operand, Program, Size, Step, Tensor
from stagewright.emit.ties import Ties, settled, without_ties
from stagewright.model.describe import Call, Value, parse_description
from stagewright.model.errors import InputError, printable
from stagewright.model.graph import LayerGraph

_INPUT = re.compile(r"Input\d{0,6}")


def build_program(graph: LayerGraph, stage_of: Mapping[str, int], source: str) -> Program:
    """Turn a graph and the stage of each node into a program.

    Parameters
    ----------
    graph
        The layers.
    stage_of
        Stage of each node, 0 first. Inputs and unused ``__getitem__`` outputs may be left out.
    source
        The file to name in errors.

    Raises
    ------
    InputError
        If a description is unknown, a node has no stage or too few operands, or an edge runs
        from a later stage to an earlier one.
    """
    return _Builder(graph, stage_of, source).build()


class _Builder:
    """The graph on its way to a program."""

    def __init__(self, graph: LayerGraph, stage_of: Mapping[str, int], source: str) -> None:
        self.graph = graph
        self.source = source
        self.producers: dict[str, list[str]] = {x.id: [] for x in graph.layers}
        for u, v in graph.edges:
            self.producers[v].append(u)
        self.inputs = self._inputs()
        self.stage_of = self._stages(stage_of)
        self.calls: dict[str, Call] = {}
        self.ties: dict[str, Ties] = {}
        self.values: dict[str, Operand] = {node: Tensor(node) for node in self.inputs}
        self.sparse: set[str] = set()
        self.steps: list[Step] = []
        self._by_node: dict[str, Step] = {}
        self.names: dict[str, int] = {}

    def fail(self, node: str, message: str, hint: str | None = None) -> InputError:
        """Return the error that something is wrong with a node."""
        return InputError(f"node '{printable(node, 60)}': {message}", source=self.source, hint=hint)

    def build(self) -> Program:
        """Return the program."""
        for layer in self.graph.layers:
            if layer.id not in self.inputs:
                try:
                    call, ties = without_ties(parse_description(layer.description))
                    self.calls[layer.id], self.ties[layer.id] = call, ties
                    find_layer(self.calls[layer.id].name)
                except InputError as error:
                    raise self.fail(layer.id, error.message, error.hint) from None
        self.sparse.update(node for node in self.inputs if self._feeds_sparse(node))
        for node in self._order():
            try:
                self._enter(node)
            except InputError as error:
                if error.source is not None:
                    raise
                raise self.fail(node, error.message, error.hint) from None
        return Program(
            settled(self.steps, self.ties, self.source),
            self.inputs,
            self._outputs(),
            1 + max(self.stage_of.values(), default=0),
            frozenset(self.sparse),
        )

    def _inputs(self) -> tuple[str, ...]:
        found = [x for x in self.graph.layers if x.id in self.graph.inputs]
        for layer in found:
            if not _INPUT.fullmatch(layer.description):
                raise self.fail(
                    layer.id,
                    f"'{printable(layer.description, 40)}' is not an input; expected Input0",
                )
        return tuple(x.id for x in sorted(found, key=lambda x: int(x.description[5:] or 0)))

    def _stages(self, given: Mapping[str, int]) -> dict[str, int]:
        stages = dict.fromkeys(self.inputs, 0)
        for layer in self.graph.layers:
            if layer.id in stages:
                continue
            if layer.id in given:
                stages[layer.id] = given[layer.id]
            elif layer.id in self.graph.dropped:
                stages[layer.id] = given.get(self.producers[layer.id][0], 0)
            else:
                raise self.fail(
                    layer.id,
                    "no stage is given for it",
                    "Every node needs a stage_id; 'stagewright plan -o DIR' writes them",
                )
        missing = set(range(1 + max(stages.values()))) - set(stages.values())
        if missing:
            raise InputError(f"stage {min(missing)} holds no layers", source=self.source)
        for u, v in self.graph.edges:
            if stages[u] > stages[v]:
                raise self.fail(
                    v,
                    f"it is in stage {stages[v]} and reads '{printable(u, 60)}' of the later "
                    f"stage {stages[u]}",
                    "Stages are numbered in pipeline order",
                )
        return stages

    def _feeds_sparse(self, start: str) -> bool:
        """Whether an input reaches a sparse layer through layers that take either kind."""
        seen, waiting = {start}, [start]
        while waiting:
            for reader in self.graph.digraph.successors(waiting.pop()):
                takes = find_layer(self.calls[reader].name).takes
                if takes is Takes.SPARSE:
                    return True
                if takes is Takes.EITHER and reader not in seen:
                    seen.add(reader)
                    waiting.append(reader)
        return False

    def _order(self) -> Iterable[str]:
        """Nodes stage by stage; within a stage a branch is followed to its end."""
        digraph = self.graph.digraph
        waiting_for = {node: digraph.in_degree(node) for node in digraph}
        stacks: list[list[str]] = [[] for _ in range(1 + max(self.stage_of.values()))]
        for node in self.inputs:
            for reader in digraph.successors(node):
                waiting_for[reader] -= 1
        for layer in reversed(self.graph.layers):
            if layer.id not in self.inputs and waiting_for[layer.id] == 0:
                stacks[self.stage_of[layer.id]].append(layer.id)
        for stack in stacks:
            while stack:
                node = stack.pop()
                yield node
                for reader in reversed(list(digraph.successors(node))):
                    waiting_for[reader] -= 1
                    if waiting_for[reader] == 0:
                        stacks[self.stage_of[reader]].append(reader)

    def _enter(self, node: str) -> None:
        """Fold a node into its readers, or add the step that computes it."""
        call = self.calls[node]
        layer = find_layer(call.name)
        arguments = layer.arguments(call)
        operands = [self.values[producer] for producer in self.producers[node]]
        if call.name == "Input":
            raise InputError("an input has no operands")
        if call.name == "hidden":
            self.values[node] = Nothing()
            return
        if call.name == "Size":
            self.values[node] = Size(_tensor(operands), whole(arguments["dim"], "the dimension"))
            return
        if call.name == "__getitem__":
            folded = self._item(operands, arguments)
            if folded is not None:
                self.values[node] = folded
                return
            if "index" not in arguments:
                layer, call = self._unrecorded_slice(node)
        if call.name in {"View", "Reshape"}:
            operands.sort(key=lambda x: isinstance(x, Size))
        self._step(node, layer, call, arguments, tuple(operands))

    def _item(self, operands: list[Operand], arguments: Mapping[str, Value]) -> Operand | None:
        """Return the output that ``__getitem__(k)`` names, or None if it really indexes."""
        if len(operands) != 1:
            raise InputError(f"__getitem__ takes 1 operand, found {len(operands)}")
        (operand,) = operands
        if isinstance(operand, Nothing):
            return operand
        if not isinstance(operand, Tensor) or operand.node in self.inputs:
            return None
        outputs = self._by_node[operand.node].layer.outputs
        if operand.item is not None or not outputs:
            return None
        if "index" not in arguments:
            raise InputError("__getitem__ lacks its index; expected __getitem__(0)")
        index = whole(arguments["index"], "the index")
        if not 0 <= index < len(outputs):
            raise InputError(f"output {index} does not exist; there are {len(outputs)}")
        return Tensor(operand.node, index)

    def _unrecorded_slice(self, node: str) -> tuple[LayerType, Call]:
        """Return the one slice that profiles contain without bounds: NASNet's shift by a pixel.

        Its path 2 pads an image at the right and the bottom and crops it at the left and the
        top; the profiler of PipeDream records only that something of the same size came out.
        """
        before = self.graph.by_id[self.producers[node][0]].activation_bytes
        if before != self.graph.by_id[node].activation_bytes:
            raise InputError(
                "__getitem__ does not say which part it takes, and the size changes",
                hint="Write the index, __getitem__(0)",
            )
        return find_layer("Shift"), Call("Shift")

    def _step(
        self,
        node: str,
        layer: LayerType,
        call: Call,
        arguments: Mapping[str, Value],
        operands: tuple[Operand, ...],
    ) -> None:
        least, most = layer.operands
        if not least <= len(operands) <= most:
            expected = str(least) if least == most else f"{least} to {most}"
            raise InputError(f"{call.name} takes {expected} operands, found {len(operands)}")
        self._check_operands(layer, operands)
        kinds = {x.node in self.sparse for x in operands if isinstance(x, Tensor)}
        if len(kinds) == 2:
            raise InputError(f"{call.name} mixes sparse and dense operands")
        sparse = True in kinds
        if sparse and layer.takes is Takes.DENSE:
            raise InputError(f"{call.name} does not take a sparse tensor")
        if not sparse and layer.takes is Takes.SPARSE:
            raise InputError(f"{call.name} takes a sparse tensor, its operand is dense")
        if sparse and layer.sparse_twin:
            layer = find_layer(layer.sparse_twin)
        self.names[layer.attribute] = self.names.get(layer.attribute, 0) + 1
        label = f"{layer.attribute}{self.names[layer.attribute]}"
        step = Step(
            node, self.stage_of[node], layer, call, arguments, operands, sparse, label, label
        )
        self.steps.append(step)
        self._by_node[node] = step
        self.values[node] = Tensor(node)
        if sparse and not layer.gives_dense:
            self.sparse.add(node)

    def _check_operands(self, layer: LayerType, operands: tuple[Operand, ...]) -> None:
        for position, operand in enumerate(operands):
            if isinstance(operand, Size) and (
                layer.name not in {"View", "Reshape"} or position == 0
            ):
                raise InputError(f"{layer.name} reads a size; only View and Reshape do")
            if isinstance(operand, Nothing) and (position == 0 or layer.is_operator):
                raise InputError(f"{layer.name} has no tensor to work on")
            if not isinstance(operand, Tensor) or operand.node in self.inputs:
                continue
            outputs = self._by_node[operand.node].layer.outputs
            if outputs and operand.item is None:
                raise InputError(
                    f"its operand '{printable(operand.node, 60)}' has {len(outputs)} outputs "
                    f"({', '.join(outputs)})",
                    hint="Pick one with a __getitem__(k) node between the two",
                )

    def _outputs(self) -> tuple[Tensor, ...]:
        found: dict[Tensor, None] = {}
        for step in self.steps:
            if self.graph.digraph.out_degree(step.node) == 0:
                found[Tensor(step.node, 0 if step.layer.outputs else None)] = None
        if not found:
            raise InputError("the network has no output", source=self.source)
        return tuple(found)


def _tensor(operands: list[Operand]) -> Tensor:
    if len(operands) != 1 or not isinstance(operands[0], Tensor):
        raise InputError("Size takes 1 tensor")
    return operands[0]
