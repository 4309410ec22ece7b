"""The recursion behind ``exact-dp`` and ``linear-dp``: where it takes what, and how much it is."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from brute_force import every_plan, ideals_of
from builders import chain, graph_of, instance_of, layer, one_server
from random_instances import (
    COST_MODELS,
    constrained_instances,
    instances_for,
    problems,
    small_clusters,
    small_graphs,
    small_instances,
)
from stagewright.formulation import linear_dp
from stagewright.formulation.cut_space import all_ideals, prefixes
from stagewright.formulation.orders import topological_orders
from stagewright.formulation.period_search import PeriodSearch
from stagewright.formulation.problem import Problem, Settings
from stagewright.formulation.resources import exact_resources, exact_size
from stagewright.formulation.run import run_planner
from stagewright.model.costs import Topology
from stagewright.model.errors import DoesNotApply, InfeasibleError, NoPlanFound
from stagewright.model.evaluate import evaluate
from stagewright.model.instance import Instance
from stagewright.model.placement import Kept, Placement
from stagewright.model.rules import Recompute, Rules

SETTINGS = Settings(time_limit_s=60.0, workers=1)


def best_s(problem: Problem) -> float | None:
    try:
        return run_planner("exact-dp", problem, SETTINGS).evaluation.period_s
    except InfeasibleError:
        return None


def check_linear(problem: Problem) -> None:
    """Whatever ``linear-dp`` answers keeps the rules and is no better than the best plan."""
    try:
        planned = run_planner("linear-dp", problem, SETTINGS)
    except NoPlanFound:
        return
    except DoesNotApply:
        assert problem.cost_model.name == "max-load"
        return
    least_s = best_s(problem)
    assert least_s is not None
    assert not planned.evaluation.violations
    assert planned.evaluation.period_s >= least_s * (1 - 1e-9)


@pytest.mark.parametrize("cost_model", COST_MODELS)
class TestLinearDp:
    @settings(max_examples=60)
    @given(data=st.data())
    def test_over_all_gpu_counts(self, cost_model, data):
        check_linear(
            data.draw(problems(COST_MODELS[cost_model], constrained_instances(cost_model)))
        )

    @settings(max_examples=60)
    @given(data=st.data())
    def test_over_lists_of_gpus(self, cost_model, data):
        """As on clusters that are too large for all counts."""
        problem = data.draw(problems(COST_MODELS[cost_model], constrained_instances(cost_model)))
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(linear_dp, "MAX_WORK", -1)
            check_linear(problem)


def test_linear_dp_finds_a_plan_where_layers_far_apart_belong_together():
    """No order of single layers has a1 beside c1 and a2 beside c2, cuts between them included."""
    layers = [layer(x, 10.0) for x in ("s", "a1", "a2", "b1", "b2", "c1", "c2")]
    graph = graph_of(layers, "s->a1 s->b1 s->c1 a1->a2 b1->b2 c1->c2")
    rules = Rules(placement=Placement(together=(("a1", "c1"), ("a2", "c2"))), max_replicas=1)
    planned = run_planner(
        "linear-dp", Problem(instance_of(graph, one_server(3), rules), Topology()), SETTINGS
    )
    assert not planned.evaluation.violations
    assert planned.evaluation.period_s == pytest.approx(0.03)


# --- large clusters --------------------------------------------------------------------------

LARGE = instance_of(chain([7, 1, 4, 9, 2, 6]), one_server(300))


@pytest.mark.parametrize(
    ("rules", "applies"),
    [
        (Rules(), True),
        (Rules(max_replicas=4), True),
        (Rules(max_gpus=20), True),
        (Rules(recompute=Recompute.AUTO), True),
        (Rules(placement=Placement(together=(("node1", "node2"),))), True),
        (Rules(recompute=Recompute.ALWAYS), False),
        (Rules(placement=Placement(forbidden=(("node2", (0,)),))), False),
        (Rules(placement=Placement(stage=(("node2", 1),))), False),
        (Rules(placement=Placement(kept=Kept((("node1",),), 0))), False),
    ],
)
def test_bisection_is_used_where_it_knows_the_rules(rules, applies):
    assert PeriodSearch.applies(Problem(LARGE.with_rules(rules), Topology())) == applies


@pytest.mark.parametrize(
    ("rules", "expected_s"),
    [
        (Rules(max_replicas=4), 0.009 / 4),
        (Rules(max_gpus=20), 0.029 / 20),
        (Rules(max_replicas=4, placement=Placement(together=(("node1", "node2"),))), 0.009 / 4),
        (Rules(max_replicas=2, placement=Placement(together=(("node2", "node5"),))), 0.008),
    ],
)
def test_bisection_keeps_limits_on_replicas_and_gpus(rules, expected_s):
    planned = run_planner("linear-dp", Problem(LARGE.with_rules(rules), Topology()), SETTINGS)
    assert not planned.evaluation.violations
    assert planned.evaluation.period_s == pytest.approx(expected_s, rel=1e-5)


# --- the fewest GPUs -------------------------------------------------------------------------


def test_gpus_that_do_not_help_stay_idle():
    """Replicas of the first layer cost more than they save; the others wait for it anyway."""
    graph = chain([100, 1, 1], parameter_bytes=[1e9, 0, 0])
    planned = run_planner(
        "exact-dp", Problem(instance_of(graph, one_server(5)), Topology()), SETTINGS
    )
    assert planned.evaluation.period_s == pytest.approx(0.1)
    assert planned.plan.gpu_count == 2


@settings(max_examples=25)
@given(
    problem=problems(
        COST_MODELS["topology"],
        small_instances(small_graphs(max_nodes=3), small_clusters(max_servers=2)),
    )
)
def test_no_plan_that_is_as_good_takes_fewer_gpus(problem):
    planned = run_planner("exact-dp", problem, SETTINGS)
    judged = [
        (p, evaluate(problem.instance, p, problem.cost_model)) for p in every_plan(problem.instance)
    ]
    best = min(found.period_s for _, found in judged if found.valid)
    fewest = min(plan.gpu_count for plan, found in judged if found.valid and found.period_s <= best)
    assert planned.plan.gpu_count <= fewest
    assert planned.evaluation.period_s <= best * (1 + 2e-9)


# --- cuts ------------------------------------------------------------------------------------


@settings(max_examples=60)
@given(instance=constrained_instances("topology", max_nodes=8))
def test_cuts_are_the_ideals_that_part_no_layers_that_belong_together(instance: Instance):
    expected = {
        ideal
        for ideal in ideals_of(instance)
        if all(ideal.issuperset(x) or ideal.isdisjoint(x) for x in instance.together)
    }
    space = all_ideals(instance)
    found = [frozenset(row.nonzero()[0].tolist()) for row in space.members]
    assert set(found) == expected
    assert len(found) == len(expected)
    assert space.is_chain == all(a < b for a, b in pairwise(found))
    for order in topological_orders(instance):
        line = [frozenset(row.nonzero()[0].tolist()) for row in prefixes(instance, order).members]
        assert set(line) <= expected
        assert {line[0], line[-1]} == {frozenset(), frozenset(range(len(instance.nodes)))}


@settings(max_examples=40)
@given(instance=instances_for("topology"))
def test_orders_are_topological_and_complete(instance: Instance):
    for order in topological_orders(instance):
        assert sorted(order) == list(range(len(instance.nodes)))
        assert all(order.index(u) < order.index(v) for u, v in instance.edges)


# --- how much work it is ---------------------------------------------------------------------


@settings(max_examples=60)
@given(instance=constrained_instances("topology"))
def test_the_size_is_known_before_anything_is_built(instance: Instance):
    resources = exact_resources(instance)
    assert resources.transitions <= exact_size(instance)
    rules = instance.rules
    if rules.max_gpus is None and rules.max_price_per_hour is None:
        assert resources.transitions == exact_size(instance)


def test_a_plan_to_keep_with_very_many_stages_is_refused():
    """The same cluster and graph are quickly planned without it."""
    problem = Problem(instance_of(chain([1.0] * 100), one_server(16)), Topology())
    run_planner("exact-dp", problem, SETTINGS)
    kept = Kept(tuple((f"node{i}",) for i in range(1, 90)), 60)
    placed = problem.instance.with_rules(Rules(placement=Placement(kept=kept)))
    with pytest.raises(DoesNotApply, match="too many for an exact"):
        run_planner("exact-dp", Problem(placed, Topology()), SETTINGS)
