"""Running a planner: its plan is evaluated, checked and set beside the baselines."""

from __future__ import annotations

from dataclasses import dataclass, replace

from stagewright.formulation.problem import Problem, Settings
from stagewright.formulation.registry import get_planner
from stagewright.formulation.tidy import tidy
from stagewright.model.document import PlanDocument, make_document
from stagewright.model.errors import (
    DisagreementError,
    DoesNotApply,
    InfeasibleError,
    NoPlanFound,
    StagewrightError,
)
from stagewright.model.evaluate import Evaluation, evaluate
from stagewright.model.plan import Certificate, Plan, Status
from stagewright.model.rule_names import rules_in_words

AGREEMENT = 1e-6
"""Largest relative difference between a planner's objective and the evaluator's period."""


@dataclass(frozen=True)
class Planned:
    """A plan and everything known about it.

    Attributes
    ----------
    evaluation
        The evaluator's verdict; :func:`run_planner` leaves violations to the caller.
    single_gpu_s, data_parallel_s
        Periods of the plans that one would make by hand; ``None`` where a rule forbids them.
    second
        What is known of the second objective, in words.
    """

    problem: Problem
    plan: Plan
    evaluation: Evaluation
    certificate: Certificate
    single_gpu_s: float | None = None
    data_parallel_s: float | None = None
    second: str = ""

    def document(self) -> PlanDocument:
        """Return the plan document."""
        baselines = self.single_gpu_s, self.data_parallel_s
        problem = self.problem
        return make_document(
            problem.instance, self.plan, problem.cost_model, self.certificate, baselines
        )


class NoPlanExists(InfeasibleError):
    """A planner's proof that there is no plan.

    :func:`stagewright.formulation.reasons.infeasible.explain_infeasible` finds out why.

    Attributes
    ----------
    problem, planner
        What was planned, and the name of who proved it.
    """

    def __init__(self, message: str, problem: Problem, planner: str) -> None:
        super().__init__(message)
        self.problem = problem
        self.planner = planner


def run_planner(name: str, problem: Problem, settings: Settings) -> Planned:
    """Run one planner and evaluate its plan.

    Raises
    ------
    DoesNotApply
        If the planner or the cost model is not defined on the instance.
    NoPlanExists
        If it is proven that there is no plan.
    NoPlanFound
        If a limit was reached first.
    DisagreementError
        If the planner's own objective is not what the evaluator finds.
    """
    planner = get_planner(name)
    settings = settings.started()
    problem.cost_model.check(problem.instance.cluster)
    try:
        planner.check(problem)
        outcome = planner.solve(problem, settings)
        if settings.tidy and outcome.plan is not None:
            tidied = tidy(planner, problem, outcome.plan, settings)
            outcome = replace(outcome, plan=tidied.plan, second=tidied.words)
        wall_s = settings.wall_s
    except DoesNotApply as error:
        raise DoesNotApply(f"planner '{name}' does not apply: {error}") from None
    if outcome.plan is None:
        if outcome.status == Status.INFEASIBLE:
            message = f"no plan exists: {outcome.reason} ({_rules(problem)})"
            raise NoPlanExists(message, problem, name)
        raise NoPlanFound(f"'{name}' found no plan: {outcome.reason}")
    evaluation = evaluate(problem.instance, outcome.plan, problem.cost_model)
    claim = outcome.objective_s
    if claim is not None and abs(claim - evaluation.period_s) > AGREEMENT * evaluation.period_s:
        raise DisagreementError(
            f"'{name}' computes a period of {claim:.9g} s for its plan, the evaluator finds "
            f"{evaluation.period_s:.9g} s; this is a bug, please report it with the inputs"
        )
    certificate = Certificate(
        status=outcome.status,
        objective_s=evaluation.period_s,
        bound_s=None if outcome.bound_s is None else min(outcome.bound_s, evaluation.period_s),
        wall_s=wall_s,
        solver=name,
    )
    return Planned(problem, outcome.plan, evaluation, certificate, second=outcome.second)


def _rules(problem: Problem) -> str:
    """Name the rules in force, as the command line spells them."""
    instance = problem.instance
    return "; ".join(rules_in_words(instance.rules, instance.cluster)) or "no rules"


def plan_with_baselines(name: str, problem: Problem, settings: Settings) -> Planned:
    """Run a planner, refuse a plan that breaks a rule, and add the baselines."""
    planned = run_planner(name, problem, settings)
    if planned.evaluation.violations:
        raise StagewrightError(
            f"the plan of '{name}' breaks a rule: {planned.evaluation.violations[0].message}. "
            "This planner does not know the rule; use --planner cpsat"
        )
    single, parallel = (_baseline(x, problem) for x in ("single-gpu", "data-parallel"))
    return replace(planned, single_gpu_s=single, data_parallel_s=parallel)


def _baseline(name: str, problem: Problem) -> float | None:
    """Period of a baseline, or ``None`` if it breaks a rule."""
    planned = run_planner(name, problem, Settings())
    return planned.evaluation.period_s if planned.evaluation.valid else None
