"""``exact-dp``: the best plan, proven by exhausting every state."""

from __future__ import annotations

from dataclasses import dataclass

from stagewright.formulation.assemble import with_inputs
from stagewright.formulation.cut_space import CutSpace, all_ideals
from stagewright.formulation.linear_dp import best_linear
from stagewright.formulation.max_load.dp_planners import is_max_load, solve_exact
from stagewright.formulation.problem import Outcome, Problem, Settings
from stagewright.formulation.rates import rates_of
from stagewright.formulation.resources import ResourceSpace, exact_resources, exact_size
from stagewright.formulation.stage_dp import StageDp
from stagewright.model.errors import DoesNotApply
from stagewright.model.plan import Plan, Status

MAX_WORK = 4_000_000_000
MAX_TRANSITIONS = 50_000_000
MAX_CELLS = 300_000_000
MAX_GPUS = 500


@dataclass(frozen=True)
class ExactDp:
    """Dynamic programme over ideals × GPU counts per group × what the next cut needs to know."""

    name: str = "exact-dp"
    summary: str = "exact dynamic programme with proof (graphs with few parallel branches)"

    def check(self, problem: Problem) -> None:
        """Refuse clusters whose GPU counts, times what the rules count, are too many."""
        if is_max_load(problem.cost_model):
            return
        transitions = exact_size(problem.instance)
        chain = len(problem.instance.nodes)
        many = problem.instance.cluster.gpu_count > MAX_GPUS
        work = transitions * chain * chain // 2
        if many or transitions > MAX_TRANSITIONS or work > MAX_WORK:
            raise DoesNotApply(
                f"the cluster has {transitions:,} ways to hand out GPUs, too many for an exact "
                "dynamic programme. Use --planner cpsat or linear-dp"
            )

    def solve(self, problem: Problem, settings: Settings) -> Outcome:
        """Return the best plan, proven."""
        if is_max_load(problem.cost_model):
            return solve_exact(problem, settings)
        instance = problem.instance
        space = all_ideals(instance)
        resources = exact_resources(instance)
        _check_work(space, resources, problem)
        # On a chain the linear recursion is this one: nothing to gain from a ceiling.
        start = None if space.is_chain else best_linear(problem, settings)
        ceiling = float("inf") if start is None else start[0]
        answer = StageDp(problem, space, resources, settings, ceiling).solve()
        if settings.expired:
            if start is None:
                return Outcome(Status.UNKNOWN, None, reason="stopped before a plan was found")
            plan = Plan(with_inputs(instance, start[1]), self.name)
            return Outcome(Status.FEASIBLE, plan, start[0])
        if answer is None:
            return Outcome(
                Status.INFEASIBLE, None, reason="no way to cut the graph and hand out the GPUs fits"
            )
        period, stages = answer
        plan = Plan(with_inputs(instance, stages), self.name)
        return Outcome(Status.OPTIMAL, plan, period, period)


def _check_work(space: CutSpace, resources: ResourceSpace, problem: Problem) -> None:
    """Refuse what would take hours, or more memory than a workstation has."""
    pairs = sum(len(space.larger(i)) for i in range(len(space)))
    rates = rates_of(problem.cost_model, problem.instance.cluster)
    replicas = {choice.replicas for choice in resources.choices}
    keys = {rates.key(x, is_first=first) for x in replicas for first in (False, True)}
    transitions, cells = resources.transitions, len(space) * len(resources.gpus) * len(keys)
    if pairs * transitions > MAX_WORK or cells > MAX_CELLS:
        raise DoesNotApply(
            f"{len(space):,} cuts and {transitions:,} ways to hand out GPUs are too many for an "
            "exact dynamic programme. Use --planner cpsat or linear-dp"
        )
