"""``linear-dp``: the stage recursion over a few topological orders.

Restricting the cuts to prefixes of one order makes the recursion small on any graph; on a chain
nothing is lost. It gives ``cpsat`` its warm start and everybody a fast upper bound. Where the
counts of all groups are too many, GPUs are taken from a few fixed lists instead.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

from stagewright.formulation.assemble import with_inputs
from stagewright.formulation.cut_space import CutSpace, prefixes
from stagewright.formulation.max_load.dp_planners import is_max_load, solve_linear
from stagewright.formulation.orders import topological_orders
from stagewright.formulation.period_search import PeriodSearch
from stagewright.formulation.problem import Outcome, Problem, Settings
from stagewright.formulation.resources import (
    exact_resources,
    exact_size,
    listed_resources,
)
from stagewright.formulation.stage_dp import StageDp
from stagewright.model.instance import Instance
from stagewright.model.plan import Plan, Stage, Status

MAX_WORK = 30_000_000
MAX_COUNTED_GPUS = 200


@dataclass(frozen=True)
class LinearDp:
    """The stage recursion over prefixes of a few topological orders."""

    name: str = "linear-dp"
    summary: str = "fast dynamic programme over a few layer orders (any graph, no proof)"

    def check(self, problem: Problem) -> None:
        """Defined on every instance."""

    def solve(self, problem: Problem, settings: Settings) -> Outcome:
        """Return the best plan over all orders tried."""
        if is_max_load(problem.cost_model):
            return solve_linear(problem, settings)
        best = best_linear(problem, settings)
        if best is None:
            return Outcome(Status.UNKNOWN, None, reason="no plan along the layer orders tried")
        period, stages = best
        plan = Plan(with_inputs(problem.instance, stages), self.name)
        return Outcome(Status.FEASIBLE, plan, period)


Found = tuple[float, tuple[Stage, ...]] | None


def best_linear(problem: Problem, settings: Settings) -> Found:
    """Return the best (period, stages) over the orders tried; stages without inputs.

    Each answer is the ceiling of the next search, which spares most of its work.
    """
    best: Found = None
    for order in topological_orders(problem.instance):
        for search in _searches(problem, prefixes(problem.instance, order), settings):
            if settings.expired:
                return best
            answer = search(float("inf") if best is None else best[0])
            if answer is not None and (best is None or answer[0] < best[0]):
                best = answer
    return best


def _searches(
    problem: Problem, space: CutSpace, settings: Settings
) -> Iterator[Callable[[float], Found]]:
    """Searches along one order, from a ceiling to an answer below it.

    One over all GPU counts where that is affordable, else one over each of a few lists of GPUs.
    """
    instance = problem.instance
    affordable = exact_size(instance) * len(space) ** 2 // 2 <= MAX_WORK
    if affordable and instance.cluster.gpu_count <= MAX_COUNTED_GPUS:
        resources = exact_resources(instance)

        def full(ceiling_s: float) -> Found:
            return StageDp(problem, space, resources, settings, ceiling_s).solve()

        yield full
        return
    for groups in _lists(instance):
        if PeriodSearch.applies(problem):
            yield PeriodSearch(problem, space, groups, settings).solve
        else:
            yield partial(_listed, problem, space, settings, groups)


def _listed(
    problem: Problem, space: CutSpace, settings: Settings, groups: Sequence[int], ceiling_s: float
) -> Found:
    resources = listed_resources(problem.instance, groups)
    return StageDp(problem, space, resources, settings, ceiling_s).solve()


def _lists(instance: Instance) -> list[tuple[int, ...]]:
    """Orders in which to hand out the groups: by speed, and server by server, both ways."""
    total = instance.time_s.sum(axis=1)
    groups = range(len(instance.cluster.groups))
    by_speed = sorted(groups, key=lambda g: float(total[g]))
    orders = [by_speed, by_speed[::-1], list(groups), list(groups)[::-1]]
    return list(dict.fromkeys(tuple(x) for x in orders))
