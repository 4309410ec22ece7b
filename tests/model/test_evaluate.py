"""The evaluator: every figure of one plan worked out by hand."""

from __future__ import annotations

import math

import pytest
from branching_plan import PLAN, branching, branching_instance
from pytest import approx  # noqa: PT013 - it is written in every line here

from builders import chain, cluster_of, instance_of, one_server, plan_of
from stagewright.model.costs import PipeDream, SparsePipe, Topology
from stagewright.model.errors import DoesNotApply
from stagewright.model.evaluate import evaluate
from stagewright.model.rules import MemoryModel, Optimizer, Rules, Versions

# --- figures --------------------------------------------------------------------------------


def test_each_node_with_a_late_consumer_counts_once_in_each_cut_it_crosses():
    stages = evaluate(branching_instance(), PLAN, Topology()).stages
    # after stage 0: a, which b, c and e read: 1e6. After stage 1: a (for e), b, c: 1e6 + 2e6 + 3e6
    assert [s.output_bytes for s in stages] == [1e6, 6e6, 0.0]
    assert [s.input_bytes for s in stages] == [0.0, 1e6, 6e6]


def test_compute_is_the_slowest_types_time_shared_by_the_replicas():
    stages = evaluate(branching_instance(), PLAN, Topology()).stages
    # a: 3 ms. b, c: 6 ms on TitanV, 12 ms on TitanXP, / 2. d, e: 7 ms, on TitanXP 14 ms
    assert [s.compute_s for s in stages] == [approx(0.003), approx(0.006), approx(0.014)]


def test_sync_is_the_all_reduce_shared_by_the_replicas():
    stages = evaluate(branching_instance(), PLAN, Topology()).stages
    # stage 1: 2 * 1 * 2e6 / (2 * 1e9) = 2 ms, / 2
    assert [s.sync_s for s in stages] == [0.0, approx(0.001), 0.0]


def test_transfers_of_the_topology_model():
    stages = evaluate(branching_instance(), PLAN, Topology()).stages
    # 2 * 1e6 / 1e9 = 2 ms over min(1, 2) links; 2 * 6e6 / 1e9 = 12 ms over min(2, 1) links
    assert [s.input_transfer_s for s in stages] == [0.0, approx(0.002), approx(0.012)]
    assert [s.output_transfer_s for s in stages] == [approx(0.002), approx(0.012), 0.0]


def test_with_overlap_time_is_compute_and_sync_and_the_longest_counts():
    found = evaluate(branching_instance(), PLAN, Topology())
    assert [s.time_s for s in found.stages] == [approx(0.003), approx(0.007), approx(0.014)]
    assert [s.busiest_s for s in found.stages] == [approx(0.003), approx(0.012), approx(0.014)]
    assert found.period_s == approx(0.014)
    assert found.throughput_per_s == approx(1 / 0.014)


def test_without_overlap_a_stage_waits_for_its_input():
    found = evaluate(branching_instance(), PLAN, Topology(overlap=False))
    # 3; 7 + 2; 14 + 12 ms
    assert [s.time_s for s in found.stages] == [approx(0.003), approx(0.009), approx(0.026)]
    assert found.period_s == approx(0.026)


def test_a_transfer_can_be_the_period():
    found = evaluate(branching_instance(), PLAN, Topology(compression_ratio=0.5))
    assert found.period_s == approx(0.024)  # 12 ms of the second cut, twice the bytes


def test_proportional_dispatch_shortens_the_mixed_stage():
    found = evaluate(branching_instance(), PLAN, Topology(dispatch="proportional"))
    assert found.stages[1].compute_s == approx(0.004)  # 1 / (1 / 6 ms + 1 / 12 ms)


def test_transfers_of_the_sparsepipe_model():
    found = evaluate(branching_instance(), PLAN, SparsePipe(2.0))
    # 2 * 1e6 / (2 * 1e9) and 2 * 6e6 / (2 * 1e9), whatever the replicas
    assert [s.output_transfer_s for s in found.stages] == [approx(0.001), approx(0.006), 0.0]
    assert [s.input_transfer_s for s in found.stages] == [0.0, approx(0.001), approx(0.006)]


def test_transfers_of_the_pipedream_model():
    instance = instance_of(branching(), one_server(4, 1e9))
    found = evaluate(instance, plan_of(("a", [1]), ("b c", [2]), ("d e", [1])), PipeDream())
    # received: 2 * 1e6 / (1e9 * 2) = 1 ms; 2 * 6e6 / (1e9 * 1) = 12 ms
    assert [s.input_transfer_s for s in found.stages] == [0.0, approx(0.001), approx(0.012)]
    # sent: the first stage's is free; 2 * 6e6 / (1e9 * 2) = 6 ms
    assert [s.output_transfer_s for s in found.stages] == [0.0, approx(0.006), 0.0]
    assert found.period_s == approx(0.012)


def test_activations_and_parameters_are_those_of_the_planned_nodes():
    stages = evaluate(branching_instance(), PLAN, Topology()).stages
    assert [s.activation_bytes for s in stages] == [1e6, 5e6, 9e6]
    assert [s.parameter_bytes for s in stages] == [4e6, 2e6, 6e6]


def test_memory_with_weight_stashing():
    stages = evaluate(branching_instance(), PLAN, Topology()).stages
    assert [s.in_flight for s in stages] == [4, 2, 1]  # ceil(4 / 1), ceil(3 / 2), ceil(1 / 1)
    assert [s.memory_bytes for s in stages] == [
        4 * 1e6 + (4 + 1) * 4e6,
        2 * 5e6 + (2 + 1) * 2e6,
        1 * 9e6 + (1 + 1) * 6e6,
    ]


def test_memory_is_counted_as_the_rules_say():
    rules = Rules(memory=MemoryModel(Versions.TWO_BW, Optimizer.ADAM))
    stages = evaluate(branching_instance(rules), PLAN, Topology()).stages
    assert [s.memory_bytes for s in stages] == [
        4 * 1e6 + (2 + 1 + 2) * 4e6,
        2 * 5e6 + (2 + 1 + 2) * 2e6,
        1 * 9e6 + (2 + 1 + 2) * 6e6,
    ]


def test_one_stage_sends_and_receives_nothing():
    found = evaluate(branching_instance(), plan_of(("a b c d e", [1, 0])), Topology())
    (stage,) = found.stages
    assert (stage.input_transfer_s, stage.output_transfer_s, stage.output_bytes) == (0, 0, 0)
    assert found.period_s == approx(0.016)  # 3 + 4 + 2 + 6 + 1 ms


def test_a_stage_on_two_servers_is_charged_the_network():
    cluster = cluster_of([{"TitanV": 1}, {"TitanV": 1}], inside=1e9, between=1e8, latency_s=0.5)
    instance = instance_of(chain([4], parameter_bytes=1e6), cluster)
    (stage,) = evaluate(instance, plan_of(("node1", [1, 1])), Topology()).stages
    assert stage.compute_s == approx(0.002)  # 4 ms / 2
    assert stage.sync_s == approx(0.005)  # 2 * 1 * 1e6 / (2 * 1e8) = 10 ms, / 2


def test_inputs_cost_nothing_wherever_the_plan_names_them():
    named = evaluate(branching_instance(), PLAN, Topology())
    unnamed = evaluate(
        branching_instance(), plan_of(("a", [1, 0]), ("b c", [1, 1]), ("d e", [0, 1])), Topology()
    )
    assert named == unnamed


def test_layers_that_take_no_time_have_no_limit_to_throughput():
    found = evaluate(instance_of(chain([0]), one_server(1)), plan_of(("node1", [1])), Topology())
    assert (found.period_s, found.throughput_per_s) == (0.0, math.inf)


def test_a_model_that_is_not_defined_on_the_cluster_is_refused():
    with pytest.raises(DoesNotApply, match="cost model 'pipedream' is flat"):
        evaluate(branching_instance(), PLAN, PipeDream())
