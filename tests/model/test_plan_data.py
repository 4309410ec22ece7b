"""Plans, certificates and ranks: small facts that everything else builds on."""

from __future__ import annotations

import dataclasses

import pytest

from builders import cluster_of, one_server, plan_of
from stagewright.model.cluster import Cluster
from stagewright.model.plan import Certificate, Status, assign_ranks, price_per_hour


def test_a_plan_knows_its_gpus_and_where_each_node_is():
    plan = plan_of(("a b", [2, 1]), ("c", [0, 1]))
    assert plan.gpu_count == 4
    assert [stage.replica_count for stage in plan.stages] == [3, 1]
    assert plan.stage_of == {"a": 0, "b": 0, "c": 1}


def with_prices(cluster: Cluster, *prices) -> Cluster:
    """The cluster with a price for each group."""
    groups = zip(cluster.groups, prices, strict=True)
    return dataclasses.replace(
        cluster, groups=tuple(dataclasses.replace(g, price_per_hour=p) for g, p in groups)
    )


def test_a_plan_costs_what_its_gpus_cost():
    cluster = with_prices(one_server({"TitanV": 2, "TitanXP": 4}), 2.5, 0.5)
    assert price_per_hour(cluster, plan_of(("a", [2, 1]), ("b", [0, 2]))) == 6.5


def test_gpus_that_are_not_used_need_no_price():
    cluster = with_prices(one_server({"TitanV": 2, "TitanXP": 4}), 2.5, None)
    assert price_per_hour(cluster, plan_of(("a", [2, 0]))) == 5.0
    assert price_per_hour(cluster, plan_of(("a", [1, 1]))) is None


@pytest.mark.parametrize(
    ("objective_s", "bound_s", "gap"),
    [
        (2.0, 1.5, 0.25),
        (2.0, 2.0, 0.0),
        (2.0, 0.0, 1.0),
        (2.0, 2.0000001, 0.0),  # a bound above the plan by rounding is no negative gap
        (0.0, 0.0, 0.0),
        (2.0, None, None),
        (None, 1.0, None),
    ],
)
def test_the_gap_is_the_share_of_the_objective_that_is_not_proven(objective_s, bound_s, gap):
    assert Certificate(Status.FEASIBLE, objective_s, bound_s, 1.0, "s").gap == gap


def test_ranks_of_one_server_run_stage_by_stage():
    plan = plan_of(("a", [2]), ("b", [1]), ("c", [3]))
    assert assign_ranks(one_server(6), plan.stages) == ((0, 1), (2,), (3, 4, 5))


def test_ranks_run_server_by_server_so_that_a_launcher_can_number_them():
    cluster = cluster_of([{"TitanV": 2, "TitanXP": 1}, {"TitanV": 3}])
    plan = plan_of(("a", [1, 0, 2]), ("b", [1, 1, 1]))
    # Server0 holds ranks 0 to 2 (stage 0: 0; stage 1: 1, 2), Server1 the rest
    assert assign_ranks(cluster, plan.stages) == ((0, 3, 4), (1, 2, 5))


def test_ranks_leave_no_gap_where_gpus_stay_idle():
    cluster = cluster_of([{"TitanV": 4}, {"TitanV": 4}])
    plan = plan_of(("a", [1, 0]), ("b", [0, 2]))
    assert assign_ranks(cluster, plan.stages) == ((0,), (1, 2))
