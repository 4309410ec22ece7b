"""The MILP, its export, and the second objective, against the exact recursion."""

from __future__ import annotations

import subprocess
import sys
import threading

import pytest
from google.protobuf import text_format
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from ortools.sat import cp_model_pb2
from ortools.sat.python import cp_model

from brute_force import best_period_s
from builders import chain, instance_of, one_server
from random_instances import COST_MODELS, instances_for, problems, small_rules
from stagewright.formulation.export import export_model
from stagewright.formulation.milp.translate import Translation
from stagewright.formulation.problem import Problem, Settings
from stagewright.formulation.registry import get_planner
from stagewright.formulation.run import run_planner
from stagewright.formulation.tidy import fewest_gpus
from stagewright.model.costs import Topology, is_proportional
from stagewright.model.errors import DoesNotApply, InfeasibleError, InputError
from stagewright.model.evaluate import evaluate
from stagewright.model.plan import Status
from stagewright.model.rules import MemoryModel, Rules

LIMITS = Settings(time_limit_s=30.0, workers=2)
APART = """
import highspy, sys
solver = highspy.Highs()
solver.setOptionValue("output_flag", False)
for name in ("mip_feasibility_tolerance", "primal_feasibility_tolerance"):
    solver.setOptionValue(name, 1e-9)
solver.setOptionValue("mip_rel_gap", 1e-8)
solver.readModel(sys.argv[1])
solver.run()
print(repr(solver.getInfo().objective_function_value))
"""


def example(gpus: int = 3, rules: Rules | None = None) -> Problem:
    """Five layers whose best plan on three GPUs is not obvious."""
    graph = chain([4, 9, 3, 7, 5], 2e6, 1e6)
    cluster = one_server(gpus, memory_bytes=40e6)
    return Problem(instance_of(graph, cluster, rules or Rules()), Topology())


@pytest.mark.parametrize("cost_model", ["topology", "sparsepipe", "pipedream"])
@settings(max_examples=6, deadline=None, phases=[Phase.generate])
@given(st.data())
def test_milp_finds_what_brute_force_finds(cost_model, data):
    instances = instances_for(cost_model, small_rules())
    problem = data.draw(problems(COST_MODELS[cost_model], instances))
    if is_proportional(problem.cost_model):
        with pytest.raises(DoesNotApply):
            run_planner("milp", problem, LIMITS)
        return
    expected_s = best_period_s(problem)
    try:
        planned = run_planner("milp", problem, LIMITS)
    except InfeasibleError:
        assert expected_s is None
        return
    assert expected_s is not None
    assert not planned.evaluation.violations
    assert planned.evaluation.period_s == pytest.approx(expected_s, rel=1e-6, abs=1e-15)
    bound_s = planned.certificate.bound_s
    assert bound_s is not None
    assert bound_s <= expected_s * (1 + 1e-9)


def test_three_planners_agree_under_memory():
    problem = example(rules=Rules(use_memory=True, memory=MemoryModel()))
    found = {
        name: run_planner(name, problem, LIMITS).evaluation.period_s
        for name in ("cpsat", "milp", "exact-dp")
    }
    assert max(found.values()) == pytest.approx(min(found.values()), rel=1e-6)


def test_an_unknown_solver_is_refused():
    with pytest.raises(InputError, match="unknown solver 'simplex'; expected highs, scip"):
        run_planner("milp", example(), Settings(solver="simplex"))


def test_stop_leaves_a_plan():
    stop = threading.Event()
    stop.set()
    planned = run_planner("milp", example(), Settings(stop=stop))
    assert planned.evaluation.valid
    assert planned.certificate.status in {Status.FEASIBLE, Status.OPTIMAL}


def test_the_exported_mps_has_our_optimum_in_another_solver(tmp_path):
    problem = example()
    path = tmp_path / "model.mps"
    path.write_bytes(export_model(problem, LIMITS, ".mps").content)
    run = subprocess.run(
        [sys.executable, "-c", APART, str(path)], capture_output=True, text=True, check=True
    )
    expected_s = run_planner("exact-dp", problem, LIMITS).evaluation.period_s
    found_s = float(run.stdout.strip().splitlines()[-1])
    assert found_s == pytest.approx(expected_s, rel=1e-6)


@pytest.mark.parametrize("suffix", [".pb", ".txtpb"])
def test_the_exported_cp_sat_model_has_our_optimum(tmp_path, suffix):
    problem = example()
    path = tmp_path / f"model{suffix}"
    path.write_bytes(export_model(problem, LIMITS, suffix).content)
    model = cp_model.CpModel()
    if suffix == ".pb":
        model.proto.CopyFrom(cp_model_pb2.CpModelProto.FromString(path.read_bytes()))
    else:
        text_format.Parse(path.read_text(), model.proto)
    solver = cp_model.CpSolver()
    solver.parameters.num_workers = 2
    assert solver.solve(model) == cp_model.OPTIMAL
    expected_s = run_planner("exact-dp", problem, LIMITS).evaluation.period_s
    assert solver.objective_value == pytest.approx(expected_s, rel=1e-6)


def test_no_format_by_that_name():
    with pytest.raises(InputError, match=r"'\.lp' is no format; expected \.mps, \.pb, \.txtpb"):
        export_model(example(), LIMITS, ".lp")


def test_products_are_not_translated():
    model = cp_model.CpModel()
    x, y, z = (model.new_int_var(0, 5, name) for name in "xyz")
    model.add_multiplication_equality(z, [x, y])
    model.minimize(z)
    with pytest.raises(DoesNotApply, match="not linear"):
        Translation(model.proto, 1.0)


def test_tidy_takes_the_fewest_gpus_of_the_same_period():
    # One layer takes 9 of 10 ms: with two GPUs the other runs beside it, and more are idle weight.
    graph = chain([0.5, 9, 0.5], 0, 1e9)
    problem = Problem(instance_of(graph, one_server(4), Rules(max_replicas=1)), Topology())
    plan = run_planner("cpsat", problem, LIMITS).plan
    tidied = fewest_gpus(get_planner("cpsat"), problem, plan, LIMITS.started())
    assert tidied.fewest
    same_s = evaluate(problem.instance, plan, problem.cost_model).period_s
    assert evaluate(problem.instance, tidied.plan, problem.cost_model).period_s == same_s
    exact = run_planner("exact-dp", problem, LIMITS).plan
    assert tidied.plan.gpu_count == exact.gpu_count
    assert "proven the fewest" in tidied.words
