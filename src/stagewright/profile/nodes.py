"""From a recording to the nodes of a layer graph: names, descriptions, operands, shared weights."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from torch import nn

from stagewright.profile.operators import Operand, Spelled, function_name, function_text
from stagewright.profile.recording import Call, Recording, Ref, SizeOf
from stagewright.profile.spelling import NotSpelled, module_text
from stagewright.profile.values import at, is_data, tensor_bytes

SHARED, TIED = "shared", "tied"
IN_PARTS = {"chunk": "Chunk", "unbind": "Select"}
"""Functions whose outputs are written one by one, each as an operator of its own."""


@dataclass(frozen=True)
class Node:
    """A node of the layer graph.

    Attributes
    ----------
    id, description
        As profile text has them.
    operands
        Nodes that it reads, in operand order.
    call
        Position of the call in the recording whose times it carries, or None: it costs nothing.
    value
        What it gives, or None: nothing that crosses a cut.
    parameter_bytes
        Bytes of its weights; weights that an earlier node holds are counted there.
    name
        Path of the module in the network, or the name of the function.
    problem
        Why its description cannot be made into code, or "".
    """

    id: str
    description: str
    operands: tuple[str, ...]
    call: int | None
    value: Ref | None
    parameter_bytes: int = 0
    name: str = ""
    problem: str = ""


@dataclass(frozen=True)
class Nodes:
    """The nodes in the order in which they ran.

    Attributes
    ----------
    nodes
        Each after what it reads.
    shared
        Groups of nodes that hold the same weights, or the same weight.
    """

    nodes: tuple[Node, ...]
    shared: tuple[tuple[str, ...], ...]


def make_nodes(recording: Recording, values: Sequence[Any]) -> Nodes:
    """Return the nodes of a recording, given the values of one replay."""
    return _Maker(recording, values).made()


class _Maker:
    """Nodes under construction."""

    def __init__(self, recording: Recording, values: Sequence[Any]) -> None:
        self.recording = recording
        self.values = values
        self.nodes: list[Node] = []
        self.known: dict[Operand, str] = {}
        self.counted: set[nn.Parameter] = set()
        self.inputs = 0

    def made(self) -> Nodes:
        for position, call in enumerate(self.recording.calls):
            if call.is_input:
                self._add(f"Input{self.inputs}", (), position, Ref(position), name="input")
                self.inputs += 1
            elif function_name(call) in IN_PARTS and call.module is None:
                self._in_parts(position, call)
            else:
                self._layer(position, call)
        return self._with_shared_weights()

    def look(self, ref: Ref) -> Any:
        """Return the value of a ref."""
        return at(self.values[ref.call], ref.path)

    def _add(
        self,
        description: str,
        operands: Iterable[Operand],
        call: int | None,
        value: Ref | None,
        *,
        name: str,
        problem: str = "",
    ) -> str:
        sources = tuple(self._source(x) for x in operands)
        node = f"node{len(self.nodes) + 1}"
        weights = 0 if call is None else self._new_weights(self.recording.calls[call])
        self.nodes.append(Node(node, description, sources, call, value, weights, name, problem))
        if value is not None:
            self.known[value] = node
        return node

    def _new_weights(self, call: Call) -> int:
        fresh = [x for x in call.parameters if x not in self.counted]
        self.counted.update(fresh)
        return sum(tensor_bytes(x) for x in fresh)

    def _source(self, operand: Operand) -> str:
        """Return the node that gives an operand; a size or a part becomes one when it is read."""
        if operand in self.known:
            return self.known[operand]
        if isinstance(operand, SizeOf):
            node = self._add(f"Size({operand.dim})", (operand.ref,), None, None, name="size")
            self.known[operand] = node
            return node
        *before, last = operand.path
        whole = Ref(operand.call, tuple(before))
        return self._add(f"__getitem__({last})", (whole,), None, operand, name="getitem")

    def _layer(self, position: int, call: Call) -> None:
        try:
            spelled = self._module(call) if call.module else function_text(call, self.look)
            problem = ""
        except NotSpelled as error:
            problem = str(error)
            text = f"{_word(function_name(call))}()" if call.module is None else _kind(call)
            spelled = Spelled(text, call.reads)
        self._add(
            spelled.text,
            spelled.operands,
            position,
            Ref(position),
            name=call.name or function_name(call),
            problem=problem,
        )

    def _module(self, call: Call) -> Spelled:
        """Return the description of a module's call; only tensors can be its arguments."""
        assert call.module is not None  # noqa: S101
        text = module_text(call.module)
        kind = type(call.module).__name__
        if kind == "MultiheadAttention":
            return _attention(call, text)
        operands: list[Operand] = []
        given = [*call.args, *call.kwargs.values()]
        for place, argument in enumerate(given):
            if isinstance(argument, Ref):
                operands.append(argument)
            elif argument is None and kind == "RecurrentAttention" and place == 1:
                operands.append(self._no_state())
            elif isinstance(argument, tuple) and kind == "LSTM":
                operands.append(_state(argument))
            elif argument is not None:
                raise NotSpelled("it is called with more than tensors")
        return Spelled(text, tuple(operands))

    def _no_state(self) -> Operand:
        """Return a node that says that a recurrent layer starts without a state."""
        nothing = Ref(-1 - len(self.nodes))
        self._add("hidden", (), None, None, name="no state")
        self.known[nothing] = self.nodes[-1].id
        return nothing

    def _in_parts(self, position: int, call: Call) -> None:
        """Write each output of a function as a node; the first carries the times."""
        name = function_name(call)
        problem = ""
        tensor = call.reads[0]
        dim = _dim_of(call, 2 if name == "chunk" else 1)
        outputs = self.values[position]
        for index in range(len(outputs)):
            if name == "chunk":
                text = f"Chunk({len(outputs)}, {dim}, {index})"
            else:
                text = f"Select({dim}, {index})"
            place = position if index == 0 else None
            self._add(text, (tensor,), place, Ref(position, (index,)), name=name, problem=problem)

    def _with_shared_weights(self) -> Nodes:
        """Mark the nodes whose weights are the same; see ``docs/profile.md``."""
        holders: dict[int, list[tuple[str, nn.Module]]] = {}
        for node in self.nodes:
            module = None if node.call is None else self.recording.calls[node.call].module
            if module is not None and node.description:
                for state in _state_of(module):
                    holders.setdefault(id(state), []).append((node.id, module))
        groups: dict[tuple[str, ...], str] = {}
        for state, found in holders.items():
            if len(found) > 1:
                members = tuple(node for node, _ in found)
                if all(module is found[0][1] for _, module in found):
                    groups[members] = SHARED
                elif all(id(getattr(module, "weight", None)) == state for _, module in found):
                    groups.setdefault(members, TIED)
                else:
                    groups[members] = ""
        nodes = list(self.nodes)
        for number, (members, word) in enumerate(groups.items(), start=1):
            nodes = [_with_mark(x, word, number) if x.id in members else x for x in nodes]
        return Nodes(tuple(nodes), tuple(groups))


def _state_of(module: nn.Module) -> list[Any]:
    return [*module.parameters(), *(x for x in module.buffers() if x.is_floating_point())]


def _with_mark(node: Node, word: str, number: int) -> Node:
    if not word:
        problem = "it shares a part of its weights other than 'weight' with another layer"
        return replace(node, problem=node.problem or problem)
    return replace(node, description=_marked(node.description, word, number))


def _marked(description: str, word: str, number: int) -> str:
    """Add ``shared=1`` to the arguments of a description."""
    if not description.endswith(")"):
        return f"{description}({word}={number})"
    separator = "" if description.endswith("()") else ", "
    return f"{description[:-1]}{separator}{word}={number})"


def _attention(call: Call, text: str) -> Spelled:
    """Return the description of a ``MultiheadAttention`` without masks."""
    names = ("query", "key", "value", "key_padding_mask", "need_weights", "attn_mask")
    given = dict(zip(names, call.args, strict=False)) | call.kwargs
    if given.get("key_padding_mask") is not None or given.get("attn_mask") is not None:
        raise NotSpelled("it attends with a mask")
    return Spelled(text, tuple(given[x] for x in ("query", "key", "value")))


def _state(argument: tuple[Any, ...]) -> Ref:
    """Return where the state of a recurrent layer comes from: both its parts from one layer."""
    first = argument[0]
    whole = isinstance(first, Ref) and first.path and Ref(first.call, first.path[:-1])
    if not whole or any(x != Ref(whole.call, (*whole.path, k)) for k, x in enumerate(argument)):
        raise NotSpelled("its state is put together from parts")
    return whole


def _dim_of(call: Call, place: int) -> int:
    found = call.args[place] if len(call.args) > place else call.kwargs.get("dim", 0)
    return int(found)


def _word(name: str) -> str:
    return "".join(x if x.isalnum() or x == "_" else "_" for x in name) or "function"


def _kind(call: Call) -> str:
    return f"{type(call.module).__name__}()"


__all__ = ["Node", "Nodes", "is_data", "make_nodes"]
