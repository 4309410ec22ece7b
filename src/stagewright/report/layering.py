"""Which layer of a picture each node stands in, and where a tall stage wraps into columns.

Panels stand side by side, one for each stage. Inside a panel an edge always goes down: a
node's layer is the longest path to it (Sugiyama, Tagawa and Toda, 1981).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import networkx as nx

MOST_ABREAST = 12
"""Nodes in one layer; more are spread over several, so that no picture grows too wide."""

MOST_PASSING = 24
"""Edges that pass one layer or one gap between columns; more are drawn as loose curves."""


@dataclass(frozen=True)
class Column:
    """Layers, top to bottom, that a panel shows above one another."""

    panel: int
    layers: tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class Net:
    """A node's activation and everybody who reads it: edges that share their wire.

    Attributes
    ----------
    producer
        The node.
    readers
        Its consumers by column, in file order.
    loose
        Whether the wires around it are too many to be laid tidily.
    """

    producer: str
    readers: Mapping[int, tuple[str, ...]]
    loose: bool = False


def panel_layers(graph: nx.DiGraph[str]) -> list[list[str]]:
    """Sort a panel's nodes into layers so that every edge goes down.

    Parts that no edge joins stand side by side, as many as there is room for, and below that.
    """
    layers: list[list[str]] = []
    top, abreast = 0, 0
    for part in _parts(graph):
        width = max(map(len, part))
        if abreast and abreast + width > MOST_ABREAST:
            top, abreast = len(layers), 0
        abreast += width
        for i, members in enumerate(part, start=top):
            if i == len(layers):
                layers.append([])
            layers[i] += members
    return layers


def _parts(graph: nx.DiGraph[str]) -> list[list[list[str]]]:
    """Layers of each connected part, in the order of the parts' first nodes."""
    part_of = {
        node: i for i, part in enumerate(nx.weakly_connected_components(graph)) for node in part
    }
    parts: dict[int, dict[int, list[str]]] = {}
    layer_of = _longest_paths(graph)
    for node in graph:
        parts.setdefault(part_of[node], {}).setdefault(layer_of[node], []).append(node)
    return [
        [
            members[i : i + MOST_ABREAST]
            for _, members in sorted(layers.items())
            for i in range(0, len(members), MOST_ABREAST)
        ]
        for layers in parts.values()
    ]


def _longest_paths(graph: nx.DiGraph[str]) -> dict[str, int]:
    """Layer of each node.

    A node with no more inputs than outputs is drawn just above its first reader, because that
    is where one looks for it: an embedding stands beside the decoder that it feeds.
    """
    order = list(nx.topological_sort(graph))
    layer_of: dict[str, int] = {}
    for node in order:
        layer_of[node] = 1 + max((layer_of[u] for u in graph.predecessors(node)), default=-1)
    for node in reversed(order):
        readers = list(graph.successors(node))
        if readers and graph.in_degree(node) <= len(readers):
            layer_of[node] = min(layer_of[w] for w in readers) - 1
    return layer_of


def spans(graph: nx.DiGraph[str], layers: Sequence[Sequence[str]]) -> list[int]:
    """Count for each layer the nodes above it that somebody below it, or in it, reads."""
    layer_of = {node: i for i, layer in enumerate(layers) for node in layer}
    change = [0] * (len(layers) + 1)
    for node in graph:
        last = max((layer_of[w] for w in graph.successors(node)), default=layer_of[node])
        if last > layer_of[node]:
            change[layer_of[node] + 1] += 1
            change[last + 1] -= 1
    live, total = [], 0
    for step in change[:-1]:
        total += step
        live.append(total)
    return live


def wrap(live: Sequence[int], columns: int) -> list[range]:
    """Divide layers into at most ``columns`` runs of about equal length, where few edges are cut.

    Parameters
    ----------
    live
        For each layer, the edges that a division just above it would cut.
    """
    starts = [0]
    length = len(live) / columns
    for i in range(1, columns):
        ideal = round(i * length)
        slack = max(1, int(length / 6))
        choices = range(max(starts[-1] + 1, ideal - slack), min(len(live), ideal + slack + 1))
        if choices:
            starts.append(min(choices, key=lambda j: (live[j], abs(j - ideal), j)))
    return [range(a, b) for a, b in pairwise([*starts, len(live)])]


def collect_nets(
    nodes: Sequence[str], edges: Sequence[tuple[str, str]], columns: Sequence[Column]
) -> list[Net]:
    """Join the edges of each producer, shortest reach first, and set the excess loose.

    A net is loose if it would pass a layer, or a gap between columns, that
    :data:`MOST_PASSING` shorter ones pass already.
    """
    column_of, layer_of = positions(columns)
    readers: dict[str, dict[int, dict[str, None]]] = {}
    for u, v in edges:
        readers.setdefault(u, {}).setdefault(column_of[v], {})[v] = None
    nets = [
        Net(u, {c: tuple(vs) for c, vs in sorted(readers[u].items())})
        for u in nodes
        if u in readers
    ]
    reach = {net.producer: _passed(net, columns, column_of, layer_of) for net in nets}
    passing: dict[tuple[int, int], int] = {}
    loose: set[str] = set()
    for net in sorted(nets, key=lambda x: len(reach[x.producer])):
        passed = reach[net.producer]
        if any(passing.get(place, 0) >= MOST_PASSING for place in passed):
            loose.add(net.producer)
            continue
        for place in passed:
            passing[place] = passing.get(place, 0) + 1
    return [Net(x.producer, x.readers, x.producer in loose) for x in nets]


def positions(columns: Sequence[Column]) -> tuple[dict[str, int], dict[str, int]]:
    """Return the column of each node, and its layer within the column."""
    column_of: dict[str, int] = {}
    layer_of: dict[str, int] = {}
    for c, column in enumerate(columns):
        for i, layer in enumerate(column.layers):
            for node in layer:
                column_of[node], layer_of[node] = c, i
    return column_of, layer_of


def passed_layers(
    net: Net, column: int, home: int, layer: int, layer_of: Mapping[str, int], depth: int
) -> range:
    """Layers of ``column`` that the net passes between two others.

    Parameters
    ----------
    home, layer
        Column and layer of the producer.
    depth
        Layers of ``column``.
    """
    last = max((layer_of[v] for v in net.readers.get(column, ())), default=-1)
    if column != home:
        return range(last)
    leaves = any(c != home for c in net.readers)
    return range(layer + 1, depth if leaves else last)


def _passed(
    net: Net, columns: Sequence[Column], column_of: Mapping[str, int], layer_of: Mapping[str, int]
) -> list[tuple[int, int]]:
    """(column, layer) pairs that the net passes; layer -1 is the gap before a column."""
    home, layer = column_of[net.producer], layer_of[net.producer]
    places = [(c, -1) for c in net.readers if c != home]
    for c in sorted({home, *net.readers}):
        depth = len(columns[c].layers)
        places += [(c, i) for i in passed_layers(net, c, home, layer, layer_of, depth)]
    return places
