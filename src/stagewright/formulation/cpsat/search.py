"""Running CP-SAT on the model: hint, limits, progress, interruption and reading the answer."""

from __future__ import annotations

from dataclasses import replace

from ortools.sat.python import cp_model

from stagewright.formulation.bounds import WorkBound
from stagewright.formulation.cpsat.answer import read_plan
from stagewright.formulation.cpsat.build import period_model
from stagewright.formulation.cpsat.constraints import ROUNDING_UNITS
from stagewright.formulation.cpsat.stoppable import solve_until
from stagewright.formulation.cpsat.variables import Formulation
from stagewright.formulation.problem import Progress, Settings
from stagewright.model.costs import is_proportional
from stagewright.model.plan import Plan


class Search(cp_model.CpSolverSolutionCallback):
    """One run of CP-SAT.

    Attributes
    ----------
    objective_s
        Period of the best plan found, as the model counts it; infinite without one.
    bound_s
        Proven lower bound on the true period.
    infeasible
        Whether the model is proven to have no solution.
    """

    def __init__(
        self,
        formulation: Formulation,
        work: WorkBound,
        start: tuple[float, Plan] | None,
        settings: Settings,
    ) -> None:
        super().__init__()
        self._formulation = formulation
        self._settings = settings
        known = None if start is None else start[1]
        self._model, self._variables = period_model(formulation, work, known)
        self._best_known = None if start is None else start[0]
        self.objective_s = float("inf")
        self.bound_s = formulation.floor_s
        self.infeasible = False
        self._answer: Plan | None = None

    def run(self) -> None:
        """Solve until proven, a limit is reached, or somebody sets ``settings.stop``."""
        solver = cp_model.CpSolver()
        parameters = solver.parameters
        left = self._settings.time_limit_s - self._settings.wall_s
        parameters.max_time_in_seconds = max(0.05, left)
        parameters.num_workers = self._settings.workers
        parameters.random_seed = self._settings.seed
        parameters.relative_gap_limit = self._settings.gap
        if is_proportional(self._formulation.problem.cost_model):
            # OR-Tools 9.14's presolve can build products of three factors, and then aborts.
            parameters.cp_model_presolve = False
        solver.best_bound_callback = self._on_bound
        status = solve_until(solver, self._model, self._settings.stop, self)
        self.infeasible = status == cp_model.INFEASIBLE
        if status in {cp_model.OPTIMAL, cp_model.FEASIBLE}:
            self._answer = read_plan(self._variables, solver.value, "")
            self.objective_s = solver.objective_value * self._formulation.unit_s
        if not self.infeasible:
            self._on_bound(solver.best_objective_bound)

    def on_solution_callback(self) -> None:
        """Tell about a better plan."""
        period = self.objective_value * self._formulation.unit_s
        if self._best_known is None or period < self._best_known:
            self._best_known = period
            if self._settings.on_plan is not None:
                self._settings.on_plan(read_plan(self._variables, self.value, ""))
        self._tell()

    def _on_bound(self, bound: float) -> None:
        """Take over a better bound; the model's rounding is taken off."""
        bound_s = (bound - ROUNDING_UNITS) * self._formulation.unit_s
        if bound_s > self.bound_s:
            self.bound_s = bound_s
            self._tell()

    def _tell(self) -> None:
        if self._settings.on_progress is not None:
            wall_s = self._settings.wall_s
            self._settings.on_progress(Progress(wall_s, self._best_known, self.bound_s))

    def plan(self, planner: str) -> Plan | None:
        """Return the best plan found, if any."""
        return None if self._answer is None else replace(self._answer, planner=planner)
