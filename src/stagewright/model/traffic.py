"""What a plan moves between servers: the network's share of each minibatch."""

from __future__ import annotations

from stagewright.model.cluster import Cluster
from stagewright.model.cost_model import CostModel
from stagewright.model.evaluate import Evaluation
from stagewright.model.plan import Plan


def server_traffic_bytes(
    cluster: Cluster, plan: Plan, evaluation: Evaluation, cost_model: CostModel
) -> float:
    """Return the bytes per minibatch that cross from one server to another.

    A cut whose two stages do not share one server sends its activations forward and as much
    back: 2A/ρ. A stage of m replicas on q > 1 servers is a ring with q links between servers,
    each of which carries 2(m-1)P/m bytes in an all-reduce, and there is one all-reduce in m
    minibatches: 2q(m-1)P/m².
    """
    total = 0.0
    ratio = cost_model.compression_ratio or 1.0
    for k, (stage, figures) in enumerate(zip(plan.stages, evaluation.stages, strict=True)):
        servers, m = cluster.servers_of(stage.replicas), stage.replica_count
        if len(servers) > 1:
            total += 2 * len(servers) * (m - 1) * figures.parameter_bytes / m**2
        if k + 1 < len(plan.stages):
            following = cluster.servers_of(plan.stages[k + 1].replicas)
            if servers != following or len(servers) > 1:
                total += 2 * figures.output_bytes / ratio
    return total
