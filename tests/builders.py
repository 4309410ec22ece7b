"""Small graphs, clusters and plans for tests: ``from builders import chain, one_server``.

Nodes of the ready-made graphs are called ``node1``, ``node2``, … in file order.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

import pytest

from stagewright.model.cluster import Cluster, GpuGroup, uniform_links
from stagewright.model.errors import InputError
from stagewright.model.graph import Layer, LayerGraph
from stagewright.model.instance import Instance, build_instance
from stagewright.model.plan import Certificate, Plan, Stage, Status
from stagewright.model.profile import format_profile
from stagewright.model.rules import Rules

GPU = "TitanV"


def layer(
    name: str,
    forward_ms: float = 1.0,
    backward_ms: float = 0.0,
    activation_bytes: float | Sequence[float] = 0.0,
    parameter_bytes: float = 0.0,
    description: str = "Linear(8, 8)",
    stage: int | None = None,
) -> Layer:
    """One node; several activation sizes make it a node with several outputs."""
    parts = (
        tuple(activation_bytes)
        if isinstance(activation_bytes, Sequence)
        else (float(activation_bytes),)
    )
    return Layer(name, description, forward_ms, backward_ms, parts, parameter_bytes, stage)


def graph_of(layers: Iterable[Layer], edges: str = "", name: str = "graph") -> LayerGraph:
    """A graph; ``edges`` reads ``"a->b b->c"``.

    >>> graph_of([layer("a"), layer("b")], "a->b").edges
    (('a', 'b'),)
    """
    pairs = tuple(tuple(edge.split("->")) for edge in edges.split())
    return LayerGraph(tuple(layers), tuple((u, v) for u, v in pairs), name)


def chain(
    times_ms: Sequence[float],
    activation_bytes: float | Sequence[float] = 0.0,
    parameter_bytes: float | Sequence[float] = 0.0,
    name: str = "chain",
) -> LayerGraph:
    """``node1 -> node2 -> …``; a single size is every node's size.

    >>> chain([1, 2, 3]).edges
    (('node1', 'node2'), ('node2', 'node3'))
    """
    names = [f"node{i + 1}" for i in range(len(times_ms))]
    layers = [
        layer(x, float(time), 0.0, _nth(activation_bytes, i), _nth(parameter_bytes, i))
        for i, (x, time) in enumerate(zip(names, times_ms, strict=True))
    ]
    return LayerGraph(tuple(layers), tuple(itertools.pairwise(names)), name)


def diamond(
    times_ms: Sequence[float] = (1.0, 1.0, 1.0, 1.0),
    activation_bytes: float | Sequence[float] = 0.0,
    parameter_bytes: float | Sequence[float] = 0.0,
    name: str = "diamond",
) -> LayerGraph:
    """``node1`` feeds ``node2`` and ``node3``, both feed ``node4``."""
    line = chain(times_ms, activation_bytes, parameter_bytes, name)
    edges = (("node1", "node2"), ("node1", "node3"), ("node2", "node4"), ("node3", "node4"))
    return dataclasses.replace(line, edges=edges)


def _nth(sizes: float | Sequence[float], position: int) -> float:
    return float(sizes[position]) if isinstance(sizes, Sequence) else float(sizes)


def scaled(graph: LayerGraph, factor: float) -> LayerGraph:
    """The same graph on a GPU type that takes ``factor`` times as long."""
    layers = tuple(
        dataclasses.replace(x, forward_ms=x.forward_ms * factor, backward_ms=x.backward_ms * factor)
        for x in graph.layers
    )
    return dataclasses.replace(graph, layers=layers)


def cluster_of(
    servers: Sequence[Mapping[str, int]],
    inside: float | Sequence[float] = 1e9,
    between: float = 1e9,
    latency_s: float = 0.0,
    memory_bytes: float | None = None,
) -> Cluster:
    """``Server0``, ``Server1``, …, each a count per GPU type.

    >>> cluster_of([{"TitanV": 1, "TitanXP": 3}]).describe()
    'Server0: TitanV×1, TitanXP×3'
    """
    inner = [_nth(inside, s) for s in range(len(servers))]
    bandwidth, latency = uniform_links(inner, between, latency_s=latency_s)
    groups = tuple(
        GpuGroup(s, gpu, count, memory_bytes)
        for s, counts in enumerate(servers)
        for gpu, count in counts.items()
    )
    return Cluster(tuple(f"Server{s}" for s in range(len(servers))), groups, bandwidth, latency)


def one_server(
    counts: int | Mapping[str, int],
    bandwidth_bytes_per_s: float = 1e9,
    memory_bytes: float | None = None,
) -> Cluster:
    """One server; a plain number is so many TitanV.

    >>> one_server(4).describe()
    'Server0: TitanV×4'
    """
    groups = {GPU: counts} if isinstance(counts, int) else counts
    return cluster_of([groups], inside=bandwidth_bytes_per_s, memory_bytes=memory_bytes)


def instance_of(
    graph: LayerGraph,
    cluster: Cluster,
    rules: Rules | None = None,
    slower: Mapping[str, float] | None = None,
) -> Instance:
    """The graph on every GPU type of the cluster, ``slower[gpu]`` times as slow (default 1)."""
    factors = slower or {}
    profiles = {gpu: scaled(graph, factors.get(gpu, 1.0)) for gpu in cluster.gpu_types}
    return build_instance(profiles, cluster, rules)


def plan_of(*stages: tuple[str, Sequence[int]], planner: str = "by-hand") -> Plan:
    """A plan of ``(nodes, replicas per group)`` pairs, the nodes in one string.

    >>> plan_of(("node1 node2", [1]), ("node3", [2])).stages[1]
    Stage(nodes=('node3',), replicas=(2,), recompute=False)
    """
    return Plan(tuple(Stage(tuple(n.split()), tuple(r)) for n, r in stages), planner)


def certificate(objective_s: float | None = None, bound_s: float | None = None) -> Certificate:
    """A feasible plan's certificate, which proves nothing unless there is a bound."""
    return Certificate(Status.FEASIBLE, objective_s, bound_s, 0.0, "by-hand")


def write_profile(folder: Path, graph: LayerGraph, file_name: str = "graph.txt") -> Path:
    """Write ``graph`` as profile text and return the path."""
    path = folder / file_name
    path.write_text(format_profile(graph), encoding="utf-8")
    return path


def error_text(call: Callable[[], object]) -> str:
    """Text of the :class:`InputError` that ``call`` has to raise.

    >>> error_text(lambda: graph_of([]))
    'graph: the layer graph is empty'
    """
    with pytest.raises(InputError) as caught:
        call()
    return str(caught.value)
