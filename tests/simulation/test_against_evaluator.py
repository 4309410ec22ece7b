"""The simulator beside the evaluator, which it shares no code with."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from pipelines import pipeline

from builders import cluster_of, one_server
from golden_clusters import goldens, levels, spelled
from stagewright.formulation.problem import Problem, Settings
from stagewright.formulation.run import Planned, run_planner
from stagewright.model.costs import CostModel, PipeDream, Topology
from stagewright.model.errors import DoesNotApply
from stagewright.model.evaluate import evaluate
from stagewright.model.instance import Instance
from stagewright.model.load import load_instance, read_cluster
from stagewright.model.plan import Plan
from stagewright.model.rules import Rules
from stagewright.simulation import Links, Pace, Simulation, conditions_of, simulate
from stagewright.simulation.check import TOLERANCE, check_period
from stagewright.simulation.simplifications import simplifications
from strategies import cost_models, planned

HETE_FILES = Path(__file__).parents[2] / "hete_files"
ENOUGH = Pace(slack=3)


def alone(instance: Instance, plan: Plan, cost_model: CostModel) -> Simulation:
    """A run with links of its own for every cut, and enough in flight."""
    return simulate(instance, plan, conditions_of(cost_model, Links.OWN), ENOUGH)


def told(instance: Instance, plan: Plan, cost_model: CostModel) -> tuple[str, ...]:
    conditions = conditions_of(cost_model, Links.OWN)
    return simplifications(instance.cluster, plan, conditions, cost_model.name)


def idlest(run: Simulation) -> float:
    """Part of the steady state in which even the busiest GPU or link rests."""
    gpus = [x.steady_bubble_share for x in run.gpu_figures]
    assert run.period_s
    return min([x for x in gpus if x is not None] + [1 - x.minibatch_s / run.period_s for x in run.links])


@settings(max_examples=200, suppress_health_check=[HealthCheck.filter_too_much])
@given(st.data())
def test_200_random_plans_run_as_fast_as_the_formula_says(data):
    """Every plan that no simplification bears on."""
    instance, plan = data.draw(planned(max_nodes=5, max_servers=2))
    cost_model = data.draw(cost_models(instance.cluster))
    assume(not told(instance, plan, cost_model))
    period_s = evaluate(instance, plan, cost_model).period_s
    run = alone(instance, plan, cost_model)
    assert run.period_s == pytest.approx(period_s, rel=TOLERANCE, abs=1e-12)


@settings(max_examples=100)
@given(st.data())
def test_what_differs_has_a_reason_and_could_not_run_faster(data):
    """All plans: where some GPU or link never rests, no schedule is faster on this hardware."""
    instance, plan = data.draw(planned(max_nodes=5, max_servers=2))
    cost_model = data.draw(cost_models(instance.cluster))
    period_s = evaluate(instance, plan, cost_model).period_s
    run = alone(instance, plan, cost_model)
    assume(run.period_s and period_s)
    if abs(run.period_s / period_s - 1) > TOLERANCE:
        assert told(instance, plan, cost_model)
    if conditions_of(cost_model).dispatch == "equal":
        assert idlest(run) < 0.01


@settings(max_examples=40)
@given(st.data())
def test_sharing_and_the_start_up_count_only_cost(data):
    instance, plan = data.draw(planned(max_nodes=5, max_servers=2))
    cost_model = Topology(1.0, data.draw(st.booleans()))
    period_s = evaluate(instance, plan, cost_model).period_s
    check = check_period(instance, plan, conditions_of(cost_model), "topology", period_s)
    least = check.own_s * 0.99
    assert least <= min(check.cards_s, check.ports_s, check.start_up_s)
    assert check.explained


SAMPLES = [
    ("test_server.txt", [1e8]),
    ("test_server.txt", [1e9]),
    ("titanv4_titanxp3.txt", [1e9]),
    ("titanv4_titanxp3.txt", [1e10]),
    ("two_servers.yaml", []),
]


@pytest.mark.parametrize("overlap", [True, False])
@pytest.mark.parametrize(("name", "bandwidths"), SAMPLES)
def test_best_plans_of_the_sample_clusters(name, bandwidths, overlap):
    instance = load_instance(read_cluster(HETE_FILES / name, bandwidths_bytes_per_s=bandwidths))
    cost_model = Topology(overlap=overlap)
    best = run_planner("exact-dp", Problem(instance, cost_model), Settings())
    run = alone(instance, best.plan, cost_model)
    assert run.period_s == pytest.approx(best.evaluation.period_s, rel=TOLERANCE)


def best_plan(problem: Problem) -> Planned:
    """The best plan, or the best over a few orders of the layers where there is no telling."""
    try:
        return run_planner("exact-dp", problem, Settings(time_limit_s=20))
    except DoesNotApply:
        return run_planner("linear-dp", problem, Settings(time_limit_s=20))


def check_golden(problem: Problem) -> None:
    """The formula where it is exact; elsewhere a reason, and hardware that never rests."""
    best = best_plan(problem)
    run = alone(problem.instance, best.plan, problem.cost_model)
    period_s = best.evaluation.period_s
    if not told(problem.instance, best.plan, problem.cost_model):
        assert run.period_s == pytest.approx(period_s, rel=TOLERANCE)
    assert idlest(run) < 0.01


@pytest.mark.reference
@pytest.mark.parametrize(
    "golden", goldens("sparsepipe_dp.jsonl"), ids=lambda g: f"{g['cluster']}-{g['b']}"
)
def test_best_plans_of_the_golden_clusters(golden: dict[str, Any]) -> None:
    check_golden(Problem(spelled(golden["cluster"], golden["b"]), Topology()))


LEVELS = sorted({(g["profile"], tuple(g["n"]), tuple(g["b"])) for g in goldens("pipedream_dp.jsonl")})


@pytest.mark.slow
@pytest.mark.reference
@pytest.mark.parametrize(("name", "machines", "bandwidths"), LEVELS)
def test_best_plans_of_the_golden_levels(name, machines, bandwidths):
    check_golden(Problem(levels(name, list(machines), list(bandwidths), Rules()), Topology()))


@pytest.mark.reference
def test_the_golden_clusters_are_all_there(reference: Path) -> None:
    """So that an empty parametrisation above cannot pass."""
    assert (len(goldens("sparsepipe_dp.jsonl")), len(LEVELS)) == (45, 164)


# --- each simplification, with a plan on which it matters ------------------------------------


def difference(instance: Instance, plan: Plan, cost_model: CostModel) -> float:
    """Simulated period beside the formula's, minus 1."""
    run = alone(instance, plan, cost_model)
    assert run.period_s
    return run.period_s / evaluate(instance, plan, cost_model).period_s - 1


TWO = [{"TitanV": 3}, {"TitanV": 3}]


def test_replicas_spread_unevenly_send_more_over_one_card():
    """Three of four minibatches leave server 0: 3/4 × 2 s each, where the formula says 1/2."""
    cluster = cluster_of([{"TitanV": 3}, {"TitanV": 1}, {"TitanV": 2}, {"TitanV": 2}], 1e9, 1e9)
    instance, plan = pipeline(cluster, [(0, 0), (0, 0)], [[3, 1, 0, 0], [0, 0, 2, 2]], 1e9)
    assert difference(instance, plan, Topology()) == pytest.approx(0.5)
    assert any("spread unevenly" in x for x in told(instance, plan, Topology()))


def test_stages_on_the_same_servers_send_inside_them():
    cluster = cluster_of(TWO, 1e9, 1e8)
    instance, plan = pipeline(cluster, [(1, 1), (1, 1)], [[1, 1], [1, 1]], 1e9)
    assert difference(instance, plan, Topology()) < -0.5


def test_latency_of_an_all_reduce():
    """2 replicas, 2 steps of half a round trip: 1 s a round of 4 s."""
    cluster = cluster_of(TWO, 1e9, 1e9, latency_s=1.0)
    instance, plan = pipeline(cluster, [(1, 2)], [[1, 1]], 0, 1e9)
    assert difference(instance, plan, Topology()) == pytest.approx(1 / 4)
    assert told(instance, plan, Topology()) == (
        "stage 0: latency is not charged to its all-reduce",
    )


def test_slow_links_inside_a_server_slow_a_ring_down():
    cluster = cluster_of(TWO, 1e8, 1e9)
    instance, plan = pipeline(cluster, [(0, 0)], [[2, 1]], 0, 1e9)
    assert difference(instance, plan, Topology()) == pytest.approx(9)


def test_the_first_stage_sends_for_nothing_under_pipedreams_model():
    """2 s a minibatch over its one port, of which the formula charges 1 to the two receivers."""
    instance, plan = pipeline(one_server(3, 1e9), [(0, 0), (0, 0)], [[1], [2]], 1e9)
    assert difference(instance, plan, PipeDream()) == pytest.approx(1)
    assert difference(instance, plan, Topology()) == pytest.approx(0)


def test_proportional_dispatch_cannot_share_a_round_exactly():
    """Speeds 1 : 2 in rounds of two: 6 s for each, where 2 × 2 s would do without updates."""
    cluster = one_server({"TitanV": 1, "TitanXP": 1}, 1e12)
    cost_model = Topology(dispatch="proportional")
    slower = {"TitanXP": 2.0}
    instance, plan = pipeline(cluster, [(1, 2)], [[1, 1]], 0, 1, slower=slower)
    assert difference(instance, plan, cost_model) == pytest.approx(0.5)
    instance, plan = pipeline(cluster, [(1, 2)], [[1, 1]], 0, 0, slower=slower)
    assert difference(instance, plan, cost_model) == pytest.approx(0)
