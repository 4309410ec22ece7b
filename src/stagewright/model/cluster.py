"""Clusters: servers, the groups of like GPUs in them, and the links between them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from stagewright.model.errors import InputError

DEFAULT_BANDWIDTH_BYTES_PER_S = 1e8
"""Bandwidth that the published tools assume when none is given."""


@dataclass(frozen=True, slots=True)
class GpuGroup:
    """``count`` interchangeable GPUs of one type in one server.

    Attributes
    ----------
    server
        Index of the server in its cluster.
    gpu
        Name of the GPU type.
    count
        How many there are.
    memory_bytes
        Memory of each GPU, or ``None`` if it is not known.
    price_per_hour
        Price of one GPU for an hour, in any currency, or ``None`` if it is not known.
    """

    server: int
    gpu: str
    count: int
    memory_bytes: float | None = None
    price_per_hour: float | None = None


@dataclass(frozen=True)
class Cluster:
    """Servers with their GPU groups, and a symmetric matrix of links.

    Parameters
    ----------
    servers
        Names, unique.
    groups
        Server by server, in the order of the file.
    bandwidth_bytes_per_s
        ``bandwidth[s][t]`` between servers ``s`` and ``t``; the diagonal is inside a server.
    latency_s
        Same shape; added once to each transfer.
    """

    servers: tuple[str, ...]
    groups: tuple[GpuGroup, ...]
    bandwidth_bytes_per_s: tuple[tuple[float, ...], ...]
    latency_s: tuple[tuple[float, ...], ...]

    def __post_init__(self) -> None:
        size = len(self.servers)
        if size == 0:
            raise InputError("the cluster has no servers")
        if len(set(self.servers)) != size:
            twice = next(x for x in self.servers if self.servers.count(x) > 1)
            raise InputError(f"server '{twice}' is named twice")
        for server, name in enumerate(self.servers):
            types = [g.gpu for g in self.groups if g.server == server]
            if not types:
                raise InputError(f"server '{name}' has no GPUs")
            for gpu in types:
                if types.count(gpu) > 1:
                    raise InputError(
                        f"server '{name}' lists '{gpu}' twice", hint="Add up the counts in one line"
                    )
        self._check_groups()
        self._check_links()

    def _check_groups(self) -> None:
        for group in self.groups:
            if not 0 <= group.server < len(self.servers):
                raise InputError(
                    f"group '{group.gpu}' is in server {group.server} of {len(self.servers)}"
                )
            if group.count < 1:
                raise InputError(f"group '{group.gpu}' has {group.count} GPUs; expected 1 or more")
            if group.memory_bytes is not None and not _positive(group.memory_bytes):
                raise InputError(f"group '{group.gpu}': memory is not a positive number of bytes")
            price = group.price_per_hour
            if price is not None and not (math.isfinite(price) and price >= 0):
                raise InputError(f"group '{group.gpu}': the price is not a number of 0 or more")

    def _check_links(self) -> None:
        size = len(self.servers)
        links = (("bandwidth", self.bandwidth_bytes_per_s), ("latency", self.latency_s))
        for what, rows in links:
            if len(rows) != size or any(len(row) != size for row in rows):
                raise InputError(f"{what} is not a symmetric {size} x {size} matrix")
        if not (np.isfinite(self.bandwidth).all() and (self.bandwidth > 0).all()):
            raise InputError("a bandwidth is not a positive number of bytes/s")
        if not (np.isfinite(self.latency).all() and (self.latency >= 0).all()):
            raise InputError("a latency is not a number of seconds of 0 or more")
        for what, matrix in (("bandwidth", self.bandwidth), ("latency", self.latency)):
            if not np.array_equal(matrix, matrix.T):
                raise InputError(f"{what} is not a symmetric {size} x {size} matrix")

    @cached_property
    def bandwidth(self) -> NDArray[np.float64]:
        """Bandwidths as an array, shape (servers, servers), bytes/s."""
        return np.array(self.bandwidth_bytes_per_s, dtype=float)

    @cached_property
    def latency(self) -> NDArray[np.float64]:
        """Latencies as an array, shape (servers, servers), seconds."""
        return np.array(self.latency_s, dtype=float)

    @cached_property
    def counts(self) -> tuple[int, ...]:
        """GPUs in each group."""
        return tuple(g.count for g in self.groups)

    @cached_property
    def prices_per_hour(self) -> tuple[float, ...]:
        """Price of one GPU of each group for an hour; 0 where none is stated."""
        return tuple(g.price_per_hour or 0.0 for g in self.groups)

    @property
    def gpu_count(self) -> int:
        """GPUs in the whole cluster."""
        return sum(self.counts)

    @property
    def gpu_types(self) -> tuple[str, ...]:
        """Names of the GPU types, each once, in file order."""
        return tuple(dict.fromkeys(g.gpu for g in self.groups))

    def servers_of(self, replicas: Sequence[int]) -> tuple[int, ...]:
        """Indices of the servers that ``replicas`` (a count per group) touches."""
        used = {g.server for g, n in zip(self.groups, replicas, strict=True) if n > 0}
        return tuple(sorted(used))

    def describe(self) -> str:
        """One line for people: ``Server0: TitanV×1, TitanXP×3``."""
        return "; ".join(
            f"{name}: " + ", ".join(f"{g.gpu}×{g.count}" for g in self.groups if g.server == server)
            for server, name in enumerate(self.servers)
        )


def uniform_links(
    inside: Sequence[float], between: float, *, latency_s: float = 0.0
) -> tuple[tuple[tuple[float, ...], ...], tuple[tuple[float, ...], ...]]:
    """Return (bandwidth, latency) matrices: ``inside[s]`` on the diagonal, ``between`` off it.

    ``latency_s`` applies between servers only.
    """
    size = range(len(inside))
    bandwidth = tuple(tuple(inside[s] if s == t else between for t in size) for s in size)
    latency = tuple(tuple(0.0 if s == t else latency_s for t in size) for s in size)
    return bandwidth, latency


def level_cluster(gpu: str, counts: Sequence[int], bandwidths: Sequence[float]) -> Cluster:
    """Return the homogeneous cluster of PipeDream's levels, inside out.

    ``counts[0]`` GPUs share a server at ``bandwidths[0]``; ``counts[1]`` servers are joined
    at ``bandwidths[1]``, and so on: two servers talk at the bandwidth of the innermost level
    that holds both.
    """
    if len(counts) != len(bandwidths):
        raise InputError(
            f"{len(counts)} levels (-n) but {len(bandwidths)} bandwidths (-b); "
            "expected one bandwidth per level"
        )
    if not counts:
        raise InputError(
            "no levels (-n) given; expected the number of GPUs, or of machines per level"
        )
    if any(n < 1 for n in counts):
        raise InputError("a level (-n) has fewer than 1 machine")
    servers = math.prod(counts[1:])
    matrix = [[float(bandwidths[0])] * servers for _ in range(servers)]
    for s in range(servers):
        for t in range(servers):
            span, level = 1, 0
            while s // span != t // span:
                span *= counts[level + 1]
                level += 1
            matrix[s][t] = float(bandwidths[level])
    return Cluster(
        servers=tuple(f"Server{s}" for s in range(servers)),
        groups=tuple(GpuGroup(s, gpu, counts[0]) for s in range(servers)),
        bandwidth_bytes_per_s=tuple(tuple(row) for row in matrix),
        latency_s=tuple(tuple(0.0 for _ in row) for row in matrix),
    )


def _positive(value: float) -> bool:
    return math.isfinite(value) and value > 0
