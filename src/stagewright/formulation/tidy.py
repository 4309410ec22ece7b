"""The second objective: among plans of one period, one with the fewest GPUs."""

from __future__ import annotations

from dataclasses import dataclass, replace

from stagewright.formulation.problem import Planner, Problem, Settings
from stagewright.model.errors import InfeasibleError, NoPlanFound
from stagewright.model.evaluate import evaluate
from stagewright.model.plan import Plan

SAME = 1 + 1e-9


@dataclass(frozen=True)
class Tidied:
    """A plan of the same period, and whether none has fewer GPUs.

    Attributes
    ----------
    proven
        Whether every plan with fewer GPUs is proven to take longer.
    """

    plan: Plan
    proven: bool

    @property
    def words(self) -> str:
        """For the output."""
        said = "proven the fewest" if self.proven else "perhaps not the fewest"
        return f"{self.plan.gpu_count} GPUs, {said} at this period"


def fewest_gpus(planner: Planner, problem: Problem, plan: Plan, settings: Settings) -> Tidied:
    """Ask for the same period with one GPU less, until that is refuted or time is over.

    ``planner`` has to know the limit on GPUs and to prove bounds.
    """
    instance = problem.instance
    limit_s = evaluate(instance, plan, problem.cost_model).period_s * SAME
    while plan.gpu_count > 1:
        if settings.expired:
            return Tidied(plan, proven=False)
        rules = replace(instance.rules, max_gpus=plan.gpu_count - 1)
        smaller = replace(problem, instance=instance.with_rules(rules))
        try:
            outcome = planner.solve(smaller, settings.started(1 / 2))
        except (InfeasibleError, NoPlanFound):
            return Tidied(plan, proven=False)
        if outcome.plan is None:
            return Tidied(plan, proven=outcome.status == "infeasible")
        found = evaluate(smaller.instance, outcome.plan, problem.cost_model)
        if not found.valid or found.period_s > limit_s:
            refuted = outcome.bound_s is not None and outcome.bound_s > limit_s
            return Tidied(plan, proven=refuted)
        plan = outcome.plan
    return Tidied(plan, proven=True)
