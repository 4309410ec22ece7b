"""Order the items of one column's layers so that few wires cross.

Layers are ordered by sweeps of barycenters (Sugiyama, Tagawa and Toda, 1981). Items that follow
one another are then aligned, so that chains and passing wires are straight.
"""

from __future__ import annotations

from bisect import bisect_right, insort
from dataclasses import dataclass, field
from itertools import pairwise

SWEEPS = 8


@dataclass
class Strata:
    """Items in layers, and the links between each layer and the next.

    Attributes
    ----------
    layers
        Item numbers, left to right, top layer first.
    above, below
        For each item, the items it is linked to in the layer above and below.
    width
        For each item, its width.
    thin
        For each item, whether it is a wire that passes the layer, and should run straight.
    """

    layers: list[list[int]]
    above: list[list[int]] = field(default_factory=list)
    below: list[list[int]] = field(default_factory=list)
    width: list[float] = field(default_factory=list)
    thin: list[bool] = field(default_factory=list)

    def add(self, layer: int, width: float, *, thin: bool) -> int:
        """Append an item to ``layer`` and return its number."""
        item = len(self.width)
        self.width.append(width)
        self.thin.append(thin)
        self.above.append([])
        self.below.append([])
        self.layers[layer].append(item)
        return item

    def link(self, upper: int, lower: int) -> None:
        """Link two items of neighbouring layers."""
        self.below[upper].append(lower)
        self.above[lower].append(upper)


def order(strata: Strata) -> None:
    """Reorder the items within their layers so that few links cross."""
    best, fewest = [list(x) for x in strata.layers], crossings(strata)
    for sweep in range(SWEEPS):
        if fewest == 0:
            break
        down = sweep % 2 == 0
        _sweep(strata, down=down)
        _swap_neighbours(strata)
        found = crossings(strata)
        if found < fewest:
            best, fewest = [list(x) for x in strata.layers], found
    strata.layers = best


def crossings(strata: Strata) -> int:
    """Count the pairs of links that cross."""
    total = 0
    for layer, following in pairwise(strata.layers):
        place = {item: i for i, item in enumerate(following)}
        seen: list[int] = []
        for item in layer:
            ends = [place[x] for x in strata.below[item]]
            total += sum(len(seen) - bisect_right(seen, end) for end in ends)
            for end in ends:
                insort(seen, end)
    return total


def _sweep(strata: Strata, *, down: bool) -> None:
    linked = strata.above if down else strata.below
    layers = strata.layers if down else strata.layers[::-1]
    place: dict[int, int] = {item: i for i, item in enumerate(layers[0])}
    for layer in layers[1:]:
        key = {
            item: sum(place[x] for x in linked[item]) / len(linked[item]) if linked[item] else i
            for i, item in enumerate(layer)
        }
        layer.sort(key=key.__getitem__)
        place = {item: i for i, item in enumerate(layer)}


def _swap_neighbours(strata: Strata) -> None:
    """Swap neighbours in a layer where that removes crossings."""
    place = {item: i for layer in strata.layers for i, item in enumerate(layer)}
    for layer in strata.layers:
        for i in range(len(layer) - 1):
            a, b = layer[i], layer[i + 1]
            gain = 0
            for linked in (strata.above, strata.below):
                for x in linked[a]:
                    for y in linked[b]:
                        gain += (place[x] > place[y]) - (place[x] < place[y])
            if gain > 0:
                layer[i], layer[i + 1] = b, a
                place[a], place[b] = i + 1, i
