"""Layer graphs: what a network is to a planner."""

from __future__ import annotations

import dataclasses
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import networkx as nx

from stagewright.model.errors import InputError, printable

INPUT_PREFIX = "Input"
UNUSED_OUTPUT_PREFIX = "__getitem__"


@dataclass(frozen=True, slots=True)
class Layer:
    """One node of a layer graph, as measured on one GPU type.

    Attributes
    ----------
    id
        Name of the node, unique in its graph.
    description
        What the layer is, e.g. ``Conv2d(3, 64, kernel_size=(3, 3))``. Data, never code.
    forward_ms, backward_ms
        Time of one minibatch through the layer, in milliseconds.
    activation_parts_bytes
        Bytes of each output; their sum is what an edge carries.
    parameter_bytes
        Bytes of the layer's weights.
    stage
        The stage that a written plan puts the layer in, if the text says so.
    """

    id: str
    description: str
    forward_ms: float
    backward_ms: float
    activation_parts_bytes: tuple[float, ...]
    parameter_bytes: float
    stage: int | None = None

    @property
    def activation_bytes(self) -> float:
        """Bytes that all outputs of the layer hold together."""
        return sum(self.activation_parts_bytes)

    @property
    def total_ms(self) -> float:
        """Forward and backward time of one minibatch, in milliseconds."""
        return self.forward_ms + self.backward_ms


@dataclass(frozen=True)
class LayerGraph:
    """A directed acyclic graph of layers; an edge carries its producer's activation.

    Parameters
    ----------
    layers
        In the order of the file.
    edges
        ``(producer, consumer)`` pairs in the order of the file. The order of the edges
        into one node is the order of its operands; a repeated edge is a repeated operand.
    name
        How to call the graph in messages and file names.

    Raises
    ------
    InputError
        If a name is repeated, an edge names a node that does not exist, or there is a cycle.
    """

    layers: tuple[Layer, ...]
    edges: tuple[tuple[str, str], ...]
    name: str = field(default="graph", compare=False)

    def __post_init__(self) -> None:
        if not self.layers:
            raise InputError("the layer graph is empty", source=self.name)
        for layer in self.layers:
            if not re.fullmatch(r"\S+", layer.id) or re.search(r"[\r\n]", layer.description):
                raise InputError(
                    f"node '{printable(layer.id, 60)}': a name is one word and a description one "
                    "line",
                    source=self.name,
                )
        if len(self.by_id) != len(self.layers):
            twice, _ = Counter(x.id for x in self.layers).most_common(1)[0]
            raise InputError(f"node '{twice}' is defined twice", source=self.name)
        for edge in self.edges:
            for end in edge:
                if end not in self.by_id:
                    raise InputError(
                        f"edge '{edge[0]} -- {edge[1]}' names '{end}', which is not a node",
                        source=self.name,
                    )
        if not nx.is_directed_acyclic_graph(self.digraph):
            loop = [u for u, _ in nx.find_cycle(self.digraph)]
            raise InputError(
                f"the graph has a cycle: {' -> '.join([*loop, loop[0]])}",
                source=self.name,
                hint="A layer graph has to be acyclic; unroll recurrent layers",
            )

    @cached_property
    def by_id(self) -> dict[str, Layer]:
        """Layers by name."""
        return {layer.id: layer for layer in self.layers}

    @cached_property
    def digraph(self) -> nx.DiGraph[str]:
        """The graph in networkx, nodes and edges in file order."""
        graph: nx.DiGraph[str] = nx.DiGraph()
        graph.add_nodes_from(layer.id for layer in self.layers)
        graph.add_edges_from(self.edges)
        return graph

    @cached_property
    def order(self) -> dict[str, int]:
        """Place of each node in one fixed topological order (file order among the ready)."""
        place = {layer.id: i for i, layer in enumerate(self.layers)}
        ordered = nx.lexicographical_topological_sort(self.digraph, key=place.__getitem__)
        return {node: i for i, node in enumerate(ordered)}

    def operands(self, node: str) -> list[str]:
        """Producers of ``node``'s operands, in operand order."""
        return [u for u, v in self.edges if v == node]

    @property
    def parameter_bytes(self) -> float:
        """Bytes of all weights."""
        return sum(layer.parameter_bytes for layer in self.layers)

    @property
    def total_ms(self) -> float:
        """Forward and backward time of the whole network, in milliseconds."""
        return sum(x.total_ms for x in self.layers if x.id not in self.inputs)

    @cached_property
    def dropped(self) -> frozenset[str]:
        """Outputs that nobody uses (``__getitem__`` sinks); plans leave them out."""
        return frozenset(
            x.id
            for x in self.layers
            if x.description.startswith(UNUSED_OUTPUT_PREFIX) and self.digraph.out_degree(x.id) == 0
        )

    @cached_property
    def inputs(self) -> frozenset[str]:
        """Sources that feed data in; free, and always in the first stage."""
        return frozenset(
            x.id
            for x in self.layers
            if x.description.startswith(INPUT_PREFIX) and self.digraph.in_degree(x.id) == 0
        )

    @cached_property
    def planned(self) -> tuple[str, ...]:
        """Nodes that a planner has to place, in file order."""
        return tuple(
            x.id for x in self.layers if x.id not in self.inputs and x.id not in self.dropped
        )

    def with_stages(self, stage_of: dict[str, int]) -> LayerGraph:
        """Return the graph of the named nodes only, each marked with its stage."""
        layers = tuple(
            dataclasses.replace(x, stage=stage_of[x.id]) for x in self.layers if x.id in stage_of
        )
        return LayerGraph(layers, edges_among(self.edges, stage_of), self.name)


def edges_among(
    edges: Sequence[tuple[str, str]], nodes: Iterable[str]
) -> tuple[tuple[str, str], ...]:
    """Keep the edges whose two ends are both among ``nodes``."""
    kept = set(nodes)
    return tuple((u, v) for u, v in edges if u in kept and v in kept)
