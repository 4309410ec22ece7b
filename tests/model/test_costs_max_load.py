"""Cost model ``max-load``: what a stage shares with others, and what the figures say of it."""

from __future__ import annotations

import dataclasses

import pytest

from builders import chain, cluster_of, diamond, error_text, instance_of, one_server, plan_of
from stagewright.model.costs import MaxLoad, Topology, make_cost_model
from stagewright.model.errors import DoesNotApply
from stagewright.model.evaluate import Kind, evaluate
from stagewright.model.instance import Instance
from stagewright.model.max_load import HOST
from stagewright.model.rules import MemoryModel, Rules, Versions
from stagewright.model.tensors import TimedTensor


def on_two(graph, ratio=1.0, **options):
    """Load, received and sent seconds of each stage with one device each, at 1000 bytes/s."""
    instance = instance_of(graph, one_server(4, 1000.0))
    plan = plan_of(*[(nodes, [1]) for nodes in options["stages"]])
    judged = evaluate(instance, plan, MaxLoad(ratio))
    assert judged.valid
    assert judged.period_s == max(s.time_s for s in judged.stages)
    return [(s.time_s, s.input_transfer_s, s.output_transfer_s) for s in judged.stages]


def test_both_sides_pay_for_activation_and_gradient():
    """A/(ρβ) = 100/(2·1000) s forward and as much back, on top of 1 s and 2 s."""
    found = on_two(chain([1000, 2000], 100.0), 2.0, stages=["node1", "node2"])
    assert found == [pytest.approx((1.1, 0.05, 0.05)), pytest.approx((2.1, 0.05, 0.05))]


def test_an_activation_counts_once_for_each_stage_that_shares_it():
    """node1's goes to two stages and costs the first once; node2's and node3's meet in the last."""
    graph = diamond([0, 0, 0, 0], [100.0, 10.0, 1.0, 0.0])
    stages = ["node1", "node2", "node3", "node4"]
    received = [x[1] for x in on_two(graph, stages=stages)]
    assert received == pytest.approx([0.1, 0.11, 0.101, 0.011])


def test_a_tensor_that_passes_by_costs_nothing():
    graph = dataclasses.replace(chain([0, 0, 0], [100.0, 0.0, 0.0]), edges=(("node1", "node3"),))
    loads = [x[0] for x in on_two(graph, stages=["node1", "node2", "node3"])]
    assert loads == pytest.approx([0.2, 0.0, 0.2])


def test_no_ratio_means_no_transfers():
    assert on_two(chain([1, 2], 100.0), None, stages=["node1", "node2"]) == [
        (0.001, 0.0, 0.0),
        (0.002, 0.0, 0.0),
    ]


def test_the_host_does_not_pay():
    instance = instance_of(chain([1000, 1000], 100.0), one_server({"TitanV": 1, HOST: 1}, 1000.0))
    judged = evaluate(instance, plan_of(("node1", [1, 0]), ("node2", [0, 1])), MaxLoad())
    assert [s.time_s for s in judged.stages] == pytest.approx([1.2, 1.0])


def with_tensors(*tensors: tuple[str, tuple[str, ...], float]) -> Instance:
    instance = instance_of(chain([0, 0, 0]), one_server(3))
    stated = tuple(TimedTensor(*tensor) for tensor in tensors)
    return dataclasses.replace(instance, tensors=stated)


def test_stated_tensors_go_either_way():
    """1 s from node1 to both others, 10 s from node3 back to node2, 100 s inside the last stage."""
    instance = with_tensors(
        ("node1", ("node2", "node3"), 1.0),
        ("node3", ("node2",), 10.0),
        ("node3", ("node1",), 100.0),
    )
    plan = plan_of(("node1", [1]), ("node2", [1]), ("node3", [1]))
    stages = evaluate(instance, plan, MaxLoad()).stages
    assert [(s.input_transfer_s, s.output_transfer_s) for s in stages] == [
        (100.0, 1.0),
        (11.0, 0.0),
        (1.0, 110.0),
    ]


def test_only_max_load_knows_stated_tensors():
    instance = with_tensors(("node1", ("node2",), 1.0))
    with pytest.raises(DoesNotApply, match="use --cost-model max-load"):
        evaluate(instance, plan_of(("node1 node2 node3", [1])), Topology())


@pytest.mark.parametrize(
    ("tensor", "message"),
    [
        (("node1", ("node9",), 1.0), "a tensor of 'node1' names 'node9', which is not a layer"),
        (("node1", (), 1.0), "a tensor of 'node1' has no reader"),
        (("node1", ("node2",), -1.0), "takes -1.0 s to transfer"),
        (("node1", ("node2",), float("nan")), "takes nan s to transfer"),
    ],
)
def test_wrong_tensors(tensor, message):
    assert message in error_text(lambda: with_tensors(tensor))


def test_a_stage_is_one_device():
    instance = instance_of(chain([1, 1]), one_server(3))
    judged = evaluate(instance, plan_of(("node1", [2]), ("node2", [1])), MaxLoad())
    assert [(v.kind, v.stage) for v in judged.violations] == [(Kind.REPLICATED, 0)]
    assert "under cost model 'max-load' a stage is one device" in judged.violations[0].message


def test_one_server_only():
    with pytest.raises(DoesNotApply, match="2"):
        MaxLoad().check(cluster_of([{"TitanV": 1}, {"TitanV": 1}]))


def test_by_name():
    assert make_cost_model("max-load", compression_ratio=2.0) == MaxLoad(2.0)


def test_sizes_once():
    """3 minibatches in flight change nothing."""
    rules = Rules(use_memory=True, memory=MemoryModel(Versions.ONCE))
    graph = chain([1, 1, 1], 5.0, 7.0)
    instance = instance_of(graph, one_server(3, memory_bytes=11.0), rules)
    judged = evaluate(instance, plan_of(("node1", [1]), ("node2", [1]), ("node3", [1])), MaxLoad())
    assert [s.memory_bytes for s in judged.stages] == [12.0, 12.0, 12.0]
    assert "1 × 0.00 GB of activations" in judged.violations[0].message
    assert [v.kind for v in judged.violations] == [Kind.MEMORY] * 3
