"""Layers that no cut may part, as one: what cuts and layer orders are made of."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import networkx as nx

from stagewright.model.instance import Instance

Lists = tuple[tuple[int, ...], ...]


@dataclass(frozen=True)
class Units:
    """A graph of units; without layers that belong together, each layer is one.

    Attributes
    ----------
    layers
        Positions of the layers of each unit, in topological order.
    producers, consumers
        For each unit, the units that it reads and that read it.
    """

    layers: Lists
    producers: Lists
    consumers: Lists

    def __len__(self) -> int:
        """Count the units."""
        return len(self.layers)


def units_of(instance: Instance) -> Units:
    """Contract the layers that belong together, and everything on paths between them.

    With edges both ways inside each set, these are the strongly connected components; an ideal
    splits no set exactly if it is a union of them.
    """
    if not instance.together:
        alone = tuple((v,) for v in range(len(instance.nodes)))
        return Units(alone, instance.producers, instance.consumers)
    graph: nx.DiGraph[int] = nx.DiGraph()
    graph.add_nodes_from(range(len(instance.nodes)))
    graph.add_edges_from(instance.edges)
    for members in instance.together:
        graph.add_edges_from(pairwise([*members, members[0]]))
    order = instance.graph.order
    parts = sorted(nx.strongly_connected_components(graph), key=min)
    unit_of = {v: unit for unit, part in enumerate(parts) for v in part}
    edges = dict.fromkeys((unit_of[u], unit_of[v]) for u, v in instance.edges)
    return Units(
        tuple(tuple(sorted(x, key=lambda v: order[instance.nodes[v]])) for x in parts),
        tuple(tuple(a for a, b in edges if b == unit != a) for unit in range(len(parts))),
        tuple(tuple(b for a, b in edges if a == unit != b) for unit in range(len(parts))),
    )
