"""Device placement workloads: operator graphs with co-location, for accelerators and CPUs.

The JSON format is that of "Efficient Algorithms for Device Placement of DNN Graph Operators"
(Tarnawski et al., NeurIPS 2020). A node runs on an accelerator ("FPGA") or a CPU; nodes of one
colour class share a device, as a backward node and its forward node do; an edge says how long its
source's output takes between an accelerator and the host. The files state no unit of time; it is
read as milliseconds.

A workload becomes an instance whose layers are the colour classes. Plans have to be contiguous in
the forward graph. A class of backward nodes alone takes the place that its backward edges, turned
round, give it among the forward nodes; classes on a cycle become one layer.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Annotated

import networkx as nx
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from stagewright.formulation.problem import Problem
from stagewright.model.boundary import Bytes, Memory, Milliseconds, first_error
from stagewright.model.cluster import DEFAULT_BANDWIDTH_BYTES_PER_S, Cluster, GpuGroup
from stagewright.model.errors import InputError, printable
from stagewright.model.files import read_text
from stagewright.model.graph import Layer, LayerGraph
from stagewright.model.instance import build_instance
from stagewright.model.max_load import HOST, MaxLoad
from stagewright.model.placement import Placement
from stagewright.model.rules import MemoryModel, Rules, Versions
from stagewright.model.tensors import TimedTensor

ACCELERATOR = "accelerator"
SERVER = "host"
SHOWN = 200

Devices = Annotated[int, Field(ge=0, le=10_000)]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class _Node(_Part):
    id: int
    name: str = ""
    supported: Annotated[bool, Field(alias="supportedOnFpga")]
    cpu_ms: Annotated[Milliseconds, Field(alias="cpuLatency")]
    accelerator_ms: Annotated[Milliseconds, Field(alias="fpgaLatency")]
    backward: Annotated[bool, Field(alias="isBackwardNode")]
    colour: Annotated[int | None, Field(alias="colorClass")] = None
    n_bytes: Annotated[Bytes, Field(alias="size")] = 0.0
    layer: Annotated[int | None, Field(alias="layerId")] = None


class _Edge(_Part):
    source: Annotated[int, Field(alias="sourceId")]
    target: Annotated[int, Field(alias="destId")]
    transfer_ms: Annotated[Milliseconds, Field(alias="cost")]
    n_bytes: Annotated[Bytes, Field(alias="size")] = 0.0


class _File(_Part):
    memory_bytes: Annotated[Memory, Field(alias="maxSizePerFPGA")]
    accelerators: Annotated[Devices, Field(alias="maxFPGAs")]
    cpus: Annotated[Devices, Field(alias="maxCPUs")]
    nodes: Annotated[list[_Node], Field(min_length=1)]
    edges: list[_Edge]


def read_workload(path: str | Path) -> Problem:
    """Read a workload as a problem under cost model ``max-load``.

    Raises
    ------
    InputError
        With the file and the place in it.
    """
    path = Path(path)
    try:
        workload = _File.model_validate_json(read_text(path, "workload"))
    except ValidationError as error:
        place, message = first_error(error)
        raise InputError(
            f"{place}: {message}" if place else message,
            source=path,
            hint="Expected a device placement workload (docs/device-placement.md)",
        ) from None
    try:
        _check(workload)
        return _problem(_Classes(workload), path.stem)
    except InputError as error:
        raise InputError(error.message, source=path, hint=error.hint) from None


def _check(workload: _File) -> None:
    """Check what a schema cannot say."""
    if workload.accelerators + workload.cpus == 0:
        raise InputError("maxFPGAs, maxCPUs: there is no device")
    nodes: dict[int, _Node] = {}
    for i, node in enumerate(workload.nodes):
        if nodes.setdefault(node.id, node) is not node:
            raise InputError(f"nodes.{i}: node {node.id} is defined twice")
    cost: dict[int, float] = {}
    for i, edge in enumerate(workload.edges):
        for end in (edge.source, edge.target):
            if end not in nodes:
                raise InputError(f"edges.{i}: names node {end}, which does not exist")
        if nodes[edge.source].backward and not nodes[edge.target].backward:
            raise InputError(
                f"edges.{i}: leads from backward node {edge.source} to forward node {edge.target}"
            )
        first = cost.setdefault(edge.source, edge.transfer_ms)
        if first != edge.transfer_ms:
            raise InputError(
                f"edges.{i}: costs {edge.transfer_ms:g}, another edge out of node {edge.source} "
                f"{first:g}",
                hint="All edges out of one node carry the same output and cost the same",
            )
    graph = nx.DiGraph([(edge.source, edge.target) for edge in workload.edges])
    if not nx.is_directed_acyclic_graph(graph):
        loop = [str(u) for u, _ in nx.find_cycle(graph)]
        raise InputError(f"edges: there is a cycle: {' -> '.join([*loop, loop[0]])}")


@dataclass(frozen=True)
class _Classes:
    """The layers of a workload: nodes that have to share a device, in topological order."""

    workload: _File

    @cached_property
    def _colour(self) -> dict[int, tuple[str, int]]:
        """Colour class of each node; a node without one is a class of its own."""
        return {
            x.id: ("node", x.id) if x.colour is None else ("colour", x.colour)
            for x in self.workload.nodes
        }

    @cached_property
    def _order(self) -> nx.DiGraph[tuple[str, int]]:
        """Which colour classes come before which in a pipeline."""
        backward = {x.id: x.backward for x in self.workload.nodes}
        forward_classes = {
            self._colour[v] for v, is_backward in backward.items() if not is_backward
        }
        graph: nx.DiGraph[tuple[str, int]] = nx.DiGraph()
        graph.add_nodes_from(self._colour.values())
        for edge in self.workload.edges:
            u, v = self._colour[edge.source], self._colour[edge.target]
            if not backward[edge.target]:
                graph.add_edge(u, v)
            elif backward[edge.source] and not {u, v} <= forward_classes:
                graph.add_edge(v, u)
        return graph

    @cached_property
    def members(self) -> list[list[_Node]]:
        """Nodes of each layer, in file order."""
        place = {x.id: i for i, x in enumerate(self.workload.nodes)}
        by_colour: dict[tuple[str, int], list[_Node]] = defaultdict(list)
        for node in self.workload.nodes:
            by_colour[self._colour[node.id]].append(node)
        condensed = nx.condensation(self._order)
        layers = {
            c: sorted(
                (node for colour in data["members"] for node in by_colour[colour]),
                key=lambda node: place[node.id],
            )
            for c, data in condensed.nodes(data=True)
        }
        ordered = nx.lexicographical_topological_sort(
            condensed, key=lambda c: place[layers[c][0].id]
        )
        return [layers[c] for c in ordered]

    @cached_property
    def name_of(self) -> dict[int, str]:
        """Name of each node's layer: the id of the layer's first node."""
        return {x.id: str(layer[0].id) for layer in self.members for x in layer}

    @cached_property
    def edges(self) -> tuple[tuple[str, str], ...]:
        """Edges between different layers, each once."""
        layer = {self._colour[node]: name for node, name in self.name_of.items()}
        pairs = ((layer[u], layer[v]) for u, v in self._order.edges)
        return tuple(dict.fromkeys((u, v) for u, v in pairs if u != v))

    @cached_property
    def tensors(self) -> tuple[TimedTensor, ...]:
        """The output of each node that another layer reads."""
        readers: dict[int, dict[str, None]] = defaultdict(dict)
        transfer_ms = {}
        for edge in self.workload.edges:
            transfer_ms[edge.source] = edge.transfer_ms
            if self.name_of[edge.target] != self.name_of[edge.source]:
                readers[edge.source][self.name_of[edge.target]] = None
        return tuple(
            TimedTensor(self.name_of[node], tuple(targets), transfer_ms[node] / 1000)
            for node, targets in readers.items()
        )

    def graph(self, gpu: str, name: str) -> LayerGraph:
        """The layers as timed on an accelerator or a CPU; ``size`` counts as parameters."""

        def time_ms(layer: list[_Node], *, backward: bool) -> float:
            mine = (x for x in layer if x.backward == backward)
            return sum(x.cpu_ms if gpu == HOST else x.accelerator_ms for x in mine)

        layers = tuple(
            Layer(
                id=self.name_of[layer[0].id],
                description=_description(layer),
                forward_ms=time_ms(layer, backward=False),
                backward_ms=time_ms(layer, backward=True),
                activation_parts_bytes=(0.0,),
                parameter_bytes=sum(x.n_bytes for x in layer),
            )
            for layer in self.members
        )
        return LayerGraph(layers, self.edges, name)


def _description(layer: list[_Node]) -> str:
    """Say which nodes a layer joins; the leading word keeps it from reading as an input."""
    return printable("Nodes " + ", ".join(f"{x.id} {x.name}".strip() for x in layer), SHOWN)


def _problem(classes: _Classes, name: str) -> Problem:
    workload = classes.workload
    counts = (
        (ACCELERATOR, workload.accelerators, workload.memory_bytes),
        (HOST, workload.cpus, None),
    )
    groups = tuple(GpuGroup(0, gpu, n, memory) for gpu, n, memory in counts if n > 0)
    # Transfers are stated tensor by tensor; a cluster just has to have some bandwidth.
    cluster = Cluster((SERVER,), groups, ((DEFAULT_BANDWIDTH_BYTES_PER_S,),), ((0.0,),))
    on_host = (classes.name_of[x.id] for x in workload.nodes if not x.supported)
    barred = tuple(g for g, group in enumerate(groups) if group.gpu == ACCELERATOR)
    rules = Rules(
        use_memory=True,
        memory=MemoryModel(Versions.ONCE),
        placement=Placement(forbidden=tuple((node, barred) for node in dict.fromkeys(on_host))),
    )
    profiles = {group.gpu: classes.graph(group.gpu, name) for group in groups}
    return Problem(build_instance(profiles, cluster, rules, tensors=classes.tensors), MaxLoad())
