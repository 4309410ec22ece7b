"""The graph that a solver sees: layers that no good plan separates become one block."""

from __future__ import annotations

from dataclasses import dataclass

import networkx as nx
import numpy as np
from numpy.typing import NDArray

from stagewright.formulation.rates import Rates
from stagewright.model.instance import Instance
from stagewright.model.rules import Recompute

Floats = NDArray[np.float64]

MARGIN = 1 + 1e-6


@dataclass(frozen=True)
class Tensor:
    """Activations that leave block ``source`` for blocks ``targets``, in bytes."""

    source: int
    targets: tuple[int, ...]
    n_bytes: float


@dataclass(frozen=True)
class ReducedGraph:
    """Blocks of layers in topological order.

    Attributes
    ----------
    blocks
        Positions of the layers in each block.
    edges
        Between blocks, each once.
    time_s
        Seconds of each block on each group's type, shape (groups, blocks); with the second
        forward pass where every stage has to recompute.
    again_s
        Further seconds in a stage that chooses to recompute, shape (groups, blocks).
    parameter_bytes, activation_bytes
        Of each block, shape (blocks,).
    tensors
        What can cross a cut; equal crossings are added up.
    """

    blocks: tuple[tuple[int, ...], ...]
    edges: tuple[tuple[int, int], ...]
    time_s: Floats
    again_s: Floats
    parameter_bytes: Floats
    activation_bytes: Floats
    tensors: tuple[Tensor, ...]

    def __len__(self) -> int:
        """Count the blocks."""
        return len(self.blocks)

    def layers(self, blocks: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Return sets of layers for sets of blocks, shape (sets, blocks)."""
        block_of = np.empty(sum(map(len, self.blocks)), dtype=np.int64)
        for b, members in enumerate(self.blocks):
            block_of[list(members)] = b
        return blocks[:, block_of]


def reduce_graph(instance: Instance, rates: Rates, ceiling_s: float) -> ReducedGraph:
    """Merge layers that no plan with a period up to ``ceiling_s`` can separate.

    A layer whose activation alone would take longer than the ceiling to cross any cut stays
    with all its consumers, and so do all layers on paths between them (a strongly connected
    component once each such edge is made two-way). Layers that belong together are joined to a
    cycle, and then are such a component too.
    """
    cheapest = cheapest_cut_s_per_byte(rates)
    graph: nx.DiGraph[int] = nx.DiGraph()
    graph.add_nodes_from(range(len(instance.nodes)))
    for u, v in instance.edges:
        graph.add_edge(u, v)
        if instance.activation_bytes[u] * cheapest > ceiling_s * MARGIN:
            graph.add_edge(v, u)
    for joined in instance.together:
        nx.add_cycle(graph, joined)
    condensed = nx.condensation(graph)
    order = list(
        nx.lexicographical_topological_sort(
            condensed, key=lambda c: min(condensed.nodes[c]["members"])
        )
    )
    blocks = tuple(tuple(sorted(condensed.nodes[c]["members"])) for c in order)
    block_of = {v: b for b, members in enumerate(blocks) for v in members}
    crossing: dict[tuple[int, tuple[int, ...]], float] = {}
    for u, consumers in enumerate(instance.consumers):
        targets = tuple(sorted({block_of[w] for w in consumers} - {block_of[u]}))
        if targets:
            key = (block_of[u], targets)
            crossing[key] = crossing.get(key, 0.0) + float(instance.activation_bytes[u])
    pairs = {(block_of[u], block_of[v]) for u, v in instance.edges}
    time_s, again_s = instance.time_s, instance.forward_s
    if instance.rules.recompute == Recompute.ALWAYS:
        time_s, again_s = time_s + again_s, np.zeros_like(again_s)
    return ReducedGraph(
        blocks=blocks,
        edges=tuple(sorted((a, b) for a, b in pairs if a != b)),
        time_s=_sums(time_s, blocks),
        again_s=_sums(again_s, blocks),
        parameter_bytes=_sums(instance.parameter_bytes, blocks),
        activation_bytes=_sums(instance.activation_bytes, blocks),
        tensors=tuple(Tensor(source, targets, n) for (source, targets), n in crossing.items()),
    )


def cheapest_cut_s_per_byte(rates: Rates) -> float:
    """Return the least time that a byte can add to any cut, over all placements.

    One link is shared by at most as many transfers as the largest server has GPUs, or as there
    are servers.
    """
    cluster = rates.cluster
    if rates.name == "sparsepipe":
        return rates.round_trip / float(cluster.bandwidth[0, 0])
    inside = max(
        float(cluster.bandwidth[s, s]) * sum(g.count for g in cluster.groups if g.server == s)
        for s in range(len(cluster.servers))
    )
    between = float(cluster.bandwidth.max()) * len(cluster.servers)
    return rates.round_trip / max(inside, between if len(cluster.servers) > 1 else 0.0)


def _sums(values: Floats, blocks: tuple[tuple[int, ...], ...]) -> Floats:
    total: Floats = np.stack([values[..., list(b)].sum(axis=-1) for b in blocks], axis=-1)
    return total
