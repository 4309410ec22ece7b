"""All planners on one instance, under one evaluator; and whether the exact ones agree."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from stagewright.formulation.problem import Problem, Settings
from stagewright.formulation.registry import PLANNER_NAMES
from stagewright.formulation.run import Planned, run_planner
from stagewright.model.errors import DoesNotApply, InfeasibleError, NoPlanFound
from stagewright.model.plan import Status

AGREEMENT = 1e-6


@dataclass(frozen=True)
class Row:
    """One planner's answer, or why it has none.

    Attributes
    ----------
    planned
        ``None`` if there is no plan.
    remark
        Why there is none, or which rule the plan breaks.
    status
        As in a certificate; ``None`` if the planner does not apply.
    ratio
        Period over the best valid period of all rows.
    """

    planner: str
    planned: Planned | None
    status: Status | None
    remark: str = ""
    ratio: float | None = None

    @property
    def valid(self) -> bool:
        """Whether there is a plan that breaks no rule."""
        return self.planned is not None and self.planned.evaluation.valid


@dataclass(frozen=True)
class Comparison:
    """Rows in the order asked for, and what the cross-check found."""

    rows: tuple[Row, ...]
    disagreements: tuple[str, ...]

    @property
    def proofs(self) -> list[str]:
        """Names of the planners that proved an optimum, or that there is none."""
        proven = {Status.OPTIMAL, Status.INFEASIBLE}
        return [row.planner for row in self.rows if row.status in proven]


def compare(
    problem: Problem,
    settings: Settings,
    planners: Sequence[str] = PLANNER_NAMES,
    on_row: Callable[[str], None] | None = None,
) -> Comparison:
    """Run every planner; ``on_row`` is told each name before it runs."""
    problem.cost_model.check(problem.instance.cluster)
    rows = []
    for name in planners:
        if on_row is not None:
            on_row(name)
        rows.append(_row(name, problem, settings))
    periods = [r.planned.evaluation.period_s for r in rows if r.planned is not None and r.valid]
    best = min(periods, default=None)
    return Comparison(tuple(_with_ratio(row, best) for row in rows), tuple(_disagreements(rows)))


def comparison_data(comparison: Comparison) -> dict[str, Any]:
    """Return a comparison as plain data for JSON."""
    rows = []
    for row in comparison.rows:
        planned = row.planned
        rows.append(
            {
                "planner": row.planner,
                "period_s": None if planned is None else planned.evaluation.period_s,
                "claimed_period_s": None if planned is None else planned.plan.claimed_period_s,
                "status": row.status,
                "gap": None if planned is None else planned.certificate.gap,
                "wall_s": None if planned is None else planned.certificate.wall_s,
                "ratio": row.ratio,
                "valid": row.valid,
                "remark": row.remark,
            }
        )
    return {"rows": rows, "disagreements": list(comparison.disagreements)}


def _row(name: str, problem: Problem, settings: Settings) -> Row:
    try:
        planned = run_planner(name, problem, settings)
    except DoesNotApply as error:
        return Row(name, None, None, str(error))
    except InfeasibleError as error:
        return Row(name, None, Status.INFEASIBLE, str(error))
    except NoPlanFound as error:
        return Row(name, None, Status.UNKNOWN, str(error))
    broken = planned.evaluation.violations
    remark = f"breaks a rule: {broken[0].message}" if broken else ""
    return Row(name, planned, planned.certificate.status, remark)


def _with_ratio(row: Row, best: float | None) -> Row:
    if row.planned is None or best is None:
        return row
    period = row.planned.evaluation.period_s
    ratio = 1.0 if period == best else (period / best if best > 0 else None)
    return Row(row.planner, row.planned, row.status, row.remark, ratio)


def _disagreements(rows: Sequence[Row]) -> list[str]:
    """Compare proofs: equal optima, no plan below a bound, none where none is proven to exist."""
    found = []
    proofs = [
        r for r in rows if r.planned is not None and r.planned.certificate.bound_s is not None
    ]
    for row in rows:
        if row.status == Status.INFEASIBLE:
            found += [
                f"{row.planner} proves that there is no plan, {other.planner} has one"
                for other in rows
                if other.valid
            ]
        if row.planned is None or not row.valid:
            continue
        period = row.planned.evaluation.period_s
        for proof in proofs:
            bound = proof.planned.certificate.bound_s if proof.planned is not None else None
            if bound is not None and period < bound * (1 - AGREEMENT):
                found.append(
                    f"{proof.planner} proves that no plan is faster than {bound:.9g} s, "
                    f"{row.planner} has one of {period:.9g} s"
                )
    return found
