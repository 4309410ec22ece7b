"""The best plan that costs next to nothing to find: where every exact search begins."""

from __future__ import annotations

from stagewright.formulation.baselines import DataParallel, EqualSplit, SingleGpu
from stagewright.formulation.exact_dp import ExactDp
from stagewright.formulation.linear_dp import LinearDp
from stagewright.formulation.pipedream_dp import PipeDreamDp
from stagewright.formulation.problem import Planner, Problem, Settings
from stagewright.formulation.sparsepipe_dp import SparsePipeDp
from stagewright.model.costs import is_proportional
from stagewright.model.errors import DoesNotApply, NoPlanFound
from stagewright.model.evaluate import evaluate
from stagewright.model.plan import Plan

TIME_SHARE = 0.4
"""Part of the time limit that the fast planners may take."""

BY_HAND: tuple[Planner, ...] = (SingleGpu(), DataParallel(), EqualSplit())
SEARCHED: tuple[Planner, ...] = (LinearDp(), PipeDreamDp(), SparsePipeDp())

Start = tuple[float, Plan] | None
"""A valid plan with its period, if there is one."""


def warm_start(
    problem: Problem, settings: Settings, planners: tuple[Planner, ...] = BY_HAND + SEARCHED
) -> Start:
    """Return the best valid (period, plan) of some fast planners, or ``None``.

    Starting from all of them makes sure that no exact search ends below any of them. Products of
    shares and times are hard for CP-SAT, so under proportional dispatch ``exact-dp`` lends its
    plan too, where it applies; the bound stays CP-SAT's own.
    """
    best: Start = None
    some = settings.started(TIME_SHARE)
    exact: tuple[Planner, ...] = (ExactDp(),) if is_proportional(problem.cost_model) else ()
    for planner in (*planners, *exact):
        if some.expired and best is not None:
            break
        try:
            planner.check(problem)
            plan = planner.solve(problem, some).plan
        except (DoesNotApply, NoPlanFound):
            continue
        if plan is None:
            continue
        judged = evaluate(problem.instance, plan, problem.cost_model)
        if judged.valid and (best is None or judged.period_s < best[0]):
            best = judged.period_s, plan
            if settings.on_plan is not None:
                settings.on_plan(plan)
    return best


def better(one: Start, other: Start) -> Start:
    """Return the plan with the shorter period; the first of two that are alike."""
    if one is None or (other is not None and other[0] < one[0]):
        return other
    return one
