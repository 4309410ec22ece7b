"""Reading a cluster as PipeDream's levels: equal machines within equal machines."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from stagewright.model.cluster import Cluster
from stagewright.model.errors import DoesNotApply


@dataclass(frozen=True, slots=True)
class Level:
    """``machines`` of the next level inside, joined at one bandwidth."""

    machines: int
    bandwidth_bytes_per_s: float


def levels_of(cluster: Cluster) -> tuple[Level, ...]:
    """Return the levels of a homogeneous cluster, inside out.

    Raises
    ------
    DoesNotApply
        If there is more than one GPU type, servers differ in size or bandwidth, or the
        links between servers do not nest.
    """
    if len(cluster.gpu_types) > 1:
        raise DoesNotApply(
            f"it plans for one GPU type; this cluster has {', '.join(cluster.gpu_types)}"
        )
    if len(set(cluster.counts)) > 1 or len(cluster.groups) != len(cluster.servers):
        raise DoesNotApply("it plans for servers of equal size; these have unequal GPU counts")
    if len(set(np.diagonal(cluster.bandwidth).tolist())) > 1:
        raise DoesNotApply("it plans for equal servers; these have unequal bandwidths inside")
    levels = [Level(cluster.counts[0], float(cluster.bandwidth[0, 0]))]
    span = 1
    while span < len(cluster.servers):
        bandwidth = float(cluster.bandwidth[0, span])
        same = np.flatnonzero(cluster.bandwidth[0, span:] != bandwidth)
        reach = len(cluster.servers) if len(same) == 0 else span + int(same[0])
        if reach % span:
            raise DoesNotApply("it plans for nested levels; the links between servers do not nest")
        levels.append(Level(reach // span, bandwidth))
        span = reach
    _check_nesting(cluster, levels)
    return tuple(levels)


def _check_nesting(cluster: Cluster, levels: list[Level]) -> None:
    servers = np.arange(len(cluster.servers))
    expected = np.full_like(cluster.bandwidth, levels[0].bandwidth_bytes_per_s)
    span = 1
    for level in levels[1:]:
        apart = servers[:, None] // span != servers[None, :] // span
        expected[apart] = level.bandwidth_bytes_per_s
        span *= level.machines
    if not np.array_equal(expected, cluster.bandwidth):
        raise DoesNotApply("it plans for nested levels; the links between servers do not nest")
