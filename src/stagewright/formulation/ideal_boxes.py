r"""Boxes of ideals: what can be said of all ways to cut a graph that agree on some layers.

A box (In, Out) holds every ideal I with In ⊆ I ⊆ all \ Out. It knows the least and the most
work such an ideal can have, and, by a minimum cut, the fewest bytes that leave any of them. Split
at a layer v (in, with all that v needs; or out, with all that needs v) a box becomes two smaller
ones, and together they hold the same ideals. The boxes of a whole graph are a relaxation of its
cuts, as fine as one cares to split them: the ideals themselves, of which a graph with parallel
branches has far too many, are what is left at the end.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import networkx as nx
import numpy as np
from numpy.typing import NDArray
from ortools.graph.python import max_flow

from stagewright.formulation.box_bound import Windows
from stagewright.formulation.reduced_graph import ReducedGraph

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Indices = NDArray[np.int64]

UNBOUNDED = 2**55
IN, FREE, OUT = 1, 0, 2


@dataclass(frozen=True)
class Box:
    """All ideals between ``inside`` and everything but ``outside``; arrays by block.

    Attributes
    ----------
    least_s, most_s
        Work of the smallest and of the largest ideal.
    cut_bytes
        No ideal of the box is left by fewer bytes.
    cheapest
        An ideal that is left by so many.
    """

    inside: Bools
    outside: Bools
    least_s: float
    most_s: float
    cut_bytes: float
    cheapest: Bools

    @property
    def single(self) -> bool:
        """Whether the box holds one ideal only."""
        return bool((self.inside | self.outside).all())

    @property
    def width_s(self) -> float:
        """How far the work of its ideals can differ."""
        return self.most_s - self.least_s


class BoxTree:
    """Makes and splits the boxes of one graph; work is counted as ``time_s`` per block."""

    def __init__(self, graph: ReducedGraph, time_s: Floats) -> None:
        self.graph = graph
        self.time_s = time_s
        size = len(graph)
        dag: nx.DiGraph[int] = nx.DiGraph()
        dag.add_nodes_from(range(size))
        dag.add_edges_from(graph.edges)
        self._needs = np.eye(size, dtype=bool)
        for v in nx.topological_sort(dag):
            for u in dag.predecessors(v):
                self._needs[v] |= self._needs[u]
        self._dag = dag
        self._needed_by = np.ascontiguousarray(self._needs.T)
        self._edges = np.array(graph.edges, dtype=np.int64).reshape(-1, 2)
        self._source = np.array([t.source for t in graph.tensors], dtype=np.int64)
        self._bytes = np.array([int(t.n_bytes) for t in graph.tensors], dtype=np.int64)
        self._targets = np.array([w for t in graph.tensors for w in t.targets], dtype=np.int64)
        lengths = [len(t.targets) for t in graph.tensors]
        self._owner = np.repeat(np.arange(len(lengths)), lengths)

    def windows(self, boxes: Sequence[Box]) -> Windows:
        """Return what a walk knows of boxes."""
        parameters = self.graph.parameter_bytes
        return Windows(
            np.array([box.least_s for box in boxes]),
            np.array([box.most_s for box in boxes]),
            np.array([parameters[box.inside].sum() for box in boxes]),
            np.array([parameters[~box.outside].sum() for box in boxes]),
            np.array([box.cut_bytes for box in boxes]),
        )

    def whole(self) -> Box:
        """Every ideal but the empty and the full one, which no stage boundary is."""
        nothing = np.zeros(len(self.graph), dtype=bool)
        return self._box(nothing, nothing)

    def split(self, box: Box) -> tuple[Box, ...]:
        """Two smaller boxes with the same ideals; none if the box holds one ideal only."""
        free = np.flatnonzero(~(box.inside | box.outside))
        if len(free) == 0:
            return ()
        v = self._middle(free)
        within = bool(box.cheapest[v])
        halves = (
            (box.inside | self._needs[v], box.outside, within),
            (box.inside, box.outside | self._needed_by[v], not within),
        )
        # The cheapest ideal of the box lies in one half, and is the cheapest there.
        return tuple(
            self._box(inside, outside, box if holds else None) for inside, outside, holds in halves
        )

    def _middle(self, free: Indices) -> int:
        """Choose the layer that leaves the least work to decide on in the larger half."""
        time = self.time_s[free] + 1e-12 * float(self.time_s.sum())
        inner = np.ix_(free, free)
        gain = np.minimum(self._needs[inner] @ time, self._needed_by[inner] @ time)
        return int(free[int(gain.argmax())])

    def order_like(self, place: Mapping[int, int]) -> list[int]:
        """Return a topological order of the blocks, close to a given place of each layer."""
        middle = [float(np.mean([place[v] for v in block])) for block in self.graph.blocks]
        return list(nx.lexicographical_topological_sort(self._dag, key=middle.__getitem__))

    def narrow_cut(self, inside: Bools, outside: Bools) -> Bools:
        """Return an ideal of the box that the fewest bytes leave."""
        return self._minimum_cut(inside, outside)[1]

    def _box(self, inside: Bools, outside: Bools, known: Box | None = None) -> Box:
        """Make a box; ``known`` is a larger one with the same cheapest ideal."""
        if known is None:
            n_bytes, cheapest = self._minimum_cut(inside, outside)
        else:
            n_bytes, cheapest = known.cut_bytes, known.cheapest
        return Box(
            inside,
            outside,
            float(self.time_s[inside].sum()),
            float(self.time_s[~outside].sum()),
            n_bytes,
            cheapest,
        )

    def _minimum_cut(self, inside: Bools, outside: Bools) -> tuple[float, Bools]:
        """Fewest bytes that leave an ideal of the box, and that ideal.

        A network with the ideal on the source's side: a tensor that leaves costs its bytes once
        (an arc to a node of its own, from there unbounded arcs to its consumers), and a layer
        inside pulls in what it needs (unbounded arcs).
        """
        state = np.where(inside, IN, np.where(outside, OUT, FREE))
        free = np.flatnonzero(state == FREE)
        place = np.full(len(state), -1, dtype=np.int64)
        place[free] = np.arange(len(free)) + 2
        at_source = state[self._source]
        at_target = state[self._targets]
        leaves = np.zeros(len(self._source), dtype=bool)
        leaves[self._owner[at_target == OUT]] = True
        fixed = int(self._bytes[(at_source == IN) & leaves].sum())
        if len(free) == 0:
            return float(fixed), inside
        open_ = np.zeros(len(self._source), dtype=bool)
        open_[self._owner[at_target == FREE]] = True
        own = np.flatnonzero((at_source != OUT) & open_ & ~leaves)
        to_sink = np.flatnonzero((at_source == FREE) & leaves)
        node = np.full(len(self._source), -1, dtype=np.int64)
        node[own] = np.arange(len(own)) + 2 + len(free)
        reads = np.flatnonzero((node[self._owner] >= 0) & (at_target == FREE))
        u, v = self._edges[:, 0], self._edges[:, 1]
        pulls = np.flatnonzero((state[u] == FREE) & (state[v] == FREE))
        source_of = np.where(at_source == IN, 0, place[self._source])
        tails = [source_of[own], place[self._source[to_sink]], node[self._owner[reads]]]
        heads = [node[own], np.ones(len(to_sink), dtype=np.int64), place[self._targets[reads]]]
        unbounded = np.full(len(reads) + len(pulls), UNBOUNDED, dtype=np.int64)
        solver = max_flow.SimpleMaxFlow()
        solver.add_arcs_with_capacity(
            np.concatenate([*tails, place[v[pulls]]]),
            np.concatenate([*heads, place[u[pulls]]]),
            np.concatenate([self._bytes[own], self._bytes[to_sink], unbounded]),
        )
        solver.solve(0, 1)
        side = np.array(solver.get_source_side_min_cut(), dtype=np.int64)
        ideal = inside.copy()
        chosen = side[(side >= 2) & (side < 2 + len(free))] - 2
        ideal[free[chosen]] = True
        return float(fixed + solver.optimal_flow()), ideal
