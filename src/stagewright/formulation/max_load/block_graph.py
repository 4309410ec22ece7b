"""The graph that the ``max-load`` planners see: blocks of layers, and nets between them.

A stage pays for a tensor iff it holds one end of it while another end lies elsewhere; which end
makes the tensor does not matter. So a tensor is a net: a set of blocks and a time. Layers that no
good plan separates are one block.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import networkx as nx
import numpy as np
from numpy.typing import NDArray

from stagewright.formulation.problem import Problem
from stagewright.model.instance import Instance
from stagewright.model.max_load import HOST

Floats = NDArray[np.float64]

MARGIN = 1 + 1e-6


@dataclass(frozen=True)
class BlockGraph:
    """Blocks of layers in topological order.

    Attributes
    ----------
    nodes
        Positions of the layers in each block.
    edges
        Between blocks, each once.
    time_s
        Seconds of each block on each group's type, shape (groups, blocks); more than any plan's
        load where it is forbidden.
    pays
        Whether a group pays for transfers, shape (groups,).
    parameter_bytes, activation_bytes
        Of each block, shape (blocks,).
    nets
        Seconds that each set of blocks takes from every stage that holds a part of it.
    """

    nodes: tuple[tuple[int, ...], ...]
    edges: tuple[tuple[int, int], ...]
    time_s: Floats
    pays: NDArray[np.bool_]
    parameter_bytes: Floats
    activation_bytes: Floats
    nets: dict[tuple[int, ...], float]

    def __len__(self) -> int:
        """Count the blocks."""
        return len(self.nodes)

    @cached_property
    def consumers(self) -> tuple[tuple[int, ...], ...]:
        """For each block, the blocks that have to follow it."""
        lists: list[list[int]] = [[] for _ in self.nodes]
        for u, v in self.edges:
            lists[u].append(v)
        return tuple(tuple(x) for x in lists)

    @cached_property
    def producers(self) -> tuple[tuple[int, ...], ...]:
        """For each block, the blocks that it has to follow."""
        lists: list[list[int]] = [[] for _ in self.nodes]
        for u, v in self.edges:
            lists[v].append(u)
        return tuple(tuple(x) for x in lists)


def block_graph(problem: Problem, ceiling_s: float) -> BlockGraph:
    """Join layers that no plan with a period up to ``ceiling_s`` needs to separate.

    These are layers that have to share a stage; the ends of a net that no paying device can carry
    (at most one device pays nothing, and a cut net lies on two); and a layer without time and size
    beside the only one that it has to do with, for it is nowhere cheaper.
    """
    instance = problem.instance
    nets = nets_of(problem)
    graph: nx.DiGraph[int] = nx.DiGraph()
    graph.add_nodes_from(range(len(instance.nodes)))
    graph.add_edges_from(instance.edges)
    pays = np.array([group.gpu != HOST for group in instance.cluster.groups])
    for ends in (*instance.together, *_uncut(instance, nets, pays, ceiling_s)):
        _join(graph, ends)
    for pair in _idle_leaves(instance, nets, graph):
        _join(graph, pair)
    condensed = nx.condensation(graph)
    members = {c: tuple(sorted(data["members"])) for c, data in condensed.nodes(data=True)}
    order = list(nx.lexicographical_topological_sort(condensed, key=members.__getitem__))
    blocks = tuple(members[c] for c in order)
    block_of = {v: b for b, layers in enumerate(blocks) for v in layers}
    joined: dict[tuple[int, ...], float] = defaultdict(float)
    for ends, seconds in nets.items():
        joined[tuple(sorted({block_of[v] for v in ends}))] += seconds
    time_s = instance.time_s.copy()
    time_s[instance.forbidden] = 2 * safe_load_s(instance, nets)
    return BlockGraph(
        nodes=blocks,
        edges=tuple(
            sorted({(block_of[u], block_of[v]) for u, v in instance.edges} - _loops(len(blocks)))
        ),
        time_s=_sums(time_s, blocks),
        pays=pays,
        parameter_bytes=_sums(instance.parameter_bytes, blocks),
        activation_bytes=_sums(instance.activation_bytes, blocks),
        nets={ends: seconds for ends, seconds in joined.items() if len(ends) > 1},
    )


def safe_load_s(instance: Instance, nets: dict[tuple[int, ...], float]) -> float:
    """Return a load that no plan exceeds: everything on one slow device, every net cut."""
    slowest = np.where(instance.forbidden, 0.0, instance.time_s).max(axis=0)
    return float(slowest.sum() + sum(nets.values())) * (1 + 1e-9) or 1.0


def memory_matters(instance: Instance) -> bool:
    """Whether some device could not hold the whole network with every minibatch in flight."""
    groups, rules = instance.cluster.groups, instance.rules
    least = min((g.memory_bytes for g in groups if g.memory_bytes is not None), default=np.inf)
    whole = rules.memory.stage_bytes(
        float(instance.activation_bytes.sum()),
        float(instance.parameter_bytes.sum()),
        instance.cluster.gpu_count,
    )
    return rules.use_memory and whole > least


def nets_of(problem: Problem) -> dict[tuple[int, ...], float]:
    """Seconds of each set of layers that share tensors."""
    instance, ratio = problem.instance, problem.cost_model.compression_ratio
    nets: dict[tuple[int, ...], float] = defaultdict(float)
    if ratio is None:
        return nets
    if instance.tensors is None:
        beta = float(instance.cluster.bandwidth[0, 0])
        for u, readers in enumerate(instance.consumers):
            ends = tuple(sorted({u, *readers}))
            nets[ends] += 2 * float(instance.activation_bytes[u]) / (ratio * beta)
    else:
        for tensor in instance.tensors:
            names = {tensor.source, *tensor.targets}
            nets[tuple(sorted(instance.index[x] for x in names))] += tensor.transfer_s / ratio
    return {ends: seconds for ends, seconds in nets.items() if len(ends) > 1 and seconds > 0}


def _uncut(
    instance: Instance,
    nets: dict[tuple[int, ...], float],
    pays: NDArray[np.bool_],
    ceiling_s: float,
) -> Iterator[tuple[int, ...]]:
    """Yield the nets that would take a paying device beyond the ceiling, whichever end it holds."""
    counts = np.array(instance.cluster.counts)
    if counts[~pays].sum() > 1:
        return
    time_s = np.where(instance.forbidden, np.inf, instance.time_s)[pays]
    least = time_s.min(axis=0, initial=np.inf)
    for ends, seconds in nets.items():
        if seconds + least[list(ends)].min() > ceiling_s * MARGIN:
            yield ends


def _idle_leaves(
    instance: Instance, nets: dict[tuple[int, ...], float], graph: nx.DiGraph[int]
) -> Iterator[tuple[int, int]]:
    """Yield (layer, neighbour) where the layer is idle and nowhere cheaper than beside it.

    The neighbour is the only one that any edge leads to, and has a part in every net of the layer.
    A layer that is joined to its neighbour leaves the graph, so that a whole idle branch folds up.
    """
    if instance.rules.use_all:
        return
    idle = (instance.time_s.sum(axis=0) == 0) & ~instance.forbidden.any(axis=0)
    if memory_matters(instance):
        idle &= (instance.parameter_bytes == 0) & (instance.activation_bytes == 0)
    shared: list[list[set[int]]] = [[] for _ in instance.nodes]
    for ends in map(set, nets):
        for v in ends:
            shared[v].append(ends)
    near = [set(graph.predecessors(v)) | set(graph.successors(v)) for v in range(len(shared))]
    waiting = [v for v in range(len(near)) if idle[v]]
    while waiting:
        v = waiting.pop()
        if len(near[v]) != 1:
            continue
        (other,) = near[v]
        if all(other in ends or ends == {v} for ends in shared[v]):
            near[v].clear()
            near[other].discard(v)
            for ends in shared[v]:
                ends.discard(v)
            yield v, other
            if idle[other]:
                waiting.append(other)


def _join(graph: nx.DiGraph[int], ends: tuple[int, ...]) -> None:
    """Make layers and all between them one strongly connected component."""
    for u, v in pairwise(ends):
        graph.add_edge(u, v)
        graph.add_edge(v, u)


def _loops(size: int) -> set[tuple[int, int]]:
    return {(b, b) for b in range(size)}


def _sums(values: Floats, blocks: tuple[tuple[int, ...], ...]) -> Floats:
    total: Floats = np.stack([values[..., list(b)].sum(axis=-1) for b in blocks], axis=-1)
    return total
