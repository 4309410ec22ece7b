"""The second objective against every plan of the best period."""

from __future__ import annotations

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from brute_force import every_plan
from builders import chain, cluster_of, instance_of, plan_of
from random_instances import instances_for, problems, ratios
from stagewright.formulation.problem import Problem, Settings
from stagewright.formulation.registry import get_planner
from stagewright.formulation.run import run_planner
from stagewright.formulation.tidy import SAME, tidy
from stagewright.model.costs import Topology
from stagewright.model.evaluate import evaluate
from stagewright.model.traffic import server_traffic_bytes

LIMITS = Settings(time_limit_s=60.0, workers=1)


def traffic(problem: Problem, plan) -> float:
    judged = evaluate(problem.instance, plan, problem.cost_model)
    return server_traffic_bytes(problem.instance.cluster, plan, judged, problem.cost_model)


@pytest.fixture
def two_servers() -> Problem:
    """Three layers of 1 MB activations and 3 MB parameters; two servers of two GPUs."""
    cluster = cluster_of([{"V": 2}, {"V": 2}], inside=[1e9, 1e9])
    return Problem(instance_of(chain([1, 1, 1], 1e6, 3e6), cluster), Topology())


def test_traffic_of_a_cut_between_servers(two_servers):
    apart = plan_of(("node1", [1, 0]), ("node2 node3", [0, 1]))
    assert traffic(two_servers, apart) == 2e6
    inside = plan_of(("node1", [1, 0]), ("node2 node3", [1, 0]))
    assert traffic(two_servers, inside) == 0
    squeezed = Problem(two_servers.instance, Topology(4.0))
    assert traffic(squeezed, apart) == 0.5e6


def test_traffic_of_a_stage_on_two_servers(two_servers):
    """Two of four links of the ring cross; each carries 3/2 P in four minibatches."""
    everywhere = plan_of(("node1 node2 node3", [2, 2]))
    assert traffic(two_servers, everywhere) == pytest.approx(2 * 1.5 * 9e6 / 4)
    same_servers = plan_of(("node1", [1, 1]), ("node2 node3", [1, 1]))
    assert traffic(two_servers, same_servers) == pytest.approx(2e6 + 2 * 9e6 / 2)


def test_the_plan_moves_into_one_server():
    """Any two GPUs keep the period; only two of one server move nothing."""
    cluster = cluster_of([{"V": 2}, {"V": 2}], inside=[1e9, 1e9])
    problem = Problem(instance_of(chain([5, 5], 1.0), cluster), Topology())
    plan = plan_of(("node1", [1, 0]), ("node2", [0, 1]))
    found = tidy(get_planner("cpsat"), problem, plan, LIMITS.started())
    assert (found.plan.gpu_count, found.fewest) == (2, True)
    assert (found.traffic_bytes, found.least) == (0, True)
    assert found.words == (
        "2 GPUs, proven the fewest at this period; 0.0 MB per minibatch between servers, "
        "proven the least"
    )


@settings(max_examples=8)
@given(
    problem=problems(
        st.builds(Topology, ratios.filter(lambda ratio: ratio is not None)),
        instances_for("topology"),
    )
)
def test_no_plan_of_the_period_has_fewer_gpus_or_less_traffic(problem):
    cluster = problem.instance.cluster
    assume(len(cluster.servers) > 1 and len(problem.instance.nodes) <= 4)
    planned = run_planner("cpsat", problem, LIMITS)
    found = tidy(get_planner("cpsat"), problem, planned.plan, LIMITS.started())
    limit_s = planned.evaluation.period_s * SAME
    alike = [
        (plan.gpu_count, traffic(problem, plan))
        for plan in every_plan(problem.instance)
        if (judged := evaluate(problem.instance, plan, problem.cost_model)).valid
        and judged.period_s <= limit_s
    ]
    fewest, least = min(alike)
    assert found.plan.gpu_count == fewest
    assert found.traffic_bytes == pytest.approx(least, rel=1e-6, abs=1)
    if limit_s > 0:
        assert found.fewest
        assert found.least
