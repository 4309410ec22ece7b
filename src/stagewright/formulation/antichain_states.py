"""The states over which both published planners plan: antichains and what they stand for.

A state is an antichain A of the layer graph together with augment(A): the layers whose output
is still needed once everything up to A is done. Narayanan et al. (SOSP 2019) plan straight
pipelines over a chain; their released planner extends it to branching graphs in this way.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stagewright.model.errors import DoesNotApply
from stagewright.model.graph import LayerGraph

MAX_STATES = 4000
MAX_SECONDS = 3.0


@dataclass(frozen=True)
class StateSpace:
    """All states of a layer graph in topological order.

    Attributes
    ----------
    nodes
        Names of the layers that are planned; bit v of a mask is ``nodes[v]``.
    done
        For each state j, U_j as a mask: augment(A_j) with all ancestors.
    frontier
        For each state j, augment(A_j) as a mask.
    reachable_from
        ``reachable_from[j, k]``: state k lies before state j; shape (states, states).
    """

    nodes: tuple[str, ...]
    done: tuple[int, ...]
    frontier: tuple[int, ...]
    reachable_from: NDArray[np.bool_]

    def totals(self, values: NDArray[np.float64], masks: tuple[int, ...]) -> NDArray[np.float64]:
        """Sum ``values`` (nodes,) over each mask; shape (masks,)."""
        return np.array([sum(values[v] for v in bits(mask)) for mask in masks])


def bits(mask: int) -> Iterator[int]:
    """Positions of the ones in ``mask``, lowest first."""
    while mask:
        low = mask & -mask
        yield low.bit_length() - 1
        mask ^= low


def published_states(graph: LayerGraph) -> StateSpace:
    """Enumerate the states of ``graph``.

    Raises
    ------
    DoesNotApply
        If there are more than :data:`MAX_STATES`: on graphs of many parallel branches their
        number explodes, and with it the published planners' time and memory.
    """
    nodes = graph.planned
    index = {node: v for v, node in enumerate(nodes)}
    consumers = [0] * len(nodes)
    for u, v in graph.edges:
        if u in index and v in index:
            consumers[index[u]] |= 1 << index[v]
    ancestors, descendants = _closures(consumers)
    start = next(v for v in range(len(nodes)) if not ancestors[v])
    needed = [
        (1 << a)
        | sum(1 << p for p in bits(ancestors[a]) if consumers[p] & ~(ancestors[a] | 1 << a))
        for a in range(len(nodes))
    ]

    def augment(antichain: int) -> int:
        mask = 0
        for a in bits(antichain):
            mask |= needed[a]
        return mask

    def following(antichain: int) -> Iterator[int]:
        frontier = augment(antichain)
        for u in bits(frontier):
            for w in bits(consumers[u] & ~antichain):
                if not descendants[w] & frontier:
                    moved = (frontier & ~(1 << u)) | 1 << w
                    yield sum(1 << x for x in bits(moved) if not descendants[x] & moved)

    deadline = time.monotonic() + MAX_SECONDS
    number: dict[int, int] = {1 << start: 0}
    arrows: list[list[int]] = []
    queue = deque(number)
    while queue:
        antichain = queue.popleft()
        targets = []
        for target in following(antichain):
            if target not in number:
                number[target] = len(number)
                queue.append(target)
            targets.append(number[target])
        arrows.append(targets)
        if len(number) > MAX_STATES or time.monotonic() > deadline:
            raise DoesNotApply(
                f"the graph has more than {min(len(number), MAX_STATES):,} antichain states "
                "(many parallel branches); the published planners do not finish on it. "
                "Use --planner cpsat or linear-dp"
            )
    order, reachable = _topological(arrows)
    antichains = list(number)
    frontier = tuple(augment(antichains[s]) for s in order)
    done = tuple(_with_ancestors(mask, ancestors) for mask in frontier)
    return StateSpace(nodes, done, frontier, reachable)


def _with_ancestors(mask: int, ancestors: list[int]) -> int:
    whole = mask
    for v in bits(mask):
        whole |= ancestors[v]
    return whole


def _closures(consumers: list[int]) -> tuple[list[int], list[int]]:
    """Ancestors and descendants of every node, as masks."""
    size = len(consumers)
    waiting = [0] * size
    for u in range(size):
        for v in bits(consumers[u]):
            waiting[v] += 1
    order = [v for v in range(size) if not waiting[v]]
    ancestors = [0] * size
    for u in order:
        for v in bits(consumers[u]):
            ancestors[v] |= ancestors[u] | 1 << u
            waiting[v] -= 1
            if not waiting[v]:
                order.append(v)
    descendants = [0] * size
    for u in reversed(order):
        for v in bits(consumers[u]):
            descendants[u] |= descendants[v] | 1 << v
    return ancestors, descendants


def _topological(arrows: list[list[int]]) -> tuple[list[int], NDArray[np.bool_]]:
    """Topological order of the states, and which states lie before which in that order."""
    size = len(arrows)
    waiting = [0] * size
    unique = [sorted(set(targets)) for targets in arrows]
    for targets in unique:
        for t in targets:
            waiting[t] += 1
    order = [s for s in range(size) if not waiting[s]]
    before = np.zeros((size, size), dtype=bool)
    for s in order:  # grows while it is walked
        for t in unique[s]:
            before[t] |= before[s]
            before[t, s] = True
            waiting[t] -= 1
            if not waiting[t]:
                order.append(t)
    if len(order) != size:
        raise DoesNotApply("the antichain states of this graph form a cycle")
    place = np.array(order)
    return order, before[np.ix_(place, place)]
