"""``cpsat`` under cost model ``max-load``."""

from __future__ import annotations

from collections.abc import Callable

from ortools.sat.python import cp_model

from stagewright.formulation.assemble import with_inputs
from stagewright.formulation.cpsat.stoppable import solve_until
from stagewright.formulation.max_load.block_graph import Floats, block_graph, nets_of, safe_load_s
from stagewright.formulation.max_load.dp_planners import (
    PROVEN_GAP,
    Found,
    best_linear,
    check_rules,
    gap_of,
    prices,
)
from stagewright.formulation.max_load.load_model import LoadBounds, LoadModel
from stagewright.formulation.problem import Outcome, Problem, Progress, Settings
from stagewright.model.errors import DisagreementError, DoesNotApply
from stagewright.model.plan import Plan, Stage, Status

NAME = "cpsat"
TIME_SHARE = 0.3
ROUNDING_UNITS = 1
MAX_SIZE = 2_000_000


def solve_cpsat(problem: Problem, settings: Settings) -> Outcome:
    """Start from the best plan along a few layer orders, then search and prove."""
    check_rules(problem)
    try:
        best = best_linear(problem, settings.started(TIME_SHARE), NAME)
    except DoesNotApply:
        best = None
    if best is not None and settings.on_plan is not None:
        settings.on_plan(best[1])
    price, floor = prices(problem)
    ceiling = safe_load_s(problem.instance, nets_of(problem)) if best is None else best[0]
    if gap_of(best, floor) > max(settings.gap, PROVEN_GAP):
        # A layer that is forbidden everywhere makes the floor as high as may be.
        search = _Search(problem, best, price, (min(floor, ceiling), ceiling), settings)
        if not search.too_large:
            search.run()
        if search.infeasible and best is None:
            return Outcome(Status.INFEASIBLE, None, reason="no plan satisfies all the rules")
        best, floor = search.best, search.bound_s
    if best is None:
        return Outcome(Status.UNKNOWN, None, reason="the limit was reached before any plan")
    load, plan = best
    status = Status.OPTIMAL if gap_of(best, floor) <= PROVEN_GAP else Status.FEASIBLE
    return Outcome(status, plan, load, min(floor, load))


class _Search(cp_model.CpSolverSolutionCallback):
    """One run of CP-SAT.

    Attributes
    ----------
    best
        Load and plan of the best plan known.
    bound_s
        Proven lower bound on the load.
    infeasible
        Whether the model is proven to have no solution.
    """

    def __init__(
        self,
        problem: Problem,
        start: Found,
        price: Floats,
        between_s: tuple[float, float],
        settings: Settings,
    ) -> None:
        super().__init__()
        self.best = start
        self.bound_s = between_s[0]
        self.infeasible = False
        self._problem, self._settings = problem, settings
        self._graph = block_graph(problem, between_s[1])
        work = (price[:, None] * self._graph.time_s).min(axis=0)
        self._bounds = LoadBounds(*between_s, price, work)
        rules, devices = problem.instance.rules, problem.instance.cluster.gpu_count
        limits = (devices, rules.max_stages, rules.max_gpus, len(self._graph))
        self._slots = min(x for x in limits if x is not None)

    @property
    def too_large(self) -> bool:
        """Whether the model would take more time and memory to build than it can repay."""
        graph = self._graph
        ends = sum(len(x) for x in graph.nets)
        return self._slots * (len(graph) + len(graph.edges) + ends) > MAX_SIZE

    def run(self) -> None:
        """Solve until proven, a limit is reached, or somebody sets ``settings.stop``."""
        self._model = LoadModel(self._problem, self._graph, self._bounds, self._slots)
        self._model.add_constraints()
        if self.best is not None:
            self._model.add_hint(self.best[1])
        solver, settings = cp_model.CpSolver(), self._settings
        solver.parameters.max_time_in_seconds = max(0.05, settings.time_limit_s - settings.wall_s)
        solver.parameters.num_workers = settings.workers
        solver.parameters.random_seed = settings.seed
        solver.parameters.relative_gap_limit = settings.gap
        solver.best_bound_callback = self._on_bound
        status = solve_until(solver, self._model.model, settings.stop, self)
        self.infeasible = status == cp_model.INFEASIBLE
        if self.infeasible and self.best is not None:
            raise DisagreementError("the solver excludes a plan that the evaluator accepts")
        if status in {cp_model.OPTIMAL, cp_model.FEASIBLE}:
            load = solver.objective_value * self._bounds.unit_s
            if self.best is None or load < self.best[0]:
                self.best = load, self._read(solver.value)
        if not self.infeasible:
            self._on_bound(solver.best_objective_bound)

    def on_solution_callback(self) -> None:
        """Tell about a better plan."""
        if self._settings.on_plan is not None:
            self._settings.on_plan(self._read(self.value))
        self._tell(self.objective_value * self._bounds.unit_s)

    def _on_bound(self, bound: float) -> None:
        """Take over a better bound; the model's rounding is taken off."""
        bound_s = (bound - ROUNDING_UNITS) * self._bounds.unit_s
        if bound_s > self.bound_s:
            self.bound_s = bound_s
            self._tell(None)

    def _tell(self, load_s: float | None) -> None:
        if self._settings.on_progress is not None:
            known = [x for x in (load_s, self.best and self.best[0]) if x is not None]
            wall_s = self._settings.wall_s
            self._settings.on_progress(Progress(wall_s, min(known, default=None), self.bound_s))

    def _read(self, value: Callable[[cp_model.LinearExprT], int]) -> Plan:
        """Return the plan that the values of the variables describe."""
        model, instance = self._model, self._problem.instance
        stages = []
        for k in model.slots:
            here = [
                b for b in model.blocks if value(model.upto(b, k)) > value(model.upto(b, k - 1))
            ]
            if here:
                nodes = tuple(instance.nodes[v] for b in here for v in self._graph.nodes[b])
                stages.append(Stage(nodes, tuple(value(x) for x in model.on[k])))
        return Plan(with_inputs(instance, stages), NAME)
