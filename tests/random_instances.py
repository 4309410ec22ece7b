"""Hypothesis strategies for planning problems that brute force manages in a second.

``from random_instances import COST_MODELS, constrained_instances, instances_for, problems``. At
most eight layers, :data:`MAX_IDEALS` places to cut, three servers, three GPU groups and four GPUs.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Sequence

from hypothesis import strategies as st

from brute_force import ideals_of
from builders import layer
from stagewright.formulation.flat_costs import FlatCosts
from stagewright.formulation.problem import Problem
from stagewright.model.cluster import Cluster, GpuGroup
from stagewright.model.costs import CostModel, MaxLoad, PipeDream, SparsePipe, Topology
from stagewright.model.graph import LayerGraph
from stagewright.model.instance import Instance, build_instance
from stagewright.model.max_load import HOST
from stagewright.model.placement import Kept, Placement
from stagewright.model.rules import MemoryModel, Optimizer, Recompute, Rules, Versions

MAX_IDEALS = 40
GPU_TYPES = ("TitanV", "TitanXP", "RTX")

times_ms = st.one_of(
    st.integers(0, 1000).map(float), st.floats(0.1, 500.0), st.sampled_from([0.0, 100.0])
)
sizes_bytes = st.one_of(st.integers(0, 1000).map(float), st.sampled_from([0.0, 500.0]))
bandwidths = st.sampled_from([1e3, 3e3, 2e4, 5e5])
latencies_s = st.sampled_from([0.0, 0.01, 0.2])


@st.composite
def small_graphs(draw: st.DrawFn, max_nodes: int = 8, chain: bool = False) -> LayerGraph:
    """A graph in shuffled file order, sometimes with a free input or an output nobody uses."""
    size = min(max_nodes, draw(st.sampled_from([3, 5, 8, 4, 7, 2, 6, 1])))
    pairs = _chain(size) if chain else _edges(size, draw)
    layers = [
        layer(f"n{i}", draw(times_ms), draw(times_ms), draw(sizes_bytes), draw(sizes_bytes))
        for i in range(size)
    ]
    edges = [(f"n{u}", f"n{v}") for u, v in pairs]
    if draw(st.booleans()):
        layers.append(layer("data", 5.0, 0.0, 1e6, 0.0, "Input0"))
        edges.append(("data", "n0"))
    if draw(st.booleans()):
        layers.append(layer("unused", 9.0, 9.0, 1e6, 1e6, "__getitem__(1)"))
        edges.append((f"n{draw(st.integers(0, size - 1))}", "unused"))
    return LayerGraph(tuple(draw(st.permutations(layers))), tuple(draw(st.permutations(edges))))


def _chain(size: int) -> list[tuple[int, int]]:
    return list(itertools.pairwise(range(size)))


def _edges(size: int, draw: st.DrawFn) -> list[tuple[int, int]]:
    """Random edges, and as many steps of a chain as it takes to have few ideals."""
    possible = [(u, v) for v in range(size) for u in range(v)]
    chosen = draw(st.sets(st.sampled_from(possible))) if possible else set()
    for step in _chain(size):
        if _ideal_count(size, chosen) <= MAX_IDEALS:
            break
        chosen.add(step)
    return sorted(chosen)


def _ideal_count(size: int, edges: set[tuple[int, int]]) -> int:
    nodes = tuple(layer(f"n{i}") for i in range(size))
    graph = LayerGraph(nodes, tuple((f"n{u}", f"n{v}") for u, v in edges))
    cluster = Cluster(("Server0",), (GpuGroup(0, "TitanV", 1),), ((1.0,),), ((0.0,),))
    return len(ideals_of(build_instance({"TitanV": graph}, cluster)))


@st.composite
def small_clusters(
    draw: st.DrawFn, max_servers: int = 3, types: Sequence[str] = GPU_TYPES
) -> Cluster:
    """One to three groups of one to four GPUs in all, on servers joined by unequal links."""
    servers = draw(st.integers(1, max_servers))
    chosen = [(s, draw(st.sampled_from(types))) for s in range(servers)]
    spare = [place for place in itertools.product(range(servers), types) if place not in chosen]
    more = (
        draw(st.lists(st.sampled_from(spare), max_size=3 - servers, unique=True)) if spare else []
    )
    counts = dict.fromkeys(sorted([*chosen, *more]), 1)
    gpus = max(len(counts), draw(st.sampled_from([4, 3, 4, 2, 1])))
    for _ in range(gpus - len(counts)):
        counts[draw(st.sampled_from(sorted(counts)))] += 1
    groups = tuple(GpuGroup(s, gpu, count) for (s, gpu), count in counts.items())
    return Cluster(
        tuple(f"Server{s}" for s in range(servers)),
        groups,
        _symmetric(servers, bandwidths, draw),
        _symmetric(servers, latencies_s, draw),
    )


def _symmetric(
    size: int, values: st.SearchStrategy[float], draw: st.DrawFn
) -> tuple[tuple[float, ...], ...]:
    drawn = {(s, t): draw(values) for s in range(size) for t in range(s + 1)}
    return tuple(tuple(drawn[max(s, t), min(s, t)] for t in range(size)) for s in range(size))


@st.composite
def profiles_of(draw: st.DrawFn, graph: LayerGraph, types: Sequence[str]) -> dict[str, LayerGraph]:
    """``graph`` timed anew on each type, or slowed down as a whole."""
    profiles: dict[str, LayerGraph] = {}
    for gpu in types:
        factor = draw(st.sampled_from([None, 1.0, 2.0, 30.0]))
        layers = tuple(
            layer(
                x.id,
                draw(times_ms) if factor is None else x.forward_ms * factor,
                draw(times_ms) if factor is None else x.backward_ms * factor,
                x.activation_bytes,
                x.parameter_bytes,
                x.description,
            )
            for x in graph.layers
        )
        profiles[gpu] = LayerGraph(layers, graph.edges)
    return profiles


@st.composite
def memory_rules(draw: st.DrawFn) -> Rules:
    """The memory rule with every way to count it."""
    model = MemoryModel(draw(st.sampled_from(Versions)), draw(st.sampled_from(Optimizer)))
    return Rules(use_memory=True, memory=model)


def with_memory(cluster: Cluster, memory_bytes: Sequence[float | None]) -> Cluster:
    """The cluster with so many bytes on each group's GPUs."""
    groups = tuple(
        dataclasses.replace(group, memory_bytes=n_bytes)
        for group, n_bytes in zip(cluster.groups, memory_bytes, strict=True)
    )
    return dataclasses.replace(cluster, groups=groups)


def with_prices(cluster: Cluster, prices_per_hour: Sequence[float]) -> Cluster:
    """The cluster at these prices of each group's GPUs."""
    groups = tuple(
        dataclasses.replace(group, price_per_hour=price)
        for group, price in zip(cluster.groups, prices_per_hour, strict=True)
    )
    return dataclasses.replace(cluster, groups=groups)


@st.composite
def small_rules(draw: st.DrawFn) -> Rules:
    """Any combination of the rules."""
    memory = draw(st.one_of(st.just(Rules()), memory_rules()))
    return Rules(
        use_memory=memory.use_memory,
        memory=memory.memory,
        use_all=draw(st.booleans()),
        straight_pipeline=draw(st.booleans()),
        max_stages=draw(st.sampled_from([None, 1, 2, 3])),
    )


@st.composite
def small_instances(
    draw: st.DrawFn,
    graphs: st.SearchStrategy[LayerGraph] | None = None,
    clusters: st.SearchStrategy[Cluster] | None = None,
    rules: st.SearchStrategy[Rules] | None = None,
) -> Instance:
    """A graph on a cluster; GPUs with memory between a ninth and four times the whole model."""
    graph = draw(graphs if graphs is not None else small_graphs())
    cluster = draw(clusters if clusters is not None else small_clusters())
    chosen = Rules() if rules is None else draw(rules)
    if chosen.use_memory:
        whole = 1 + sum(
            x.activation_bytes + 2 * x.parameter_bytes
            for x in graph.layers
            if x.id in graph.planned
        )
        parts = (0.25, 0.5, 1, 2, 3, 5, 9)
        sizes = st.sampled_from([None, *(max(1.0, whole // part) for part in parts)])
        cluster = with_memory(cluster, [draw(sizes) for _ in cluster.groups])
    return build_instance(draw(profiles_of(graph, cluster.gpu_types)), cluster, chosen)


@st.composite
def problems(
    draw: st.DrawFn,
    cost_models: st.SearchStrategy[CostModel],
    instances: st.SearchStrategy[Instance],
) -> Problem:
    """An instance and a cost model."""
    return Problem(draw(instances), draw(cost_models))


CLUSTERS = {
    "topology": small_clusters(),
    "sparsepipe": small_clusters(max_servers=1),
    "pipedream": small_clusters(max_servers=1, types=["TitanV"]),
    "max-load": small_clusters(max_servers=1, types=["TitanV", "TitanXP", HOST]),
}
"""The clusters on which each cost model is defined."""

ratios = st.sampled_from([1.0, 1.0, 0.5, 4.0, None])
dispatches = st.sampled_from(["equal", "equal", "proportional"])
COST_MODELS: dict[str, st.SearchStrategy[CostModel]] = {
    "topology": st.builds(Topology, ratios, st.booleans(), dispatches),
    "sparsepipe": st.builds(SparsePipe, ratios, st.booleans()),
    "pipedream": st.builds(PipeDream, ratios, st.booleans()),
    "max-load": st.builds(MaxLoad, ratios, st.booleans()),
}
"""Each cost model with all its options."""


def instances_for(
    cost_model: str, rules: st.SearchStrategy[Rules] | None = None, *, chain: bool = False
) -> st.SearchStrategy[Instance]:
    """Instances on which a cost model is defined."""
    return small_instances(small_graphs(chain=chain), CLUSTERS[cost_model], rules)


# --- limits, recomputing, and demands on single layers ---------------------------------------

rarely = st.sampled_from([False, False, True])
"""Whether a demand is made at all: with too many at once, nothing is feasible."""


FLAT_CLUSTERS = small_clusters(max_servers=1, types=["TitanV"])


def flat_problem(
    data: st.DataObject, cost_model: str, rules: st.SearchStrategy[Rules] | None = None
) -> Problem | None:
    """A problem on one server of like GPUs, or ``None`` where replicas keep their own pace."""
    instances = small_instances(clusters=FLAT_CLUSTERS, rules=rules)
    problem = data.draw(problems(COST_MODELS[cost_model], instances))
    return problem if FlatCosts.apply(problem) else None


@st.composite
def limits(draw: st.DrawFn, rules: Rules, cluster: Cluster) -> Rules:
    """The rules with limits on replicas, GPUs and price, and any rule on recomputing."""
    whole = sum(x * n for x, n in zip(cluster.prices_per_hour, cluster.counts, strict=True))
    shares = st.sampled_from([0.3, 0.5, 0.75, 1.0])
    return dataclasses.replace(
        rules,
        max_replicas=draw(st.integers(1, 3)) if draw(rarely) else None,
        max_gpus=draw(st.integers(1, 4)) if draw(rarely) else None,
        max_price_per_hour=whole * draw(shares) if draw(rarely) else None,
        recompute=draw(st.sampled_from(Recompute)),
    )


@st.composite
def placements(draw: st.DrawFn, instance: Instance) -> Placement:
    """Demands on a few layers; the plan to keep need not be one, nor know every layer."""
    nodes = st.sampled_from(instance.nodes)
    groups = st.integers(0, len(instance.cluster.groups) - 1)
    pins = draw(st.dictionaries(nodes, st.integers(0, 3), max_size=2)) if draw(rarely) else {}
    banned = st.tuples(nodes, st.sets(groups, min_size=1).map(lambda x: tuple(sorted(x))))
    sets = st.sets(nodes, min_size=2, max_size=3).map(lambda x: tuple(sorted(x)))
    shared = draw(rarely) and len(instance.nodes) > 1
    return Placement(
        stage=tuple(pins.items()),
        forbidden=tuple(draw(st.lists(banned, max_size=2))) if draw(rarely) else (),
        together=tuple(draw(st.lists(sets, max_size=2))) if shared else (),
        kept=draw(kept_plans(instance)) if draw(rarely) else None,
    )


@st.composite
def kept_plans(draw: st.DrawFn, instance: Instance) -> Kept:
    """A plan in use for some of the layers, and for one that is gone."""
    count = draw(st.integers(1, 3))
    stages: list[list[str]] = [[] for _ in range(count)]
    stages[0].append("gone")
    for v, node in enumerate(instance.nodes):
        around = count * v // len(instance.nodes)
        k = draw(st.sampled_from([around, around, *range(-1, count)]))
        if k >= 0:
            stages[k].append(node)
    return Kept(tuple(map(tuple, stages)), draw(st.integers(0, 3)))


@st.composite
def constrained_instances(draw: st.DrawFn, cost_model: str, max_nodes: int = 6) -> Instance:
    """An instance on which a cost model is defined, under any mixture of all rules."""
    graphs = small_graphs(max_nodes)
    instance = draw(small_instances(graphs, CLUSTERS[cost_model], small_rules()))
    prices = [draw(st.sampled_from([0.0, 0.5, 1.0, 2.5])) for _ in instance.cluster.groups]
    cluster = with_prices(instance.cluster, prices)
    rules = dataclasses.replace(
        draw(limits(instance.rules, cluster)), placement=draw(placements(instance))
    )
    if cost_model == MaxLoad.name:  # it knows no pins, no plan in use and no recomputing
        placement = dataclasses.replace(rules.placement, stage=(), kept=None)
        rules = dataclasses.replace(rules, recompute=Recompute.NEVER, placement=placement)
    return build_instance(dict(instance.profiles), cluster, rules)
