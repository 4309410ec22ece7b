"""What must happen to the best period when an instance changes in a known way."""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from builders import scaled
from random_instances import (
    COST_MODELS,
    instances_for,
    memory_rules,
    problems,
    small_clusters,
    small_instances,
    with_memory,
)
from stagewright.formulation.problem import Problem, Settings
from stagewright.formulation.run import run_planner
from stagewright.model.cluster import Cluster, GpuGroup
from stagewright.model.costs import PipeDream, SparsePipe, Topology
from stagewright.model.errors import InfeasibleError
from stagewright.model.graph import Layer, LayerGraph
from stagewright.model.instance import Instance, build_instance
from stagewright.model.rules import Rules

SETTINGS = Settings(time_limit_s=15.0, workers=1)
INFINITE = float("inf")

either_planner = pytest.mark.parametrize("name", ["exact-dp", "cpsat"])
every_model = pytest.mark.parametrize("cost_model", COST_MODELS)

roomy_rules = st.builds(
    lambda memory, straight, most: dataclasses.replace(
        memory, straight_pipeline=straight, max_stages=most
    ),
    st.one_of(st.just(Rules()), memory_rules()),
    st.booleans(),
    st.sampled_from([None, 1, 2, 3]),
)
"""Rules under which a GPU may stay idle."""


def best_s(name: str, problem: Problem) -> float:
    """The best period; infinite if there is no plan."""
    try:
        return run_planner(name, problem, SETTINGS).evaluation.period_s
    except InfeasibleError:
        return INFINITE


def equal(found_s: float, expected_s: float) -> bool:
    if INFINITE in (found_s, expected_s):
        return found_s == expected_s
    return abs(found_s - expected_s) <= 1e-6 * expected_s + 1e-15


def no_worse(found_s: float, before_s: float) -> bool:
    return found_s <= before_s or equal(found_s, before_s)


def on(problem: Problem, cluster: Cluster) -> Problem:
    instance = problem.instance
    changed = build_instance(instance.profiles, cluster, instance.rules)
    return Problem(changed, problem.cost_model)


def with_layers(instance: Instance, change: Callable[[Layer], Layer]) -> Instance:
    """Change each layer of each profile."""
    profiles = {
        gpu: dataclasses.replace(graph, layers=tuple(change(x) for x in graph.layers))
        for gpu, graph in instance.profiles.items()
    }
    return build_instance(profiles, instance.cluster, instance.rules)


def one_more(cluster: Cluster, group: int) -> Cluster:
    groups = [
        dataclasses.replace(x, count=x.count + (g == group)) for g, x in enumerate(cluster.groups)
    ]
    return dataclasses.replace(cluster, groups=tuple(groups))


def with_link(cluster: Cluster, s: int, t: int, factor: float) -> Cluster:
    table = [list(row) for row in cluster.bandwidth_bytes_per_s]
    table[s][t] = table[t][s] = table[s][t] * factor
    return dataclasses.replace(cluster, bandwidth_bytes_per_s=tuple(map(tuple, table)))


def with_slow_group(problem: Problem, server: int, seconds: float) -> Problem:
    """Add a GPU of a new type that takes ``seconds`` for each layer, and so does its link."""
    instance = problem.instance
    cluster = instance.cluster
    old, size = cluster.bandwidth_bytes_per_s, len(cluster.servers)
    slow = GpuGroup(server, "Slow", 1)
    if server == size:
        cluster = Cluster(
            (*cluster.servers, "SlowServer"),
            (*cluster.groups, slow),
            (*((*row, 1.0) for row in old), (1.0,) * (size + 1)),
            (*((*row, seconds) for row in cluster.latency_s), (seconds,) * (size + 1)),
        )
    else:
        cluster = dataclasses.replace(cluster, groups=(*cluster.groups, slow))
    first = next(iter(instance.profiles.values()))
    layers = tuple(
        dataclasses.replace(x, forward_ms=1000 * seconds, backward_ms=0.0) for x in first.layers
    )
    profiles = {**instance.profiles, "Slow": dataclasses.replace(first, layers=layers)}
    return Problem(build_instance(profiles, cluster, instance.rules), problem.cost_model)


def shuffled(instance: Instance, seed: int) -> Instance:
    """Other node names, and nodes, edges, servers and groups in another order."""
    chance = random.Random(seed)  # noqa: S311 - a reproducible order, not a secret
    old = list(instance.graph.by_id)
    names = dict(zip(old, chance.sample([f"{i}x" for i in range(50)], len(old)), strict=True))
    order = chance.sample(old, len(old))
    edges = chance.sample(instance.graph.edges, len(instance.graph.edges))
    profiles = {
        gpu: LayerGraph(
            tuple(dataclasses.replace(graph.by_id[x], id=names[x]) for x in order),
            tuple((names[u], names[v]) for u, v in edges),
        )
        for gpu, graph in instance.profiles.items()
    }
    cluster = instance.cluster
    servers = chance.sample(range(len(cluster.servers)), len(cluster.servers))
    groups = [
        dataclasses.replace(group, server=servers.index(group.server))
        for group in chance.sample(cluster.groups, len(cluster.groups))
    ]
    moved = Cluster(
        tuple(cluster.servers[s] for s in servers),
        tuple(groups),
        tuple(tuple(cluster.bandwidth_bytes_per_s[s][t] for t in servers) for s in servers),
        tuple(tuple(cluster.latency_s[s][t] for t in servers) for s in servers),
    )
    return build_instance(profiles, moved, instance.rules)


@either_planner
@every_model
class TestMoreNeverHurts:
    @settings(max_examples=12)
    @given(st.data())
    def test_memory(self, name, cost_model, data):
        instances = instances_for(cost_model, memory_rules())
        problem = data.draw(problems(COST_MODELS[cost_model], instances))
        cluster = problem.instance.cluster
        more = [
            size and size * data.draw(st.sampled_from([1, 1.5, 3]))
            for size in (group.memory_bytes for group in cluster.groups)
        ]
        bigger = on(problem, with_memory(cluster, more))
        assert no_worse(best_s(name, bigger), best_s(name, problem))

    @settings(max_examples=12)
    @given(st.data())
    def test_bandwidth(self, name, cost_model, data):
        instances = instances_for(cost_model, roomy_rules)
        problem = data.draw(problems(COST_MODELS[cost_model], instances))
        servers = st.integers(0, len(problem.instance.cluster.servers) - 1)
        s, t = data.draw(servers), data.draw(servers)
        wider = on(problem, with_link(problem.instance.cluster, s, t, 5.0))
        assert no_worse(best_s(name, wider), best_s(name, problem))

    @settings(max_examples=12)
    @given(st.data())
    def test_gpus(self, name, cost_model, data):
        instances = instances_for(cost_model, roomy_rules)
        problem = data.draw(problems(COST_MODELS[cost_model], instances))
        group = data.draw(st.integers(0, len(problem.instance.cluster.groups) - 1))
        larger = on(problem, one_more(problem.instance.cluster, group))
        assert no_worse(best_s(name, larger), best_s(name, problem))


@either_planner
class TestWhatIsSlowStaysIdle:
    @settings(max_examples=20)
    @given(
        problem=st.sampled_from(["topology", "sparsepipe"]).flatmap(
            lambda model: problems(COST_MODELS[model], instances_for(model, roomy_rules))
        ),
        seconds=st.sampled_from([1.0, 100.0, 1e4]),
    )
    def test_a_slow_gpu(self, name, problem, seconds):
        assert no_worse(best_s(name, with_slow_group(problem, 0, seconds)), best_s(name, problem))

    @settings(max_examples=20)
    @given(
        problem=problems(COST_MODELS["topology"], instances_for("topology", roomy_rules)),
        seconds=st.sampled_from([1.0, 100.0, 1e4]),
    )
    def test_a_slow_server(self, name, problem, seconds):
        server = len(problem.instance.cluster.servers)
        slower = with_slow_group(problem, server, seconds)
        assert no_worse(best_s(name, slower), best_s(name, problem))


@either_planner
@every_model
class TestNothingChanges:
    @settings(max_examples=15)
    @given(st.data())
    def test_when_things_are_renamed_and_reordered(self, name, cost_model, data):
        instances = instances_for(cost_model, roomy_rules)
        problem = data.draw(problems(COST_MODELS[cost_model], instances))
        other = shuffled(problem.instance, data.draw(st.integers(0, 99)))
        changed = Problem(other, problem.cost_model)
        assert equal(best_s(name, changed), best_s(name, problem))

    @settings(max_examples=15)
    @given(st.data(), st.sampled_from([0.25, 8.0, 1e5]))
    def test_when_bytes_and_bandwidths_grow_together(self, name, cost_model, data, factor):
        instances = instances_for(cost_model, st.one_of(st.just(Rules()), memory_rules()))
        problem = data.draw(problems(COST_MODELS[cost_model], instances))
        cluster = problem.instance.cluster
        wider = tuple(tuple(x * factor for x in row) for row in cluster.bandwidth_bytes_per_s)
        sizes = [group.memory_bytes and group.memory_bytes * factor for group in cluster.groups]
        larger = with_layers(
            problem.instance,
            lambda x: dataclasses.replace(
                x,
                activation_parts_bytes=tuple(part * factor for part in x.activation_parts_bytes),
                parameter_bytes=x.parameter_bytes * factor,
            ),
        )
        changed = on(
            Problem(larger, problem.cost_model),
            with_memory(dataclasses.replace(cluster, bandwidth_bytes_per_s=wider), sizes),
        )
        assert equal(best_s(name, changed), best_s(name, problem))


@either_planner
@every_model
class TestWhereTransfersAreFree:
    @settings(max_examples=12)
    @given(st.data(), st.sampled_from([2.0, 0.5]))
    def test_doubling_every_time_doubles_the_period(self, name, cost_model, data, factor):
        """The all-reduce is not compute: parameters are left out."""
        instance = with_layers(
            data.draw(instances_for(cost_model, roomy_rules)),
            lambda x: dataclasses.replace(x, parameter_bytes=0.0),
        )
        model = data.draw(COST_MODELS[cost_model])
        model = dataclasses.replace(model, compression_ratio=None)
        profiles = {gpu: scaled(graph, factor) for gpu, graph in instance.profiles.items()}
        slower = build_instance(profiles, instance.cluster, instance.rules)
        period_s = best_s(name, Problem(instance, model))
        assert equal(best_s(name, Problem(slower, model)), factor * period_s)


@either_planner
class TestCostModelsBesideEachOther:
    @settings(max_examples=15)
    @given(instance=instances_for("pipedream", roomy_rules), overlap=st.booleans())
    def test_all_agree_on_one_server_of_one_type_where_transfers_are_free(
        self, name, instance, overlap
    ):
        periods = [
            best_s(name, Problem(instance, model(None, overlap)))
            for model in (PipeDream, SparsePipe, Topology)
        ]
        assert equal(periods[1], periods[0])
        assert equal(periods[2], periods[0])

    @settings(max_examples=15)
    @given(instance=small_instances(rules=roomy_rules))
    def test_each_option_of_topology_only_helps(self, name, instance):
        plain = best_s(name, Problem(instance, Topology(1.0, overlap=False)))
        for better in (
            Topology(1.0, overlap=True),
            Topology(3.0, overlap=False),
            Topology(None, overlap=False),
            Topology(1.0, overlap=False, dispatch="proportional"),
        ):
            assert no_worse(best_s(name, Problem(instance, better)), plain), better

    @settings(max_examples=15)
    @given(
        instance=small_instances(clusters=small_clusters(max_servers=1), rules=roomy_rules),
        overlap=st.booleans(),
    )
    def test_topology_is_no_worse_than_sparsepipe_without_latency(self, name, instance, overlap):
        """Its cuts share their bandwidth among replicas; SparsePipe's do not."""
        cluster = dataclasses.replace(instance.cluster, latency_s=((0.0,),))
        problem = on(Problem(instance, Topology(1.0, overlap)), cluster)
        published = Problem(problem.instance, SparsePipe(1.0, overlap))
        assert no_worse(best_s(name, problem), best_s(name, published))
