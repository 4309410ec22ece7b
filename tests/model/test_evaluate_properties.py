"""What must hold for any plan: random valid plans, and plans made worse or better on purpose."""

from __future__ import annotations

import dataclasses

import networkx as nx
from hypothesis import assume, given
from hypothesis import strategies as st
from pytest import approx  # noqa: PT013 - it is written in every line here

from builders import scaled
from stagewright.model.cluster import Cluster
from stagewright.model.costs import CostModel, Topology
from stagewright.model.evaluate import evaluate
from stagewright.model.graph import LayerGraph
from stagewright.model.instance import Instance, build_instance
from stagewright.model.plan import Plan, Stage
from strategies import cost_models, planned


@st.composite
def judged(draw: st.DrawFn) -> tuple[Instance, Plan, CostModel]:
    """A random valid plan and a cost model that is defined for it."""
    instance, plan = draw(planned())
    return instance, plan, draw(cost_models(instance.cluster))


def with_profiles(instance: Instance, change) -> Instance:
    profiles = {gpu: change(graph) for gpu, graph in instance.profiles.items()}
    return build_instance(profiles, instance.cluster, instance.rules)


def with_cluster(instance: Instance, cluster: Cluster) -> Instance:
    return build_instance(instance.profiles, cluster, instance.rules)


@given(judged())
def test_a_plan_that_is_right_by_construction_is_valid(case):
    assert evaluate(*case).violations == ()


@given(judged())
def test_the_period_is_the_busiest_stage(case):
    found = evaluate(*case)
    assert found.period_s == max(s.busiest_s for s in found.stages)


@given(planned(), st.data())
def test_stages_are_refused_exactly_when_they_cannot_follow_each_other(case, data):
    """Stages in pipeline order are convex sets iff no path runs back to an earlier stage."""
    instance, plan = case
    assume(len(plan.stages) > 1)
    stages = data.draw(st.permutations(plan.stages))
    stage_of = {node: k for k, stage in enumerate(stages) for node in stage.nodes}
    runs_back = any(
        stage_of[v] < stage_of[u]
        for u in instance.nodes
        for v in nx.descendants(instance.graph.digraph, u)
    )
    found = evaluate(instance, Plan(tuple(stages), "shuffled"), Topology())
    assert found.valid == (not runs_back)


@given(planned())
def test_cut_bytes_are_those_of_nodes_whose_last_consumer_comes_later(case):
    instance, plan = case
    stage_of = [plan.stage_of[node] for node in instance.nodes]
    last_use = [
        max((stage_of[w] for w in consumers), default=-1) for consumers in instance.consumers
    ]
    found = evaluate(instance, plan, Topology())
    for k, stage in enumerate(found.stages):
        crossing = sum(
            instance.activation_bytes[v]
            for v in range(len(instance.nodes))
            if stage_of[v] <= k < last_use[v]
        )
        assert stage.output_bytes == approx(crossing)


@given(judged())
def test_one_stages_output_is_the_next_ones_input(case):
    stages = evaluate(*case).stages
    assert [s.output_bytes for s in stages[:-1]] == [s.input_bytes for s in stages[1:]]
    assert (stages[0].input_bytes, stages[-1].output_bytes) == (0, 0)


@given(judged())
def test_doubling_all_times_doubles_the_period_where_transfers_are_free(case):
    instance, plan, cost_model = case
    free = dataclasses.replace(cost_model, compression_ratio=None)

    def without_weights(graph: LayerGraph) -> LayerGraph:
        layers = tuple(dataclasses.replace(x, parameter_bytes=0.0) for x in graph.layers)
        return dataclasses.replace(graph, layers=layers)

    single = with_profiles(instance, without_weights)
    double = with_profiles(single, lambda graph: scaled(graph, 2.0))
    assert evaluate(double, plan, free).period_s == approx(
        2 * evaluate(single, plan, free).period_s
    )


@given(judged())
def test_renaming_nodes_changes_nothing(case):
    instance, plan, cost_model = case
    names = {x.id: f"layer-{i}" for i, x in enumerate(reversed(instance.graph.layers))}

    def renamed(graph: LayerGraph) -> LayerGraph:
        return LayerGraph(
            tuple(dataclasses.replace(x, id=names[x.id]) for x in graph.layers),
            tuple((names[u], names[v]) for u, v in graph.edges),
        )

    stages = tuple(Stage(tuple(names[x] for x in s.nodes), s.replicas) for s in plan.stages)
    found = evaluate(with_profiles(instance, renamed), Plan(stages, "random"), cost_model)
    assert found == evaluate(instance, plan, cost_model)


@given(judged(), st.randoms(use_true_random=False))
def test_the_order_of_the_file_changes_nothing(case, random):
    instance, plan, cost_model = case

    def shuffled(graph: LayerGraph) -> LayerGraph:
        layers, edges = list(graph.layers), list(graph.edges)
        random.shuffle(layers)
        random.shuffle(edges)
        return LayerGraph(tuple(layers), tuple(edges))

    found = evaluate(with_profiles(instance, shuffled), plan, cost_model)
    assert found.violations == ()
    assert found.period_s == approx(evaluate(instance, plan, cost_model).period_s)


@given(judged(), st.data())
def test_more_bandwidth_never_hurts(case, data):
    instance, plan, cost_model = case
    cluster = instance.cluster
    s = data.draw(st.integers(0, len(cluster.servers) - 1))
    t = data.draw(st.integers(0, len(cluster.servers) - 1))
    links = [list(row) for row in cluster.bandwidth_bytes_per_s]
    links[s][t] = links[t][s] = links[s][t] * 10
    faster = dataclasses.replace(cluster, bandwidth_bytes_per_s=tuple(map(tuple, links)))
    before = evaluate(instance, plan, cost_model).period_s
    assert evaluate(with_cluster(instance, faster), plan, cost_model).period_s <= before


@given(judged(), st.data())
def test_less_latency_never_hurts(case, data):
    instance, plan, cost_model = case
    cluster = instance.cluster
    factor = data.draw(st.sampled_from([0.0, 0.5]))
    latency = tuple(tuple(x * factor for x in row) for row in cluster.latency_s)
    closer = with_cluster(instance, dataclasses.replace(cluster, latency_s=latency))
    before = evaluate(instance, plan, cost_model).period_s
    assert evaluate(closer, plan, cost_model).period_s <= before


@given(judged())
def test_overlap_never_hurts(case):
    instance, plan, cost_model = case
    waiting = dataclasses.replace(cost_model, overlap=False)
    overlapping = dataclasses.replace(cost_model, overlap=True)
    assert (
        evaluate(instance, plan, overlapping).period_s <= evaluate(instance, plan, waiting).period_s
    )


@given(judged())
def test_the_period_is_no_less_than_an_equal_share_of_the_fastest_types_work(case):
    """No plan beats all the work on the fastest type of each layer, shared by every GPU."""
    instance, plan, cost_model = case
    work_s = float(instance.time_s.min(axis=0).sum())
    assert evaluate(instance, plan, cost_model).period_s >= work_s / plan.gpu_count * (1 - 1e-9)
