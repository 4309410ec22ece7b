"""The bracket on servers of unlike GPUs, against exhaustive search."""

from __future__ import annotations

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from brute_force import best_period_s
from random_instances import COST_MODELS, instances_for, problems, small_rules
from stagewright.formulation import rack_search
from stagewright.formulation.cells import Cell, cells_by_class
from stagewright.formulation.problem import Problem, Settings
from stagewright.formulation.rack_search import RackSearch
from stagewright.formulation.stage_columns import Columns
from stagewright.model.cluster import Cluster
from stagewright.model.evaluate import evaluate
from stagewright.model.plan import Plan

MIXED = ("topology", "sparsepipe")


def bracket(problem: Problem, expected_s: float) -> RackSearch:
    """The bracket below a ceiling well above the optimum."""
    limits = Settings(time_limit_s=5.0, workers=1).started()
    search = RackSearch(problem, limits, 4 * expected_s + 1e-12, 0.0)
    search.run()
    return search


def uniform(cluster: Cluster) -> bool:
    """Whether all links between servers are alike, and no faster than any inside one."""
    servers = range(len(cluster.servers))
    between = {
        (cluster.bandwidth_bytes_per_s[s][t], cluster.latency_s[s][t])
        for s in servers
        for t in servers
        if s != t
    }
    inside = [(cluster.bandwidth_bytes_per_s[s][s], cluster.latency_s[s][s]) for s in servers]
    if not between:
        return True
    ((beta, latency), *others) = between
    return not others and all(b >= beta and x <= latency for b, x in inside)


@pytest.mark.parametrize("cost_model", MIXED)
class TestBracket:
    @settings(max_examples=20, deadline=None, phases=[Phase.generate])
    @given(st.data())
    def test_holds_the_optimum(self, cost_model, data):
        problem = data.draw(problems(COST_MODELS[cost_model], instances_for(cost_model)))
        if not Columns.apply(problem):
            return
        expected_s = best_period_s(problem)
        assert expected_s is not None
        found = bracket(problem, expected_s)
        assert found.bound_s <= expected_s * (1 + 1e-9)
        if found.stages is not None:
            judged = evaluate(problem.instance, Plan(found.stages, "test"), problem.cost_model)
            assert judged.valid
            assert judged.period_s == pytest.approx(found.period_s, rel=1e-12)
        if problem.cost_model.overlap and uniform(problem.instance.cluster) and expected_s > 1e-9:
            assert found.period_s == pytest.approx(expected_s, rel=1e-6)
            assert found.bound_s == pytest.approx(expected_s, rel=2e-6)

    @settings(max_examples=20, deadline=None)
    @given(st.data())
    def test_no_rule_makes_the_bound_wrong(self, cost_model, data):
        instances = instances_for(cost_model, small_rules())
        problem = data.draw(problems(COST_MODELS[cost_model], instances))
        if not Columns.apply(problem):
            return
        expected_s = best_period_s(problem)
        if expected_s is not None:
            assert bracket(problem, expected_s).bound_s <= expected_s * (1 + 1e-9)


def by_class_only(columns: Columns, usages: int) -> list[list[Cell]]:
    return [cells_by_class(columns)]


@pytest.mark.parametrize(
    ("name", "value"),
    [("MOST_NUMBERS", 0), ("finest_first", by_class_only)],
    ids=["model", "hints"],
)
@settings(max_examples=20, deadline=None)
@given(data=st.data())
def test_holds_the_optimum_where_servers_are_taken_by_class(name, value, data):
    """Without a grid the model over classes has to do; with one over classes, its hints."""
    problem = data.draw(problems(COST_MODELS["topology"], instances_for("topology")))
    if not Columns.apply(problem):
        return
    expected_s = best_period_s(problem)
    assert expected_s is not None
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rack_search, name, value)
        found = bracket(problem, expected_s)
    assert found.bound_s <= expected_s * (1 + 1e-9)
    if problem.cost_model.overlap and uniform(problem.instance.cluster) and expected_s > 1e-9:
        assert found.period_s == pytest.approx(expected_s, rel=1e-6)
