"""``exact-dp`` and ``linear-dp`` under cost model ``max-load``."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from stagewright.formulation.assemble import with_inputs
from stagewright.formulation.bounds import work_bound
from stagewright.formulation.max_load.block_graph import (
    BlockGraph,
    Floats,
    block_graph,
    nets_of,
    safe_load_s,
)
from stagewright.formulation.max_load.ideals import IdealSpace, every_ideal, prefixes
from stagewright.formulation.max_load.load_dp import LoadDp, device_counts
from stagewright.formulation.orders import unit_orders
from stagewright.formulation.problem import Outcome, Problem, Progress, Settings
from stagewright.formulation.units import Units
from stagewright.model.costs import CostModel
from stagewright.model.errors import DoesNotApply
from stagewright.model.max_load import MaxLoad
from stagewright.model.plan import Plan, Status
from stagewright.model.rules import Recompute

FIRST_STEP = 2**-8
PROVEN_GAP = 1e-6

Found = tuple[float, Plan] | None


def is_max_load(cost_model: CostModel) -> bool:
    """Whether plans are judged by their maximal load."""
    return isinstance(cost_model, MaxLoad)


def check_rules(problem: Problem) -> None:
    """Raise :class:`DoesNotApply` for rules that the ``max-load`` planners do not know."""
    rules = problem.instance.rules
    unknown = {
        "pinned layers": rules.placement.stage,
        "a limit on moved layers": rules.placement.kept is not None,
        "recomputation": rules.recompute is not Recompute.NEVER,
    }
    for what, wanted in unknown.items():
        if wanted:
            raise DoesNotApply(f"under cost model 'max-load' no planner knows {what}")


def prices(problem: Problem) -> tuple[Floats, float]:
    """Return prices of the groups' time, and the least load that they prove."""
    counts = problem.instance.cluster.counts
    bound = work_bound(block_graph(problem, np.inf), counts)
    return bound.price, float(bound.work.sum()) * (1 - 1e-12)


def solve_linear(problem: Problem, settings: Settings) -> Outcome:
    """Return the best plan along a few topological orders."""
    check_rules(problem)
    best = best_linear(problem, settings)
    if best is None:
        return Outcome(Status.UNKNOWN, None, reason="no plan along the layer orders tried")
    load, plan = best
    return Outcome(Status.FEASIBLE, plan, load)


def best_linear(problem: Problem, settings: Settings, name: str = "linear-dp") -> Found:
    """Return the best (load, plan) along a few topological orders."""
    graph = block_graph(problem, np.inf)
    price, _ = prices(problem)
    ceiling = safe_load_s(problem.instance, nets_of(problem))
    best: Found = None
    for order in _orders(graph):
        if settings.expired:
            break
        found = _along(problem, prefixes(graph, order), price, ceiling, settings, name)
        if found is not None and (best is None or found[0] < best[0]):
            best, ceiling = found, found[0]
    return best


def solve_exact(problem: Problem, settings: Settings) -> Outcome:
    """Return the best plan, proven.

    Ceilings rise from the least load that the work needs: below each there is no plan, or the
    recursion finds the best one. A low ceiling leaves few cuts to look at.
    """
    check_rules(problem)
    price, bound = prices(problem)
    best = best_linear(problem, settings, "exact-dp")
    top = safe_load_s(problem.instance, nets_of(problem)) if best is None else best[0]
    for ceiling in _ladder(bound, top):
        if gap_of(best, bound) <= settings.gap:
            break
        space = every_ideal(block_graph(problem, ceiling))
        found = _along(problem, space, price, ceiling, settings, "exact-dp")
        if found is None and settings.expired:
            break
        if found is not None:
            best = found if best is None or found[0] < best[0] else best
            bound = min(found[0], best[0])
            break
        bound = ceiling
        if settings.on_progress is not None:
            settings.on_progress(Progress(settings.wall_s, _load(best), bound))
    else:
        if best is None:
            return Outcome(Status.INFEASIBLE, None, reason="no way to cut the graph fits")
    if best is None:
        return Outcome(Status.UNKNOWN, None, reason="stopped before a plan was found")
    period, plan = best
    bound = min(bound, period)
    status = Status.OPTIMAL if gap_of(best, bound) <= PROVEN_GAP else Status.FEASIBLE
    return Outcome(status, plan, period, bound)


def _ladder(bound_s: float, top_s: float) -> Iterator[float]:
    """Yield ceilings from just above the bound to the top, in steps that double."""
    step = FIRST_STEP
    while bound_s > 0 and bound_s * (1 + step) < top_s:
        yield bound_s * (1 + step)
        step *= 2
    yield top_s


def _load(best: Found) -> float | None:
    return None if best is None else best[0]


def gap_of(best: Found, bound_s: float) -> float:
    """Return how far a plan can be from the best, as a fraction of its load."""
    if best is None:
        return float("inf")
    return max(0.0, (best[0] - bound_s) / best[0]) if best[0] > 0 else 0.0


def _along(
    problem: Problem,
    space: IdealSpace,
    price: Floats,
    ceiling_s: float,
    settings: Settings,
    name: str,
) -> Found:
    """Run the recursion over a space of cuts."""
    answer = LoadDp(problem, space, device_counts(problem), price, ceiling_s, settings).solve()
    if answer is None:
        return None
    return answer[0], Plan(with_inputs(problem.instance, answer[1]), name)


def _orders(graph: BlockGraph) -> list[tuple[int, ...]]:
    """Topological orders of the blocks; the seconds of a net are charged to its first block."""
    handed_on = np.zeros(len(graph))
    for ends, seconds in graph.nets.items():
        handed_on[ends[0]] += seconds
    units = Units(graph.nodes, graph.producers, graph.consumers)
    return unit_orders(units, handed_on.tolist())
