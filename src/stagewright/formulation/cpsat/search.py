"""Running CP-SAT on the model: hint, limits, progress, interruption and reading the answer."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from ortools.sat.python import cp_model

from stagewright.formulation.assemble import with_inputs
from stagewright.formulation.bounds import WorkBound
from stagewright.formulation.cpsat.constraints import ROUNDING_UNITS, Constraints
from stagewright.formulation.cpsat.hints import Hint
from stagewright.formulation.cpsat.variables import Formulation, Linear, Variables
from stagewright.formulation.keep_activations import keep_activations
from stagewright.formulation.problem import Progress, Settings
from stagewright.model.costs import is_proportional
from stagewright.model.errors import DisagreementError
from stagewright.model.plan import Plan, Stage

POLL_S = 0.05


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
        self._model = cp_model.CpModel()
        self._variables = Variables(self._model, formulation)
        Constraints(self._model, self._variables, formulation, work).add_constraints()
        self._model.minimize(self._variables.period)
        if start is not None:
            Hint(self._model, self._variables, start[1]).add_hints()
        self._best_known = None if start is None else start[0]
        self.objective_s = float("inf")
        self.bound_s = formulation.floor_s
        self.infeasible = False
        self._answer: list[tuple[list[int], list[int], bool]] | None = None

    def run(self) -> None:
        """Solve until proven, a limit is reached, or somebody sets ``settings.stop``."""
        solver = cp_model.CpSolver()
        parameters = solver.parameters
        left = self._settings.time_limit_s - self._settings.wall_s
        parameters.max_time_in_seconds = max(0.05, left)
        parameters.num_workers = self._settings.workers
        parameters.random_seed = self._settings.seed
        parameters.relative_gap_limit = self._settings.gap
        parameters.catch_sigint_signal = False
        if is_proportional(self._formulation.problem.cost_model):
            # OR-Tools 9.14's presolve can build products of three factors, and then aborts.
            parameters.cp_model_presolve = False
        solver.best_bound_callback = self._on_bound
        status: list[Any] = []
        failures: list[BaseException] = []

        def solve() -> None:
            try:
                status.append(solver.solve(self._model, self))
            except BaseException as error:  # noqa: BLE001 - carried over to the caller's thread
                failures.append(error)

        thread = threading.Thread(target=solve, name="cp-sat", daemon=True)
        thread.start()
        while thread.is_alive():
            thread.join(POLL_S)
            if self._settings.stop.is_set():
                solver.stop_search()
        if failures:
            raise failures[0]
        if status[0] == cp_model.MODEL_INVALID:
            raise DisagreementError(f"the solver rejects the model: {self._model.validate()}")
        self.infeasible = status[0] == cp_model.INFEASIBLE
        if status[0] in {cp_model.OPTIMAL, cp_model.FEASIBLE}:
            self._read(solver.value)
            self.objective_s = solver.objective_value * self._formulation.unit_s
        if not self.infeasible:
            self._on_bound(solver.best_objective_bound)

    def on_solution_callback(self) -> None:
        """Tell about a better plan."""
        period = self.objective_value * self._formulation.unit_s
        if self._best_known is None or period < self._best_known:
            self._best_known = period
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

    def _read(self, read: Callable[[Linear], int]) -> None:
        """Keep the blocks and replicas of every slot in use, and whether it recomputes."""
        v = self._variables
        self._answer = []
        for k in v.slots:
            here = [b for b in v.blocks if read(v.upto(b, k)) > read(v.upto(b, k - 1))]
            if here:
                recompute = any(
                    does and all(read(x) for x in choice) for does, choice in v.recomputes(k)
                )
                self._answer.append((here, [read(v.count[k][g]) for g in v.groups], recompute))

    def plan(self, planner: str) -> Plan | None:
        """Return the best plan found, if any."""
        if self._answer is None:
            return None
        instance, graph = self._formulation.problem.instance, self._formulation.graph
        stages = [
            Stage(
                tuple(instance.nodes[x] for b in blocks for x in graph.blocks[b]),
                tuple(replicas),
                recompute,
            )
            for blocks, replicas, recompute in self._answer
        ]
        plan = Plan(with_inputs(instance, stages), planner)
        return keep_activations(self._formulation.problem, plan)
