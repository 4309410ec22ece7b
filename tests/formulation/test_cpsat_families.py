"""``cpsat`` under each family of demands, against every plan that there is."""

from __future__ import annotations

import pytest
from ortools.sat.python import cp_model

from demands import FAMILIES, best_of_all, problem_with
from stagewright.formulation.cpsat.constraints import Constraints
from stagewright.formulation.cpsat.hints import Hint
from stagewright.formulation.cpsat.planner import formulate
from stagewright.formulation.cpsat.variables import Variables
from stagewright.formulation.problem import Settings
from stagewright.formulation.run import run_planner
from stagewright.model.errors import InfeasibleError
from stagewright.model.plan import Status

SETTINGS = Settings(time_limit_s=60, workers=1)
MODEL_ALONE = Settings(
    time_limit_s=60, workers=1, without=frozenset({"flat-search", "rack-search"})
)


@pytest.mark.parametrize("limits", [SETTINGS, MODEL_ALONE], ids=["all", "model alone"])
@pytest.mark.parametrize("family", FAMILIES)
def test_best_plan_under_each_family(family: str, limits: Settings) -> None:
    with_plan = 0
    for seed in range(8):
        problem = problem_with(family, seed)
        expected_s = best_of_all(problem)
        if expected_s is None:
            with pytest.raises(InfeasibleError):
                run_planner("cpsat", problem, limits)
            continue
        with_plan += 1
        planned = run_planner("cpsat", problem, limits)
        assert planned.evaluation.valid, seed
        assert planned.evaluation.period_s == pytest.approx(expected_s, rel=1e-6, abs=1e-12), seed
        assert planned.certificate.status == Status.OPTIMAL, seed
    assert with_plan


@pytest.mark.parametrize("family", FAMILIES)
def test_the_best_plan_is_a_whole_hint(family: str) -> None:
    """The model keeps every literal that the hint of a valid plan sets."""
    checked = 0
    for seed in range(8):
        problem = problem_with(family, seed)
        try:
            planned = run_planner("cpsat", problem, SETTINGS)
        except InfeasibleError:
            continue
        model = cp_model.CpModel()
        formulation, work = formulate(problem, planned.evaluation.period_s, SETTINGS)
        variables = Variables(model, formulation)
        Constraints(model, variables, formulation, work).add_constraints()
        Hint(model, variables, planned.plan).add_hints()
        solver = cp_model.CpSolver()
        solver.parameters.fix_variables_to_their_hinted_value = True
        assert solver.solve(model) == cp_model.OPTIMAL, (family, seed)
        checked += 1
    assert checked
