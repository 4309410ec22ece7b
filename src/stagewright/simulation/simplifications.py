"""Where a cost model's formula says something else than links and GPUs of its own would do.

Told from the plan and the cluster alone, in words. Where nothing is told, the formulas are exact:
with links of their own and enough in flight, no plan runs faster or slower than they say.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from stagewright.model.cluster import Cluster
from stagewright.model.plan import Plan
from stagewright.simulation.conditions import Conditions


def simplifications(
    cluster: Cluster, plan: Plan, conditions: Conditions, cost_model: str
) -> tuple[str, ...]:
    """Return every simplification of the formulas that bears on a plan, one sentence each."""
    found: list[str] = []
    for k, stage in enumerate(plan.stages):
        found += _of_stage(cluster, k, stage.replicas, conditions)
    if conditions.compression_ratio is not None:
        for k in range(len(plan.stages) - 1):
            here, there = plan.stages[k].replicas, plan.stages[k + 1].replicas
            found += _of_cut(cluster, k, here, there, conditions)
            if cost_model == "pipedream" and k == 0 and sum(here) < sum(there):
                found.append("the first stage is not charged for sending, but its GPUs send")
    return tuple(dict.fromkeys(found))


def _of_stage(
    cluster: Cluster, stage: int, replicas: Sequence[int], conditions: Conditions
) -> Iterator[str]:
    if sum(replicas) == 1:
        return
    types = {g.gpu for g, n in zip(cluster.groups, replicas, strict=True) if n > 0}
    if conditions.dispatch == "proportional" and len(types) > 1:
        yield (
            f"stage {stage}: replicas with unlike shares of the minibatches wait for one another "
            "at each all-reduce, and a round cannot be shared out exactly"
        )
    servers = cluster.servers_of(replicas)
    if len(servers) == 1:
        if cluster.latency_s[servers[0]][servers[0]] > 0:
            yield f"stage {stage}: latency is not charged to its all-reduce"
        return
    ring = _ring(cluster, replicas)
    slowest = min(cluster.bandwidth_bytes_per_s[s][t] for s, t in ring)
    charged = min(cluster.bandwidth_bytes_per_s[s][t] for s in servers for t in servers if s != t)
    if slowest != charged:
        yield (
            f"stage {stage}: its all-reduce is charged the slowest link between its servers, and "
            "runs over the slowest link of its ring"
        )
    if any(cluster.latency_s[s][t] > 0 for s, t in ring):
        yield f"stage {stage}: latency is not charged to its all-reduce"


def _ring(cluster: Cluster, replicas: Sequence[int]) -> list[tuple[int, int]]:
    """Pairs of servers that a ring through all replicas passes, in order of rank."""
    homes = [g.server for g, n in zip(cluster.groups, replicas, strict=True) for _ in range(n)]
    homes.sort()
    return list(zip(homes, [*homes[1:], homes[0]], strict=True))


def _of_cut(
    cluster: Cluster, cut: int, here: Sequence[int], there: Sequence[int], conditions: Conditions
) -> Iterator[str]:
    first, second = cluster.servers_of(here), cluster.servers_of(there)
    several = max(sum(here), sum(there)) > 1
    if conditions.one_link_per_cut:
        if not conditions.overlap and sum(there) > 1:
            yield f"cut {cut}: replicas that fetch their input in turns are charged one after another"
        return
    near = len(first) == 1 and first == second
    lanes = min(sum(here), sum(there)) if near else min(len(first), len(second))
    if not near and len(first) + len(second) > 2 and not _even(cluster, here, there):
        yield (
            f"cut {cut}: its stages are spread unevenly over servers; the formula takes all to go "
            "between servers, in equal parts over their network cards"
        )
    pairs = [(s, t) for s in first for t in second]
    if lanes > 1 and any(cluster.latency_s[s][t] > 0 for s, t in pairs):
        yield f"cut {cut}: latency is charged in full, though {lanes} transfers run side by side"
    if conditions.dispatch == "proportional" and several and _unlike(cluster, here, there):
        yield f"cut {cut}: replicas with unlike shares of the minibatches send in unlike shares"
    if not conditions.overlap and sum(there) > 1 and (not near or sum(here) < sum(there)):
        yield f"cut {cut}: replicas that fetch their input in turns are charged one after another"
    if not conditions.overlap and sum(there) > 1 and near and cluster.latency_s[first[0]][first[0]]:
        yield f"cut {cut}: latency is charged in full, though {lanes} transfers run side by side"


def _even(cluster: Cluster, here: Sequence[int], there: Sequence[int]) -> bool:
    """Whether two stages share no server, and all their servers and links are alike to them."""
    first, second = cluster.servers_of(here), cluster.servers_of(there)
    links = {
        (cluster.bandwidth_bytes_per_s[s][t], cluster.latency_s[s][t])
        for s in first
        for t in second
    }
    balanced = all(len(set(_per_server(cluster, x))) == 1 for x in (here, there))
    return not set(first) & set(second) and balanced and len(links) == 1


def _per_server(cluster: Cluster, replicas: Sequence[int]) -> list[int]:
    return [
        sum(n for g, n in zip(cluster.groups, replicas, strict=True) if g.server == server)
        for server in cluster.servers_of(replicas)
    ]


def _unlike(cluster: Cluster, *stages: Sequence[int]) -> bool:
    """Whether a stage has replicas of several GPU types."""
    return any(
        len({g.gpu for g, n in zip(cluster.groups, replicas, strict=True) if n > 0}) > 1
        for replicas in stages
    )
