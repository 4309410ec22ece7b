"""Topological orders that are worth cutting."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray


class Layered(Protocol):
    """A graph of nodes with a size each, such as an instance."""

    @property
    def nodes(self) -> Sequence[object]:
        """The nodes; all else speaks of their positions."""

    @property
    def activation_bytes(self) -> NDArray[np.float64]:
        """Size of what each node hands on."""

    @property
    def consumers(self) -> Sequence[Sequence[int]]:
        """Nodes that follow each node."""

    @property
    def producers(self) -> Sequence[Sequence[int]]:
        """Nodes that each node follows."""


def topological_orders(instance: Layered) -> list[tuple[int, ...]]:
    """Return a few different topological orders, the most promising first."""
    size = len(instance.nodes)
    activation = instance.activation_bytes
    opened = [len(x) for x in instance.consumers]

    def depth_first(v: int, step: int) -> tuple[float, ...]:
        return (-step, v)

    def breadth_first(v: int, step: int) -> tuple[float, ...]:
        return (step, v)

    def file_order(v: int, step: int) -> tuple[float, ...]:
        del step
        return (v,)

    def small_frontier(v: int, step: int) -> tuple[float, ...]:
        """Prefer layers that end more bytes than they start."""
        freed = sum(activation[u] for u in instance.producers[v] if opened[u] == 1)
        return (float(activation[v] - freed), -step)

    rules: list[Callable[[int, int], tuple[float, ...]]] = [
        depth_first,
        small_frontier,
        breadth_first,
        file_order,
    ]
    orders = [_order(instance, rule) for rule in rules]
    return list(dict.fromkeys(x for x in orders if len(x) == size))


def _order(instance: Layered, priority: Callable[[int, int], tuple[float, ...]]) -> tuple[int, ...]:
    """List-schedule the layers: always the ready one with the smallest priority."""
    waiting = [len(x) for x in instance.producers]
    ready = [(priority(v, 0), v) for v, n in enumerate(waiting) if n == 0]
    heapq.heapify(ready)
    order: list[int] = []
    while ready:
        _, v = heapq.heappop(ready)
        order.append(v)
        for w in instance.consumers[v]:
            waiting[w] -= 1
            if waiting[w] == 0:
                heapq.heappush(ready, (priority(w, len(order)), w))
    return tuple(order)
