"""The two published recursions, cell by cell as they are described: plain loops, no arrays.

A state is an antichain of the layer graph; it stands for the layers of augment(antichain) with
all their ancestors. ``None`` is "not available" throughout.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import networkx as nx

from stagewright.model.graph import LayerGraph

Antichain = frozenset[str]
Cells = dict[tuple[int, int, int], float | None]
Segments = dict[tuple[int, int], float | None]


def kept_graph(graph: LayerGraph) -> nx.DiGraph[str]:
    """The layers without free inputs and unused outputs."""
    return graph.digraph.subgraph(graph.planned).copy()


def augment(layers: nx.DiGraph[str], antichain: Antichain) -> Antichain:
    """The antichain and every layer whose output is still needed beside it."""
    found = set(antichain)
    for a in antichain:
        before = nx.ancestors(layers, a)
        for p in before:
            if any(w not in before and w != a for w in layers.successors(p)):
                found.add(p)
    return frozenset(found)


def following(layers: nx.DiGraph[str], antichain: Antichain) -> Iterator[Antichain]:
    """The antichains that come next."""
    here = augment(layers, antichain)
    for u in here:
        for w in layers.successors(u):
            if w in antichain or nx.descendants(layers, w) & here:
                continue
            moved = (here - {u}) | {w}
            yield frozenset(x for x in moved if not nx.descendants(layers, x) & moved)


def state_graph(graph: LayerGraph) -> nx.DiGraph[Antichain]:
    """All antichains that can be reached from the first source, each with those that follow."""
    layers = kept_graph(graph)
    first = next(x.id for x in graph.layers if x.id in layers and not layers.in_degree(x.id))
    states: nx.DiGraph[Antichain] = nx.DiGraph()
    states.add_node(frozenset([first]))
    waiting = [frozenset([first])]
    while waiting:
        here = waiting.pop()
        for there in following(layers, here):
            if there not in states:
                waiting.append(there)
            states.add_edge(here, there)
    return states


@dataclass(frozen=True)
class States:
    """States in an order in which each stands after those it is reached from.

    Attributes
    ----------
    done
        Layers up to each state.
    frontier
        augment(antichain) of each state.
    pred
        States from which each can be reached.
    """

    done: list[Antichain]
    frontier: list[Antichain]
    pred: list[set[int]]

    @classmethod
    def of(cls, graph: LayerGraph, order: Sequence[Antichain] | None = None) -> States:
        """Order the states as given, or in any topological order."""
        layers = kept_graph(graph)
        states = state_graph(graph)
        chosen = list(nx.topological_sort(states)) if order is None else list(order)
        place = {state: j for j, state in enumerate(chosen)}
        frontier = [augment(layers, state) for state in chosen]
        done = [
            frozenset().union(nodes, *(nx.ancestors(layers, x) for x in nodes))
            for nodes in frontier
        ]
        pred = [{place[k] for k in nx.ancestors(states, state)} for state in chosen]
        return cls(done, frontier, pred)

    def __len__(self) -> int:
        return len(self.done)

    def segments(self, value: dict[str, float]) -> Segments:
        """Totals of ``value`` over the layers of states i to j, for j >= i."""
        total = [math.fsum(value[x] for x in nodes) for nodes in self.done]
        return {
            (i, j): total[j] - (total[i - 1] if i > 0 else 0.0)
            for j in range(len(self))
            for i in range(j + 1)
        }

    def out(self, value: dict[str, float]) -> list[float]:
        """Bytes that leave each state."""
        return [math.fsum(value[x] for x in nodes) for nodes in self.frontier]

    def splits(self, i: int, j: int) -> list[int]:
        """Where states i to j may be split: after which state the last stage begins."""
        skipped = self.pred[i - 1] if i > 0 else set()
        return [k for k in range(j) if k in self.pred[j] and k not in skipped]


@dataclass(frozen=True)
class Options:
    """What the published commands take."""

    ratio: float | None = 1.0
    straight: bool = False
    memory_bytes: float | None = None
    fewer_machines: bool = False


@dataclass(frozen=True)
class Sizes:
    """Bytes over states: of activations and parameters in a segment, and out of a state."""

    activation: Segments
    parameter: Segments
    out: list[float]

    @classmethod
    def of(cls, graph: LayerGraph, states: States) -> Sizes:
        activation = {x.id: x.activation_bytes for x in graph.layers}
        parameter = {x.id: x.parameter_bytes for x in graph.layers}
        return cls(states.segments(activation), states.segments(parameter), states.out(activation))

    def held(self, cell: tuple[int, int]) -> float:
        return (self.activation[cell] or 0.0) + (self.parameter[cell] or 0.0)


def seconds_of(graph: LayerGraph, states: States) -> Segments:
    """C_ij on the GPU type of a profile."""
    return states.segments({x.id: x.total_ms / 1000 for x in graph.layers})


def pipedream(
    graph: LayerGraph,
    levels: Sequence[tuple[int, float]],
    options: Options,
    order: Sequence[Antichain] | None = None,
) -> float | None:
    """A[0][last][n] of the last level; ``levels`` are (machines, bandwidth), inside out."""
    states = States.of(graph, order)
    sizes = Sizes.of(graph, states)
    compute = seconds_of(graph, states)
    w = 1
    cells: Cells = {}
    for number, (n, b) in enumerate(levels):
        starts = [0] if number == len(levels) - 1 else range(len(states))
        cells = {}
        for i in starts:
            for j in range(i, len(states)):
                for m in range(1, n + 1):
                    one = _pipedream_one_stage(compute[i, j], sizes, (i, j), (m, n), b, w, options)
                    cells[i, j, m] = one
                    if m < 2 or j == i:
                        continue
                    found = [one]
                    if options.fewer_machines:
                        found.append(cells[i, j, m - 1])
                    for k in states.splits(i, j):
                        for last in range(1, m):
                            head = cells.get((i, k, m - last))
                            tail = _pipedream_last_stage(
                                compute.get((k + 1, j)), sizes, (k, j), (m, last, n), b, options
                            )
                            if head is not None and tail is not None:
                                found.append(max(head, tail))
                    cells[i, j, m] = min((x for x in found if x is not None), default=None)
        if number < len(levels) - 1:
            compute = {(i, j): cells[i, j, n] for i, j, m in cells if m == n}
            w = n
    return cells[0, len(states) - 1, levels[-1][0]]


def _pipedream_one_stage(
    seconds: float | None,
    sizes: Sizes,
    cell: tuple[int, int],
    machines: tuple[int, int],
    b: float,
    w: int,
    options: Options,
) -> float | None:
    m, n = machines
    if seconds is None or (options.straight and m > 1):
        return None
    memory = options.memory_bytes
    if memory is not None and math.ceil((n - m) / m) * sizes.held(cell) > memory:
        return None
    p = sizes.parameter[cell] or 0.0
    return (seconds + (2 * (m - 1) * p / (b * m)) / w) / m


def _pipedream_last_stage(
    seconds: float | None,
    sizes: Sizes,
    cut: tuple[int, int],
    machines: tuple[int, int, int],
    b: float,
    options: Options,
) -> float | None:
    k, j = cut
    m, last, n = machines
    if seconds is None or (options.straight and last > 1):
        return None
    memory = options.memory_bytes
    if memory is not None and sizes.held((k + 1, j)) * math.ceil((n - m) / last) > memory:
        return None
    p = sizes.parameter[k + 1, j] or 0.0
    value = (seconds + 2 * (last - 1) * p / (b * last)) / last
    if options.ratio is not None:
        value = max(value, 2 * sizes.out[k] / (b * last * options.ratio))
        if j < len(sizes.out) - 1:
            value = max(value, 2 * sizes.out[j] / (b * last * options.ratio))
    return value


@dataclass(frozen=True)
class Machine:
    """A GPU, or a server of ``gpus`` of them; ``rank`` counts from the fastest kind."""

    seconds: Segments
    rank: int
    gpus: int = 1


def sparsepipe(
    profiles: dict[str, LayerGraph],
    servers: Sequence[dict[str, int]],
    bandwidths: Sequence[float],
    options: Options,
    order: Sequence[Antichain] | None = None,
) -> float | None:
    """A[0][last][all]; ``servers`` count GPU types in file order."""
    graph = profiles[next(iter(servers[0]))]
    states = States.of(graph, order)
    sizes = Sizes.of(graph, states)
    joined = len(bandwidths) > 1
    last = len(states) - 1
    found: list[tuple[float, Segments, int]] = []
    for counts in servers:
        listed = sorted(counts, key=lambda gpu: -counts[gpu])
        types = {gpu: seconds_of(profiles[gpu], states) for gpu in counts}
        speed = sorted(counts, key=lambda gpu: types[gpu][0, last] or 0.0)
        gpus = [Machine(types[gpu], speed.index(gpu)) for gpu in listed for _ in range(counts[gpu])]
        cells = _sparsepipe_cells(states, sizes, gpus, bandwidths[0], options, whole=not joined)
        n = len(gpus)
        if not joined:
            return cells[0, last, n]
        total = cells[0, last, n]
        seconds = {(i, j): cells[i, j, n] for i, j, m in cells if m == n}
        found.append((math.inf if total is None else total, seconds, n))
    found.sort(key=lambda server: server[0])
    boxes = [Machine(seconds, rank, n) for rank, (_, seconds, n) in enumerate(found)]
    cells = _sparsepipe_cells(states, sizes, boxes, bandwidths[-1], options, whole=True)
    return cells[0, last, len(boxes)]


def _sparsepipe_cells(
    states: States,
    sizes: Sizes,
    machines: list[Machine],
    b: float,
    options: Options,
    *,
    whole: bool,
) -> Cells:
    n = len(machines)
    cells: Cells = {}
    for i in [0] if whole else range(len(states)):
        for j in range(i, len(states)):
            for m in range(1, n + 1):
                best = _sparsepipe_one_stage(machines[:m], sizes, (i, j), n, b, options)
                for k in states.splits(i, j) if m > 1 and j > i else []:
                    for last in range(1, m):
                        head = cells.get((i, k, m - last))
                        tail = _sparsepipe_last_stage(
                            machines[m - last : m], sizes, (k, j), (m, n), b, options
                        )
                        if head is None or tail is None:
                            continue
                        value = max(head, tail)
                        fair = (last == 1 or last % 2 == 0) and m - last - 1 >= last
                        if best is None or (value < best and fair):
                            best = value
                cells[i, j, m] = best
    return cells


def _slowest(machines: list[Machine]) -> Machine:
    """The machine of the slowest kind by total time, whatever the segment."""
    return max(machines, key=lambda machine: machine.rank)


def _sparsepipe_one_stage(
    used: list[Machine],
    sizes: Sizes,
    cell: tuple[int, int],
    n: int,
    b: float,
    options: Options,
) -> float | None:
    count = len(used)
    seconds = _slowest(used).seconds[cell]
    if seconds is None or (options.straight and count > 1):
        return None
    memory = options.memory_bytes
    if memory is not None and math.ceil((n - count) / count) * sizes.held(cell) > memory:
        return None
    m = sum(machine.gpus for machine in used)
    p = sizes.parameter[cell] or 0.0
    return (seconds + 2 * (m - 1) * p / (b * m)) / count


def _sparsepipe_last_stage(
    used: list[Machine],
    sizes: Sizes,
    cut: tuple[int, int],
    machines: tuple[int, int],
    b: float,
    options: Options,
) -> float | None:
    k, j = cut
    m, n = machines
    last = len(used)
    seconds = _slowest(used).seconds[k + 1, j]
    if seconds is None or (options.straight and last > 1):
        return None
    memory = options.memory_bytes
    if memory is not None and sizes.held((k + 1, j)) * math.ceil((n - m) / last) > memory:
        return None
    p = sizes.parameter[k + 1, j] or 0.0
    value = (seconds + 2 * (last - 1) * p / (b * last)) / last
    if options.ratio is not None:
        value = max(value, 2 * sizes.out[k] / (b * options.ratio))
        if j < len(sizes.out) - 1:
            value = max(value, 2 * sizes.out[j] / (b * options.ratio))
    return value
