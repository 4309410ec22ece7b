"""Changes to a problem: what a user could buy or allow, each one a problem of its own."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from stagewright.formulation.problem import Problem
from stagewright.model.cluster import Cluster, GpuGroup
from stagewright.model.rules import Recompute, Rules, Versions


class ChangeKind(StrEnum):
    """What is changed."""

    GPU = "gpu"
    BANDWIDTH = "bandwidth"
    MEMORY = "memory"
    MEMORY_LIFTED = "memory-lifted"
    RECOMPUTE = "recompute"
    VERSIONS = "versions"
    WITHOUT = "without"
    LIMIT = "limit"


@dataclass(frozen=True)
class Change:
    """One change, and the problem that it leads to.

    Attributes
    ----------
    subject
        The GPU type, the number of weight versions, or the name of the demand.
    server
        Where a GPU is added.
    value
        Factor of the bandwidth, or the new limit.
    memory_bytes
        (GPU type, bytes) of the types that get more memory.
    """

    kind: ChangeKind
    problem: Problem
    subject: str = ""
    server: str = ""
    value: float | None = None
    memory_bytes: tuple[tuple[str, float], ...] = ()


def with_cluster(problem: Problem, cluster: Cluster) -> Problem:
    """Return the same problem on another cluster."""
    instance = dataclasses.replace(problem.instance, cluster=cluster)
    return dataclasses.replace(problem, instance=instance)


def with_rules(problem: Problem, rules: Rules) -> Problem:
    """Return the same problem under other rules."""
    return dataclasses.replace(problem, instance=problem.instance.with_rules(rules))


def one_more_gpu(problem: Problem) -> tuple[Change, ...]:
    """One more GPU in each group; of groups that are alike, only in the first."""
    cluster = problem.instance.cluster
    changes: dict[object, Change] = {}
    for g, group in enumerate(cluster.groups):
        larger = dataclasses.replace(group, count=group.count + 1)
        groups = (*cluster.groups[:g], larger, *cluster.groups[g + 1 :])
        change = Change(
            ChangeKind.GPU,
            with_cluster(problem, dataclasses.replace(cluster, groups=groups)),
            subject=group.gpu,
            server=cluster.servers[group.server],
        )
        changes.setdefault(_kind_of(cluster, group), change)
    return tuple(changes.values())


def _kind_of(cluster: Cluster, group: GpuGroup) -> object:
    """Groups of one kind have the same type, in servers with like GPUs and like links."""

    def content(server: int) -> tuple[object, ...]:
        return tuple(
            sorted(
                (g.gpu, g.count, g.memory_bytes or 0.0, g.price_per_hour or 0.0)
                for g in cluster.groups
                if g.server == server
            )
        )

    here = group.server
    links = sorted(
        (
            cluster.bandwidth_bytes_per_s[here][there],
            cluster.latency_s[here][there],
            there == here,
            content(there),
        )
        for there in range(len(cluster.servers))
    )
    return group.gpu, content(here), tuple(links)


def more_bandwidth(problem: Problem, factor: float) -> Change:
    """Every link ``factor`` times as fast."""
    cluster = problem.instance.cluster
    rows = tuple(tuple(x * factor for x in row) for row in cluster.bandwidth_bytes_per_s)
    faster = dataclasses.replace(cluster, bandwidth_bytes_per_s=rows)
    return Change(ChangeKind.BANDWIDTH, with_cluster(problem, faster), value=factor)


def memory_lifted(problem: Problem) -> Change:
    """Memory without limit."""
    rules = dataclasses.replace(problem.instance.rules, use_memory=False)
    return Change(ChangeKind.MEMORY_LIFTED, with_rules(problem, rules))


def memory_scaled(problem: Problem, factor: float) -> Problem:
    """Return the problem with ``factor`` times the memory on every GPU."""
    cluster = problem.instance.cluster
    groups = tuple(
        g
        if g.memory_bytes is None
        else dataclasses.replace(g, memory_bytes=g.memory_bytes * factor)
        for g in cluster.groups
    )
    return with_cluster(problem, dataclasses.replace(cluster, groups=groups))


def round_up(n_bytes: float) -> float:
    """Round to what is printed of a size: 0.1 GB, 1 MB, 1 kB or 1 byte.

    >>> round_up(12_340_000_001.0), round_up(1_000_001.0), round_up(12.5)
    (12400000000.0, 2000000.0, 13.0)
    """
    step = next((x / 10 if x == 1e9 else x for x in (1e9, 1e6, 1e3) if n_bytes >= x), 1.0)
    return math.ceil(n_bytes / step) * step


def more_memory(problem: Problem, needed_bytes: Mapping[str, float]) -> Change:
    """Return the change to ``needed_bytes``, rounded up, on every GPU of a type that has less."""
    cluster = problem.instance.cluster
    groups = []
    raised: dict[str, float] = {}
    for group in cluster.groups:
        needed = needed_bytes.get(group.gpu, 0.0)
        if group.memory_bytes is not None and group.memory_bytes < needed:
            raised[group.gpu] = round_up(needed)
            groups.append(dataclasses.replace(group, memory_bytes=raised[group.gpu]))
        else:
            groups.append(group)
    larger = dataclasses.replace(cluster, groups=tuple(groups))
    changed = with_cluster(problem, larger)
    return Change(ChangeKind.MEMORY, changed, memory_bytes=tuple(raised.items()))


def recompute_auto(problem: Problem) -> tuple[Change, ...]:
    """Stages may recompute their activations, if that is a change."""
    rules = problem.instance.rules
    if not rules.use_memory or rules.recompute == Recompute.AUTO:
        return ()
    changed = dataclasses.replace(rules, recompute=Recompute.AUTO)
    return (Change(ChangeKind.RECOMPUTE, with_rules(problem, changed)),)


def fewer_versions(problem: Problem) -> tuple[Change, ...]:
    """Fewer versions of the weights, most first."""
    rules = problem.instance.rules
    order = (Versions.STASH, Versions.TWO_BW, Versions.FLUSH)
    return tuple(
        Change(
            ChangeKind.VERSIONS,
            with_rules(
                problem,
                dataclasses.replace(
                    rules, memory=dataclasses.replace(rules.memory, versions=versions)
                ),
            ),
            subject=versions,
        )
        for versions in order[order.index(rules.memory.versions) + 1 :]
    )
