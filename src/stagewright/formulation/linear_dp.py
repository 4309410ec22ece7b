"""``linear-dp``: the stage recursion over a few topological orders.

Restricting the cuts to prefixes of one order makes the recursion small on any graph; on a chain
nothing is lost. It gives ``cpsat`` its warm start and everybody a fast upper bound. Where the
counts of all groups are too many, GPUs are taken from a few fixed lists instead.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from stagewright.formulation.cut_space import prefixes
from stagewright.formulation.pipedream_dp import with_inputs
from stagewright.formulation.problem import Outcome, Problem, Settings
from stagewright.formulation.resources import (
    ResourceSpace,
    exact_resources,
    exact_size,
    listed_resources,
)
from stagewright.formulation.stage_dp import StageDp
from stagewright.model.instance import Instance
from stagewright.model.plan import Plan, Stage, Status

MAX_WORK = 300_000_000


@dataclass(frozen=True)
class LinearDp:
    """The stage recursion over prefixes of a few topological orders."""

    name: str = "linear-dp"
    summary: str = "fast dynamic programme over a few layer orders (any graph, no proof)"

    def check(self, problem: Problem) -> None:
        """Defined on every instance."""

    def solve(self, problem: Problem, settings: Settings) -> Outcome:
        """Return the best plan over all orders tried."""
        best = best_linear(problem, settings)
        if best is None:
            return Outcome(Status.UNKNOWN, None, reason="no plan along the layer orders tried")
        period, stages = best
        plan = Plan(with_inputs(problem.instance, stages), self.name)
        return Outcome(Status.FEASIBLE, plan, period)


def best_linear(problem: Problem, settings: Settings) -> tuple[float, tuple[Stage, ...]] | None:
    """Return the best (period, stages) over the orders tried; stages without inputs.

    Each order's answer is the ceiling of the next, which spares most of its work.
    """
    best: tuple[float, tuple[Stage, ...]] | None = None
    for order in topological_orders(problem.instance):
        space = prefixes(problem.instance, order)
        for resources in _resource_spaces(problem.instance):
            if settings.stop.is_set():
                return best
            ceiling = float("inf") if best is None else best[0]
            answer = StageDp(problem, space, resources, settings, ceiling).solve()
            if answer is not None and (best is None or answer[0] < best[0]):
                best = answer
    return best


def _resource_spaces(instance: Instance) -> Iterator[ResourceSpace]:
    """All counts where that is affordable, else a few lists of GPUs."""
    cluster, rules = instance.cluster, instance.rules
    pairs = len(instance.nodes) ** 2 // 2
    if exact_size(cluster, rules) * pairs <= MAX_WORK:
        yield exact_resources(cluster, rules)
        return
    total = instance.time_s.sum(axis=1)
    groups = range(len(cluster.groups))
    by_speed = sorted(groups, key=lambda g: float(total[g]))
    orders = [by_speed, by_speed[::-1], list(groups), list(groups)[::-1]]
    for order in dict.fromkeys(tuple(x) for x in orders):
        yield listed_resources(cluster, rules, order)


def topological_orders(instance: Instance) -> list[tuple[int, ...]]:
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


def _order(
    instance: Instance, priority: Callable[[int, int], tuple[float, ...]]
) -> tuple[int, ...]:
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
