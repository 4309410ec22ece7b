"""``cpsat``: the main planner."""

from __future__ import annotations

from dataclasses import dataclass, replace

from stagewright.formulation.bounds import WorkBound, period_bound_s, stage_work, work_bound
from stagewright.formulation.cpsat.search import Search
from stagewright.formulation.cpsat.variables import Formulation
from stagewright.formulation.flat_costs import FlatCosts
from stagewright.formulation.flat_search import FlatSearch
from stagewright.formulation.max_load.cpsat_planner import solve_cpsat
from stagewright.formulation.max_load.dp_planners import is_max_load
from stagewright.formulation.problem import Outcome, Problem, Progress, Settings
from stagewright.formulation.rack_search import RackSearch
from stagewright.formulation.rates import rates_of
from stagewright.formulation.reduced_graph import reduce_graph
from stagewright.formulation.warm_start import BY_HAND, SEARCHED, Start, better, warm_start
from stagewright.model.costs import is_proportional
from stagewright.model.errors import DisagreementError, NoPlanFound
from stagewright.model.evaluate import evaluate
from stagewright.model.plan import Plan, Status

PROVEN_GAP = 1e-6
TIME_SHARE = 0.3
BRACKET_SHARE = 0.7
"""Part of the time that is left for bracketing the period before the model is built."""

MANY_LITERALS = 8_000
MANY_COUNTS = 1_000
LONG_BRACKET_SHARE = 0.9
"""The same where the model has more literals for layers in stages, or GPUs times groups."""


@dataclass(frozen=True)
class CpSat:
    """Node-level CP-SAT model with warm start and proof."""

    name: str = "cpsat"
    summary: str = "constraint programming with proof, any layer graph on any cluster (default)"

    def check(self, problem: Problem) -> None:
        """Defined on every instance whose cost model has coefficients."""
        if not is_max_load(problem.cost_model):
            rates_of(problem.cost_model, problem.instance.cluster)

    def solve(self, problem: Problem, settings: Settings) -> Outcome:
        """Start from the fast planners' best plan, then search and prove."""
        if is_max_load(problem.cost_model):
            return solve_cpsat(problem, settings)
        start, floor = prepare(problem, settings)
        if start is not None and (
            start[0] <= 0
            or gap_of(start[0], floor) <= max(settings.gap, PROVEN_GAP)
            or settings.expired
        ):
            return self._outcome(start, floor)
        ceiling = start[0] if start is not None else safe_ceiling_s(problem)
        formulation, work = formulate(problem, ceiling, settings, floor)
        if start is not None:
            floor = formulation.floor_s
            if settings.on_progress is not None:
                settings.on_progress(Progress(settings.wall_s, start[0], floor))
            if (
                settings.expired
                or formulation.too_large_for(settings.time_limit_s - settings.wall_s)
                or gap_of(start[0], floor) <= max(settings.gap, PROVEN_GAP)
            ):
                return self._outcome(start, floor)
        elif formulation.too_large:
            raise NoPlanFound("the cluster is too large for a search without a plan to start from")
        search = Search(formulation, work, start, settings)
        search.run()
        return self._conclude(problem, formulation, search, start)

    def _conclude(
        self,
        problem: Problem,
        formulation: Formulation,
        search: Search,
        start: tuple[float, Plan] | None,
    ) -> Outcome:
        best = start
        found = search.plan(self.name)
        if found is not None:
            judged = evaluate(problem.instance, found, problem.cost_model)
            if judged.violations:
                message = judged.violations[0].message
                raise DisagreementError(f"the solver's plan is not valid: {message}")
            apart = abs(search.objective_s - judged.period_s)
            # With shares the solver's figure is that of the shares it happens to hold.
            if apart > 1e-6 * formulation.ceiling_s and not is_proportional(problem.cost_model):
                raise DisagreementError(
                    f"the solver claims a period of {search.objective_s:.9g} s, the evaluator "
                    f"finds {judged.period_s:.9g} s"
                )
            if best is None or judged.period_s < best[0]:
                best = judged.period_s, found
        if best is not None:
            if search.infeasible:
                raise DisagreementError("the solver excludes a plan that the evaluator accepts")
            return self._outcome(best, max(search.bound_s, formulation.floor_s))
        if search.infeasible:
            return Outcome(Status.INFEASIBLE, None, reason="no plan satisfies all the rules")
        return Outcome(Status.UNKNOWN, None, reason="the limit was reached before any plan")

    def _outcome(self, best: tuple[float, Plan], bound_s: float) -> Outcome:
        period, plan = best
        bound = min(bound_s, period)
        status = Status.OPTIMAL if gap_of(period, bound) <= PROVEN_GAP else Status.FEASIBLE
        plan = replace(plan, planner=self.name, claimed_period_s=None)
        return Outcome(status, plan, period, bound)


def prepare(problem: Problem, settings: Settings) -> tuple[Start, float]:
    """Return the best plan known before any solver runs, and a proven lower bound.

    Where the bracket around the period closes, nobody can do better; else the other planners have
    their say, so that ``cpsat`` never answers worse than any of them.
    """
    start = warm_start(problem, settings, BY_HAND)
    ceiling = safe_ceiling_s(problem) if start is None else start[0]
    floor = 0.0
    search = _bracket(problem, settings.started(_bracket_share(problem)), ceiling)
    if search is not None and ceiling > 0:
        search.run()
        floor = search.bound_s
        if search.stages is not None:
            start = search.period_s, Plan(search.stages, "bracket")
    if start is not None and floor >= start[0] * (1 - max(settings.gap, PROVEN_GAP)):
        return start, floor
    if "warm-start" not in settings.without:
        start = better(start, warm_start(problem, settings, SEARCHED))
    return start, floor


def _bracket(
    problem: Problem, settings: Settings, ceiling_s: float
) -> FlatSearch | RackSearch | None:
    """The search that brackets the least period of such a cluster, if there is one."""
    if FlatCosts.apply(problem) and "flat-search" not in settings.without:
        return FlatSearch(problem, settings, ceiling_s, 0.0)
    if "rack-search" not in settings.without and RackSearch.applies(problem):
        return RackSearch(problem, settings, ceiling_s, 0.0)
    return None


def _bracket_share(problem: Problem) -> float:
    """Part of the time for the bracket: nearly all where the model would be hopelessly large."""
    instance = problem.instance
    cluster = instance.cluster
    literals = min(len(instance.nodes), cluster.gpu_count) * len(instance.nodes)
    hopeless = literals > MANY_LITERALS or cluster.gpu_count * len(cluster.groups) > MANY_COUNTS
    return LONG_BRACKET_SHARE if hopeless else BRACKET_SHARE


def gap_of(period_s: float, bound_s: float) -> float:
    """Return how far a plan can be from the best, as a fraction of its period."""
    return 0.0 if period_s <= 0 else max(0.0, (period_s - bound_s) / period_s)


def safe_ceiling_s(problem: Problem) -> float:
    """Return a period that no plan exceeds: everything slow, nothing shared."""
    instance = problem.instance
    cluster = instance.cluster
    beta = float(cluster.bandwidth.min())
    rates = rates_of(problem.cost_model, cluster)
    compute = float((instance.time_s + instance.forward_s).sum(axis=1).max())
    reduce = 2 * float(instance.parameter_bytes.sum()) / beta
    transfer = rates.round_trip * float(instance.activation_bytes.sum()) / beta
    return (compute + reduce + transfer + float(cluster.latency.max())) or 1.0


def formulate(
    problem: Problem, ceiling_s: float, settings: Settings, floor_s: float = 0.0
) -> tuple[Formulation, WorkBound]:
    """Reduce the graph and bound the period, given that a plan of ``ceiling_s`` is known."""
    instance = problem.instance
    rates = rates_of(problem.cost_model, instance.cluster)
    contract = "contraction" not in settings.without
    graph = reduce_graph(instance, rates, ceiling_s if contract else float("inf"))
    work = work_bound(graph, instance.cluster.counts)
    mixed = is_proportional(problem.cost_model)
    bound_settings = settings.started(TIME_SHARE)
    floor = max(floor_s, float(work.work.sum()) * (1 - 1e-12))
    if "bounds" not in settings.without:
        price = work.price
        bound = period_bound_s(instance, rates, price, ceiling_s, bound_settings, mixed=mixed)
        floor = max(floor, bound)
    floor = min(floor, ceiling_s)
    stronger = stage_work(graph, rates, work.price, ceiling_s, mixed=mixed)
    if stronger is not None:
        work = WorkBound(work.price, stronger)
    limits = (instance.rules.max_stages, instance.rules.max_gpus)
    stages = min(len(graph), instance.cluster.gpu_count, *(x for x in limits if x is not None))
    return Formulation(problem, graph, rates, ceiling_s, floor, stages), work
