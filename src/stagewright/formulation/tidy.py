"""The second objective: of the plans of one period, the fewest GPUs, then the least traffic."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from ortools.sat.python import cp_model

from stagewright.formulation.cpsat.answer import read_plan
from stagewright.formulation.cpsat.build import period_model
from stagewright.formulation.cpsat.planner import formulate
from stagewright.formulation.cpsat.stoppable import solve_until
from stagewright.formulation.cpsat.traffic import Traffic
from stagewright.formulation.max_load.dp_planners import is_max_load
from stagewright.formulation.problem import Planner, Problem, Settings
from stagewright.model.costs import is_proportional
from stagewright.model.errors import InfeasibleError, NoPlanFound
from stagewright.model.evaluate import evaluate
from stagewright.model.plan import Plan
from stagewright.model.traffic import server_traffic_bytes

SAME = 1 + 1e-9
CLOSE = 1e-6
"""Traffic counts as equal within this fraction: the model rounds to whole bytes."""


@dataclass(frozen=True)
class Tidied:
    """A plan of the same period, and what is proven of it.

    Attributes
    ----------
    fewest
        Whether every plan with fewer GPUs is proven to take longer.
    traffic_bytes
        Bytes per minibatch between servers; ``None`` where there is one server, or where traffic
        is not known.
    least
        Whether every plan of this period on so many GPUs is proven to move at least as much.
    """

    plan: Plan
    fewest: bool
    traffic_bytes: float | None = None
    least: bool = False

    @property
    def words(self) -> str:
        """For the output."""
        said = "proven the fewest" if self.fewest else "perhaps not the fewest"
        text = f"{self.plan.gpu_count} GPUs, {said} at this period"
        if self.traffic_bytes is None:
            return text
        said = "proven the least" if self.least else "perhaps not the least"
        return f"{text}; {self.traffic_bytes / 1e6:,.1f} MB per minibatch between servers, {said}"


def tidy(planner: Planner, problem: Problem, plan: Plan, settings: Settings) -> Tidied:
    """Keep the period and ask for the fewest GPUs, then for the least traffic between servers.

    Parameters
    ----------
    planner
        It has to know the limit on GPUs and to prove bounds.
    """
    found = fewest_gpus(planner, problem, plan, settings.started(1 / 2))
    known = not (is_max_load(problem.cost_model) or is_proportional(problem.cost_model))
    if len(problem.instance.cluster.servers) == 1 or not known:
        return found
    return least_traffic(problem, found, settings)


def fewest_gpus(planner: Planner, problem: Problem, plan: Plan, settings: Settings) -> Tidied:
    """Ask for the same period with one GPU less, until that is refuted or time is over."""
    instance = problem.instance
    limit_s = evaluate(instance, plan, problem.cost_model).period_s * SAME
    while plan.gpu_count > 1:
        if settings.expired:
            return Tidied(plan, fewest=False)
        smaller = _with_gpus(problem, plan.gpu_count - 1)
        try:
            outcome = planner.solve(smaller, settings.started(1 / 2))
        except (InfeasibleError, NoPlanFound):
            return Tidied(plan, fewest=False)
        if outcome.plan is None:
            return Tidied(plan, fewest=outcome.status == "infeasible")
        found = evaluate(smaller.instance, outcome.plan, problem.cost_model)
        if not found.valid or found.period_s > limit_s:
            refuted = outcome.bound_s is not None and outcome.bound_s > limit_s
            return Tidied(plan, fewest=refuted)
        plan = outcome.plan
    return Tidied(plan, fewest=True)


def least_traffic(problem: Problem, tidied: Tidied, settings: Settings) -> Tidied:
    """Minimise what crosses between servers, with the period and the GPUs as limits."""
    plan, cost_model = tidied.plan, problem.cost_model
    cluster = problem.instance.cluster
    judged = evaluate(problem.instance, plan, cost_model)
    now = server_traffic_bytes(cluster, plan, judged, cost_model)
    tidied = replace(tidied, traffic_bytes=now, least=now == 0)
    limit_s = judged.period_s * SAME
    limited = _with_gpus(problem, plan.gpu_count)
    if now == 0 or settings.expired or limit_s <= 0 or cost_model.compression_ratio is None:
        return tidied
    formulation, work = formulate(limited, limit_s, settings)
    if formulation.too_large_for(settings.time_limit_s - settings.wall_s):
        return tidied
    model, variables = period_model(formulation, work, plan)
    model.minimize(Traffic(model, variables).total())
    solver = cp_model.CpSolver()
    solver.parameters.max_time_in_seconds = max(0.05, settings.time_limit_s - settings.wall_s)
    solver.parameters.num_workers = settings.workers
    solver.parameters.random_seed = settings.seed
    status: Any = solve_until(solver, model, settings.stop)
    if status not in {cp_model.OPTIMAL, cp_model.FEASIBLE}:
        return tidied
    found = read_plan(variables, solver.value, plan.planner)
    judged = evaluate(limited.instance, found, cost_model)
    moved = server_traffic_bytes(cluster, found, judged, cost_model)
    if judged.valid and judged.period_s <= limit_s and moved < now:
        plan, now = found, moved
    least = status == cp_model.OPTIMAL and now <= solver.best_objective_bound * (1 + CLOSE) + 1
    return replace(tidied, plan=plan, traffic_bytes=now, least=least)


def _with_gpus(problem: Problem, most: int) -> Problem:
    rules = replace(problem.instance.rules, max_gpus=most)
    return replace(problem, instance=problem.instance.with_rules(rules))
