"""The whole model with the period as its objective."""

from __future__ import annotations

from ortools.sat.python import cp_model

from stagewright.formulation.bounds import WorkBound
from stagewright.formulation.cpsat.constraints import Constraints
from stagewright.formulation.cpsat.hints import Hint
from stagewright.formulation.cpsat.variables import Formulation, Variables
from stagewright.model.plan import Plan


def period_model(
    formulation: Formulation, work: WorkBound, start: Plan | None
) -> tuple[cp_model.CpModel, Variables]:
    """Return the model that asks for the shortest period, with ``start`` as a hint."""
    model = cp_model.CpModel()
    variables = Variables(model, formulation)
    Constraints(model, variables, formulation, work).add_constraints()
    model.minimize(variables.period)
    if start is not None:
        Hint(model, variables, start).add_hints()
    return model, variables
