"""Topological orders that are worth cutting; layers that belong together stay in a row."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Sequence

from stagewright.formulation.units import Units, units_of
from stagewright.model.instance import Instance


def topological_orders(instance: Instance) -> list[tuple[int, ...]]:
    """Return a few different topological orders, the most promising first."""
    units = units_of(instance)
    handed_on = [sum(float(instance.activation_bytes[v]) for v in x) for x in units.layers]
    return [
        tuple(v for u in order for v in units.layers[u]) for order in unit_orders(units, handed_on)
    ]


def unit_orders(units: Units, activation: Sequence[float]) -> list[tuple[int, ...]]:
    """Return a few topological orders of units; ``activation``: size of what each hands on."""
    opened = [len(x) for x in units.consumers]

    def depth_first(v: int, step: int) -> tuple[float, ...]:
        return (-step, v)

    def breadth_first(v: int, step: int) -> tuple[float, ...]:
        return (step, v)

    def file_order(v: int, step: int) -> tuple[float, ...]:
        del step
        return (v,)

    def small_frontier(v: int, step: int) -> tuple[float, ...]:
        """Prefer units that end more bytes than they start."""
        freed = sum(activation[u] for u in units.producers[v] if opened[u] == 1)
        return (activation[v] - freed, -step)

    rules: list[Callable[[int, int], tuple[float, ...]]] = [
        depth_first,
        small_frontier,
        breadth_first,
        file_order,
    ]
    orders = [_order(units, rule) for rule in rules]
    return list(dict.fromkeys(x for x in orders if len(x) == len(units)))


def _order(units: Units, priority: Callable[[int, int], tuple[float, ...]]) -> tuple[int, ...]:
    """List-schedule the units: always the ready one with the smallest priority."""
    waiting = [len(x) for x in units.producers]
    ready = [(priority(v, 0), v) for v, n in enumerate(waiting) if n == 0]
    heapq.heapify(ready)
    order: list[int] = []
    while ready:
        _, v = heapq.heappop(ready)
        order.append(v)
        for w in units.consumers[v]:
            waiting[w] -= 1
            if waiting[w] == 0:
                heapq.heappush(ready, (priority(w, len(order)), w))
    return tuple(order)


def depth_first_order(producers: list[list[int]], consumers: list[list[int]]) -> list[int]:
    """Return a topological order in which few blocks wait for a consumer at any time.

    Depth first from the ends, producers with the most ancestors first, so that what lies long
    since behind is not kept waiting for a long branch.
    """
    ancestors = [0] * len(producers)
    sizes = [0] * len(producers)
    for v, before in enumerate(producers):  # blocks are in topological order
        ancestors[v] = 1 << v
        for u in before:
            ancestors[v] |= ancestors[u]
        sizes[v] = ancestors[v].bit_count()
    seen = [False] * len(producers)
    order: list[int] = []
    ends = [v for v, after in enumerate(consumers) if not after]
    stack = [(v, False) for v in sorted(ends, key=sizes.__getitem__)]
    while stack:
        v, finished = stack.pop()
        if finished:
            order.append(v)
        elif not seen[v]:
            seen[v] = True
            stack.append((v, True))
            stack += [(u, False) for u in sorted(producers[v], key=sizes.__getitem__)]
    return order
