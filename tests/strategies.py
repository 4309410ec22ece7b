"""Hypothesis strategies: random graphs, clusters, rules, and plans that are right by construction.

``from strategies import layer_graphs, planned``.
"""

from __future__ import annotations

from hypothesis import strategies as st

from builders import layer
from stagewright.model.cluster import Cluster, GpuGroup
from stagewright.model.costs import CostModel, PipeDream, SparsePipe, Topology
from stagewright.model.graph import LayerGraph
from stagewright.model.instance import Instance, build_instance
from stagewright.model.plan import Plan, Stage

GPU_TYPES = ("TitanV", "TitanXP", "RTX")

figures = st.integers(0, 1000).map(float)
bandwidths = st.sampled_from([1e3, 2e4, 5e5])


@st.composite
def layer_graphs(draw: st.DrawFn, max_nodes: int = 8) -> LayerGraph:
    """A graph ``n0 … nK`` whose edges run from lower to higher numbers."""
    size = draw(st.integers(1, max_nodes))
    layers = tuple(
        layer(f"n{i}", draw(figures), draw(figures), draw(figures), draw(figures))
        for i in range(size)
    )
    pairs = [(f"n{i}", f"n{j}") for j in range(size) for i in range(j)]
    edges = draw(st.lists(st.sampled_from(pairs), unique=True)) if pairs else []
    return LayerGraph(layers, tuple(edges))


@st.composite
def clusters(draw: st.DrawFn, max_servers: int = 3) -> Cluster:
    """Servers with one to three GPU types, and links of any speed and latency."""
    size = draw(st.integers(1, max_servers))
    bandwidth = [[0.0] * size for _ in range(size)]
    latency = [[0.0] * size for _ in range(size)]
    for s in range(size):
        for t in range(s + 1):
            bandwidth[s][t] = bandwidth[t][s] = draw(bandwidths)
            latency[s][t] = latency[t][s] = 0.0 if s == t else draw(st.sampled_from([0.0, 0.01]))
    groups = tuple(
        GpuGroup(s, gpu, draw(st.integers(1, 3)))
        for s in range(size)
        for gpu in draw(st.lists(st.sampled_from(GPU_TYPES), min_size=1, max_size=3, unique=True))
    )
    return Cluster(
        tuple(f"Server{s}" for s in range(size)),
        groups,
        tuple(map(tuple, bandwidth)),
        tuple(map(tuple, latency)),
    )


@st.composite
def instances(draw: st.DrawFn, max_nodes: int = 8, max_servers: int = 3) -> Instance:
    """A graph timed anew on every GPU type of a cluster."""
    graph = draw(layer_graphs(max_nodes))
    cluster = draw(clusters(max_servers))
    profiles = {
        gpu: LayerGraph(
            tuple(
                layer(x.id, draw(figures), draw(figures), x.activation_bytes, x.parameter_bytes)
                for x in graph.layers
            ),
            graph.edges,
        )
        for gpu in cluster.gpu_types
    }
    return build_instance(profiles, cluster)


@st.composite
def planned(draw: st.DrawFn, max_nodes: int = 8, max_servers: int = 3) -> tuple[Instance, Plan]:
    """An instance and a plan that violates nothing: no stage before its producers' stages."""
    instance = draw(instances(max_nodes, max_servers))
    gpus = [g for g, group in enumerate(instance.cluster.groups) for _ in range(group.count)]
    stage_of: list[int] = []
    for producers in instance.producers:  # nodes come in topological order
        least = max((stage_of[u] for u in producers), default=0)
        stage_of.append(draw(st.integers(least, max(least, len(gpus) - 1))))
    used = sorted(set(stage_of))
    order = draw(st.permutations(gpus))
    surplus = [draw(st.integers(-1, len(used) - 1)) for _ in order[len(used) :]]
    homes = [*range(len(used)), *surplus]  # every stage gets a GPU; -1 stays idle
    stages = tuple(
        Stage(
            tuple(x for x, k in zip(instance.nodes, stage_of, strict=True) if k == number),
            tuple(
                sum(1 for gpu, home in zip(order, homes, strict=True) if (gpu, home) == (g, rank))
                for g in range(len(instance.cluster.groups))
            ),
        )
        for rank, number in enumerate(used)
    )
    return instance, Plan(stages, "random")


@st.composite
def cost_models(draw: st.DrawFn, cluster: Cluster) -> CostModel:
    """Any cost model that is defined on ``cluster``."""
    ratio = draw(st.sampled_from([None, 1.0, 2.0]))
    overlap = draw(st.booleans())
    choices: list[CostModel] = [
        Topology(ratio, overlap),
        Topology(ratio, overlap, "proportional"),
    ]
    if len(cluster.servers) == 1:
        choices.append(SparsePipe(ratio, overlap))
        if len(cluster.gpu_types) == 1:
            choices.append(PipeDream(ratio, overlap))
    return draw(st.sampled_from(choices))
