"""Why there is no plan: the fewest demands that contradict each other."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ortools.sat.python import cp_model

from stagewright.formulation.bounds import work_bound
from stagewright.formulation.cpsat.constraints import Constraints
from stagewright.formulation.cpsat.demands import demand_names
from stagewright.formulation.cpsat.planner import safe_ceiling_s
from stagewright.formulation.cpsat.stoppable import solve_until
from stagewright.formulation.cpsat.variables import Formulation, Variables
from stagewright.formulation.problem import Problem, Settings
from stagewright.formulation.rates import rates_of
from stagewright.formulation.reduced_graph import reduce_graph

SHORT_S = 5.0
"""Longest proof that a demand is not needed; one that takes longer stays named."""


def infeasible_core(problem: Problem, settings: Settings) -> tuple[str, ...]:
    """Return demands that no plan keeps together, named as in ``demand_names``.

    Without any one of them there is a plan, or the solver could not tell in time. Only the
    structure of a plan and the demands are modelled: times forbid nothing. Layers that belong
    together always do, so no answer names them.

    Returns
    -------
    tuple
        Empty if it is not proven that there is no plan.
    """
    core = _Core(problem, settings.started())
    return () if core.formulation.too_large else core.smallest()


class _Core:
    """The model in which each demand has a guard."""

    def __init__(self, problem: Problem, settings: Settings) -> None:
        instance, ceiling = problem.instance, safe_ceiling_s(problem)
        rates = rates_of(problem.cost_model, instance.cluster)
        graph = reduce_graph(instance, rates, ceiling)
        stages = min(len(graph), instance.cluster.gpu_count)
        self.formulation = Formulation(problem, graph, rates, ceiling, 0.0, stages, guarded=True)
        self._names = demand_names(instance)
        self._settings = settings

    def smallest(self) -> tuple[str, ...]:
        """Drop one demand after the other for as long as the rest stay contradictory."""
        core = self._contradiction(self._names, self._left_s)
        if core is None:
            return ()
        for name in core:
            if name in core and not self._settings.expired:
                rest = [other for other in core if other != name]
                smaller = self._contradiction(rest, min(SHORT_S, self._left_s))
                core = core if smaller is None else smaller
        return core

    @property
    def _left_s(self) -> float:
        return max(0.05, self._settings.time_limit_s - self._settings.wall_s)

    def _contradiction(self, names: Sequence[str], limit_s: float) -> tuple[str, ...] | None:
        """Return those of ``names`` that a proof of infeasibility needs; ``None`` without one."""
        model = cp_model.CpModel()
        guards = {name: model.new_bool_var(name) for name in self._names}
        variables = Variables(model, self.formulation)
        work = work_bound(self.formulation.graph, variables.cluster.counts)
        constraints = Constraints(model, variables, self.formulation, work, guards)
        constraints.add_structure()
        constraints.add_demands()
        model.add_assumptions([guards[name] for name in names])
        solver = cp_model.CpSolver()
        solver.parameters.max_time_in_seconds = limit_s
        solver.parameters.num_workers = 1  # with more, the proof names every assumption
        solver.parameters.random_seed = self._settings.seed
        status: Any = solve_until(solver, model, self._settings.stop)
        if status != cp_model.INFEASIBLE:
            return None
        needed = set(solver.sufficient_assumptions_for_infeasibility())
        found = tuple(name for name in names if guards[name].index in needed)
        return found or tuple(names)
