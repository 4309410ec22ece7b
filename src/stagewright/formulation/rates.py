"""Cost models as coefficients: what planners need, worked out apart from the evaluator.

A stage of replicas n costs ``max_g T_g / m + P * sync`` seconds; a cut costs ``latency +
bytes * per_byte``. The coefficients depend on the replicas alone, so that a planner can work
them out once. ``model.costs`` states the same formulas for a finished plan, in other code, and
every plan is checked against it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from stagewright.model.cluster import Cluster
from stagewright.model.costs import CostModel, PipeDream, SparsePipe, Topology
from stagewright.model.errors import DoesNotApply

CutKey = tuple[tuple[int, ...], int]
"""What a cut needs to know of a stage; each cost model fills it in its own way."""


@dataclass(frozen=True, slots=True)
class CutRate:
    """A cut costs ``latency_s + bytes * s_per_byte``; the later stage waits ``received``."""

    latency_s: float
    s_per_byte: float
    received_s_per_byte: float


class Rates(ABC):
    """Coefficients of one cost model on one cluster."""

    name: ClassVar[str]

    def __init__(self, cluster: Cluster, compression_ratio: float | None) -> None:
        self.cluster = cluster
        self.round_trip = 0.0 if compression_ratio is None else 2 / compression_ratio
        self.free = compression_ratio is None

    def sync_s_per_byte(self, replicas: Sequence[int]) -> float:
        """Seconds of all-reduce per minibatch and parameter byte: 2(m-1)/(βm)/m."""
        m = sum(replicas)
        return 2 * (m - 1) / (self.reduce_bandwidth(replicas) * m * m)

    def reduce_bandwidth(self, replicas: Sequence[int]) -> float:
        """β of the all-reduce between ``replicas``."""
        del replicas
        return float(self.cluster.bandwidth[0, 0])

    def widest_reduce_bandwidth(self, replicas: int) -> float:
        """Return the fastest β that any stage with so many replicas can have."""
        del replicas
        return float(self.cluster.bandwidth[0, 0])

    @abstractmethod
    def key(self, replicas: Sequence[int], *, is_first: bool) -> CutKey:
        """What a cut needs to know of a stage: stages with equal keys are alike to it."""

    @abstractmethod
    def cut(self, earlier: CutKey, later: CutKey) -> CutRate:
        """Coefficients of a cut between stages with these keys."""


class _PipeDreamRates(Rates):
    """Key: (whether first,), replicas."""

    name = PipeDream.name

    def key(self, replicas: Sequence[int], *, is_first: bool) -> CutKey:
        return (int(is_first),), sum(replicas)

    def cut(self, earlier: CutKey, later: CutKey) -> CutRate:
        beta = float(self.cluster.bandwidth[0, 0])
        received = self.round_trip / (beta * later[1])
        sent = 0.0 if earlier[0][0] else self.round_trip / (beta * earlier[1])
        return CutRate(0.0, max(received, sent), received)


class _SparsePipeRates(Rates):
    """Every cut costs the same per byte."""

    name = SparsePipe.name

    def key(self, replicas: Sequence[int], *, is_first: bool) -> CutKey:
        del replicas, is_first
        return (), 0

    def cut(self, earlier: CutKey, later: CutKey) -> CutRate:
        del earlier, later
        rate = self.round_trip / float(self.cluster.bandwidth[0, 0])
        return CutRate(0.0, rate, rate)


class _TopologyRates(Rates):
    """Key: servers used, and the replicas if they share one server."""

    name = Topology.name

    def reduce_bandwidth(self, replicas: Sequence[int]) -> float:
        used = self.cluster.servers_of(replicas)
        links = [self.cluster.bandwidth[s, t] for s in used for t in used if s < t]
        return float(min(links, default=self.cluster.bandwidth[used[0], used[0]]))

    def widest_reduce_bandwidth(self, replicas: int) -> float:
        servers = range(len(self.cluster.servers))
        sizes = [sum(g.count for g in self.cluster.groups if g.server == s) for s in servers]
        inside = [self.cluster.bandwidth[s, s] for s in servers if sizes[s] >= replicas]
        between = self.cluster.bandwidth[~np.eye(len(servers), dtype=bool)].tolist()
        return float(max([*inside, *between], default=self.cluster.bandwidth.max()))

    def key(self, replicas: Sequence[int], *, is_first: bool) -> CutKey:
        del is_first
        used = self.cluster.servers_of(replicas)
        return used, sum(replicas) if len(used) == 1 else 0

    def cut(self, earlier: CutKey, later: CutKey) -> CutRate:
        if self.free:
            return CutRate(0.0, 0.0, 0.0)
        (here, m), (there, n) = earlier, later
        if len(here) == len(there) == 1 and here == there:
            links, share = [(here[0], here[0])], min(m, n)
        else:
            links = [(s, t) for s in here for t in there if s != t]
            share = min(len(here), len(there))
        beta = min(float(self.cluster.bandwidth[link]) for link in links)
        latency = max(float(self.cluster.latency[link]) for link in links)
        rate = self.round_trip / (beta * share)
        return CutRate(latency, rate, rate)


def rates_of(cost_model: CostModel, cluster: Cluster) -> Rates:
    """Return the coefficients of ``cost_model`` on ``cluster``."""
    kinds: dict[type[CostModel], type[Rates]] = {
        PipeDream: _PipeDreamRates,
        SparsePipe: _SparsePipeRates,
        Topology: _TopologyRates,
    }
    if type(cost_model) not in kinds:
        raise DoesNotApply(f"no planner knows cost model '{cost_model.name}'")
    return kinds[type(cost_model)](cluster, cost_model.compression_ratio)
