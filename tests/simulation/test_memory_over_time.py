"""Memory over time, and its peak beside what the memory model says."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pipelines import pipeline

from builders import one_server
from stagewright.model.costs import Topology
from stagewright.model.evaluate import evaluate
from stagewright.model.plan import Plan, Stage
from stagewright.model.rules import MemoryModel, Optimizer, Rules, Versions
from stagewright.simulation import Conditions, Order, Pace, simulate
from strategies import instances

FREE = Conditions(compression_ratio=None)
GROUP = Pace(Order.FLUSH, group=8)


@st.composite
def straight_pipelines(draw: st.DrawFn):
    """A plan with one GPU a stage, under any way to count memory."""
    instance = draw(instances(max_nodes=6, max_servers=2))
    model = MemoryModel(draw(st.sampled_from(Versions)), draw(st.sampled_from(Optimizer)))
    instance = instance.with_rules(Rules(memory=model))
    gpus = [g for g, group in enumerate(instance.cluster.groups) for _ in range(group.count)]
    size = draw(st.integers(1, min(len(gpus), len(instance.nodes))))
    ends = sorted(draw(st.permutations(range(1, len(instance.nodes))))[: size - 1])
    parts = zip([0, *ends], [*ends, len(instance.nodes)], strict=True)
    stages = tuple(
        Stage(
            instance.nodes[first:end],
            tuple(int(g == gpu) for g in range(len(instance.cluster.groups))),
            draw(st.booleans()),
        )
        for (first, end), gpu in zip(parts, draw(st.permutations(gpus)), strict=False)
    )
    return instance, Plan(stages, "random")


@settings(max_examples=60)
@given(straight_pipelines(), st.booleans())
def test_the_peak_is_what_the_memory_model_says(given_plan, overlap):
    instance, plan = given_plan
    cost_model = Topology(overlap=overlap)
    run = simulate(
        instance, plan, Conditions(overlap=overlap), minibatches=2 * len(plan.stages) + 2
    )
    expected = [x.memory_bytes for x in evaluate(instance, plan, cost_model).stages]
    peaks = {x.gpu.stage: x.peak_bytes for x in run.gpu_figures}
    assert [peaks[k] for k in range(len(expected))] == pytest.approx(expected)


@pytest.mark.parametrize("versions", Versions)
def test_replicas_hold_what_the_memory_model_says(versions):
    rules = Rules(memory=MemoryModel(versions, Optimizer.ADAM))
    instance, plan = pipeline(
        one_server(6), [(1, 2), (1, 1), (2, 1)], [[2], [3], [1]], 100, 7, rules
    )
    run = simulate(instance, plan, FREE, minibatches=24)
    expected = [x.memory_bytes for x in evaluate(instance, plan, Topology()).stages]
    for figures in run.gpu_figures:
        assert figures.peak_bytes == expected[figures.gpu.stage]


def test_memory_step_by_step():
    """Activations of 10 bytes, weights of 3 beside one gradient; two in flight in stage 0.

    Both minibatches are computed with the first weights; the third, computed with the second
    version, is under way together with the second one.
    """
    instance, plan = pipeline(one_server(2), [(1, 2), (1, 2)], [[1], [1]], 10, 3)
    curve = simulate(instance, plan, FREE, minibatches=3).memory(0)
    held = dict(zip(curve.time_s.tolist(), curve.held_bytes.tolist(), strict=True))
    # F0 0-1, F1 1-2, B0 4-6, F2 6-7, B1 7-9, B2 10-12: at 6 the weights change.
    assert held == {0: 16, 1: 26, 2: 26, 4: 26, 6: 29, 7: 29, 9: 19, 10: 19, 12: 6}
    assert curve.peak_bytes == 29


def test_a_stage_that_recomputes_holds_its_input_and_one_set_of_activations():
    instance, plan = pipeline(one_server(2), [(1, 2), (1, 2)], [[1], [1]], 10, 0, recompute=True)
    run = simulate(instance, plan, FREE, minibatches=4)
    assert [x.peak_bytes for x in run.gpu_figures] == [10, 20]
    assert run.memory(1).held_bytes.min() == 0


def test_flushes_need_one_version_of_the_weights():
    rules = Rules(memory=MemoryModel(Versions.STASH, Optimizer.SGD))
    instance, plan = pipeline(one_server(2), [(1, 2), (1, 2)], [[1], [1]], 0, 5, rules)
    assert [x.peak_bytes for x in simulate(instance, plan, FREE).gpu_figures] == [15, 10]
    assert [x.peak_bytes for x in simulate(instance, plan, FREE, GROUP).gpu_figures] == [10, 10]


def test_more_in_flight_holds_more():
    instance, plan = pipeline(one_server(3), [(1, 1)] * 3, [[1]] * 3, 10)
    held = [
        [x.peak_bytes for x in simulate(instance, plan, FREE, Pace(slack=e)).gpu_figures]
        for e in (0, 1)
    ]
    assert held == [[30, 20, 10], [50, 30, 10]]
