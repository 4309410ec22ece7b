"""``milp``: the decisions of ``cpsat`` as a mixed-integer linear programme."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ortools.sat.python import cp_model

from stagewright.formulation.cpsat.answer import read_plan
from stagewright.formulation.cpsat.build import period_model
from stagewright.formulation.cpsat.constraints import ROUNDING_UNITS
from stagewright.formulation.cpsat.planner import PROVEN_GAP, formulate, gap_of, safe_ceiling_s
from stagewright.formulation.cpsat.variables import Formulation, Variables
from stagewright.formulation.milp.process import Answer, check_solver, solve_apart
from stagewright.formulation.milp.translate import Translation
from stagewright.formulation.problem import Outcome, Problem, Progress, Settings
from stagewright.formulation.rates import rates_of
from stagewright.formulation.warm_start import warm_start
from stagewright.model.costs import is_proportional
from stagewright.model.errors import DisagreementError, DoesNotApply, NoPlanFound
from stagewright.model.evaluate import evaluate
from stagewright.model.plan import Plan, Status

SOLVER_GAP = 1e-7
DOUBT = 2e-7
"""Part of the ceiling by which tolerances may let the solver's bound be too high."""

CUSHION = 1 + 1e-5
"""The known plan must not lie on the edge of what the tolerances allow."""

ROUNDS = 3
FAR = 0.9

Best = tuple[float, Plan]


@dataclass(frozen=True)
class Milp:
    """The model of ``cpsat``, translated; solved by HiGHS, SCIP or a licensed solver."""

    name: str = "milp"
    summary: str = "the same model as a MILP (HiGHS, SCIP, Gurobi where licensed), with proof"

    def check(self, problem: Problem) -> None:
        """Defined wherever ``cpsat`` is, but for products of shares and times."""
        rates_of(problem.cost_model, problem.instance.cluster)
        if is_proportional(problem.cost_model):
            raise DoesNotApply(
                "--dispatch proportional multiplies shares and times, which is not linear; "
                "use --planner cpsat or exact-dp"
            )

    def solve(self, problem: Problem, settings: Settings) -> Outcome:
        """Start from the fast planners' best plan, then search and prove.

        Tolerances are fractions of the ceiling on the period: where a plan far below it is
        found, the search begins anew with that plan as the ceiling.
        """
        check_solver(settings.solver)
        best = warm_start(problem, settings)
        bound_s = 0.0
        for _ in range(ROUNDS):
            ceiling = best[0] if best is not None else safe_ceiling_s(problem)
            if best is not None and ceiling <= 0:
                break
            formulation, work = formulate(problem, ceiling * CUSHION, settings)
            bound_s = max(bound_s, formulation.floor_s)
            if best is not None:
                _tell(settings, best[0], bound_s)
                done = gap_of(best[0], bound_s) <= max(settings.gap, PROVEN_GAP)
                if done or settings.expired or formulation.too_large:
                    break
            elif formulation.too_large:
                raise NoPlanFound(
                    "the cluster is too large for a search without a plan to start from"
                )
            model, variables = period_model(formulation, work, None if best is None else best[1])
            run = _Run(model, variables, settings)
            answer = run.answer()
            bound_s = max(bound_s, run.bound_s(answer))
            found = run.plan(answer, self.name)
            if found is None:
                return self._nothing(best, bound_s, answer)
            best = found if best is None or found[0] < best[0] else best
            if best[0] > FAR * ceiling:
                break
        if best is None:
            return Outcome(Status.UNKNOWN, None, reason="the limit was reached before any plan")
        return self._outcome(best, bound_s)

    def _nothing(self, best: Best | None, bound_s: float, answer: Answer) -> Outcome:
        """Conclude from a run without a plan."""
        if best is not None:
            if answer.proven:
                raise DisagreementError("the solver excludes a plan that the evaluator accepts")
            return self._outcome(best, bound_s)
        if answer.proven:
            return Outcome(Status.INFEASIBLE, None, reason="no plan satisfies all the rules")
        return Outcome(Status.UNKNOWN, None, reason="the limit was reached before any plan")

    def _outcome(self, best: Best, bound_s: float) -> Outcome:
        period, plan = best
        bound = min(bound_s, period)
        status = Status.OPTIMAL if gap_of(period, bound) <= PROVEN_GAP else Status.FEASIBLE
        return Outcome(
            status, replace(plan, planner=self.name, claimed_period_s=None), period, bound
        )


def _tell(settings: Settings, period_s: float | None, bound_s: float) -> None:
    if settings.on_progress is not None:
        settings.on_progress(Progress(settings.wall_s, period_s, bound_s))


class _Run:
    """One solve of the translated model, in units of the ceiling."""

    def __init__(self, model: cp_model.CpModel, variables: Variables, settings: Settings) -> None:
        self._model = model
        self._variables = variables
        self._settings = settings
        self._formulation: Formulation = variables.formulation
        self._translation = Translation(model.proto, 1.0)

    def answer(self) -> Answer:
        """Run the solver."""
        return solve_apart(
            self._translation.model,
            self._start(),
            self._settings,
            max(self._settings.gap, SOLVER_GAP),
            self._on_values,
        )

    def _start(self) -> list[float] | None:
        """Values of all columns for the hint; CP-SAT works out those that follow from it."""
        if not self._model.proto.solution_hint.vars:
            return None
        solver = cp_model.CpSolver()
        solver.parameters.fix_variables_to_their_hinted_value = True
        solver.parameters.num_workers = 1
        solver.parameters.max_time_in_seconds = max(
            0.05, (self._settings.time_limit_s - self._settings.wall_s) / 4
        )
        status: Any = solver.solve(self._model)
        if status not in {cp_model.OPTIMAL, cp_model.FEASIBLE}:
            return None
        values = self._translation.values(list(solver.response_proto.solution))
        return list(values.values())

    def _on_values(self, values: Sequence[float]) -> None:
        column = self._translation.columns[self._variables.period.index]
        period = values[self._variables.period.index] * column.scale
        _tell(self._settings, period * self._formulation.unit_s, self._formulation.floor_s)

    def bound_s(self, answer: Answer) -> float:
        """Seconds that no plan beats, less what rounding and tolerances may have added."""
        if answer.bound is None or answer.values is None:
            return 0.0
        rounding = ROUNDING_UNITS * self._formulation.unit_s
        return (answer.bound - DOUBT) * self._formulation.ceiling_s - rounding

    def plan(self, answer: Answer, name: str) -> Best | None:
        """Return the solver's plan with its evaluated period; ``None`` if a rule is broken."""
        if answer.values is None:
            return None
        plan = read_plan(self._variables, _reader(answer.values), name)
        problem = self._formulation.problem
        judged = evaluate(problem.instance, plan, problem.cost_model)
        return (judged.period_s, plan) if judged.valid else None


def _reader(values: Sequence[float]) -> Callable[[Any], int]:
    """Read variables, their negations and constants."""

    def read(expression: Any) -> int:
        if isinstance(expression, int):
            return expression
        index: int = expression.index
        return round(values[index]) if index >= 0 else 1 - round(values[-index - 1])

    return read
