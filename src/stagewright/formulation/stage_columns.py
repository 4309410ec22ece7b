r"""Every stage that keeps a period on an unlike cluster, as columns over pairs of ideals.

A column is a stage J \ I with a way to equip it: the GPUs of one server, or of several, of no type
slower on this stage than a given one. With the slowest type's time T and the bandwidth β of the
all-reduce it needs at least m replicas, the fewest with (T + 2(m-1)P/(βm)) / m <= p that also carry
the cuts at its ends. A cut that no link between servers carries has to stay inside a server, or
inside a bundle of several.

Servers that are alike form one class; a class holds one resource per GPU type. Link speeds between
servers are taken as the best there is, so that columns leave no plan out.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from stagewright.formulation.cut_space import CutSpace
from stagewright.formulation.fewest_gpus import fewest_replicas
from stagewright.formulation.flat_costs import SLACK
from stagewright.formulation.problem import Problem
from stagewright.formulation.rates import rates_of
from stagewright.model.cluster import Cluster
from stagewright.model.costs import SparsePipe, Topology, is_proportional

Floats = NDArray[np.float64]
Indices = NDArray[np.int64]

SEVERAL = -1
ALIKE = 1 + 1e-12


@dataclass(frozen=True)
class Resource:
    """GPUs of one type in the servers of one class.

    Attributes
    ----------
    kind
        Class of servers.
    gpu
        GPU type.
    each, servers
        GPUs in one server; servers of the class.
    """

    kind: int
    gpu: str
    each: int
    servers: tuple[int, ...]

    @property
    def total(self) -> int:
        """GPUs in all servers of the class."""
        return self.each * len(self.servers)


def resources_of(cluster: Cluster) -> tuple[Resource, ...]:
    """Group the cluster's GPUs by servers that hold the same and are linked the same inside."""
    classes: dict[tuple[object, ...], list[int]] = {}
    for s in range(len(cluster.servers)):
        held = tuple((g.gpu, g.count) for g in cluster.groups if g.server == s)
        inside = float(cluster.bandwidth[s, s]), float(cluster.latency[s, s])
        classes.setdefault((held, inside), []).append(s)
    found = []
    for kind, (_, servers) in enumerate(classes.items()):
        for group in cluster.groups:
            if group.server == servers[0]:
                found.append(Resource(kind, group.gpu, group.count, tuple(servers)))
    return tuple(found)


@dataclass(frozen=True)
class Option:
    """One way to equip stages: in one server of a class, or in several servers.

    Attributes
    ----------
    kind
        Class of the server, or :data:`SEVERAL`.
    slowest
        GPU type that sets the pace.
    replicas
        Fewest replicas for each pair, shape (pairs,); infinite where none will do.
    allowed
        Whether a resource may be used for a pair, shape (resources, pairs).
    room
        GPUs of each resource that one stage may take.
    """

    kind: int
    slowest: str
    replicas: Floats
    allowed: NDArray[np.bool_]
    room: tuple[int, ...]


class Pairs:
    """All pairs of ideals I ⊂ J, sorted by I, with what lies between them."""

    def __init__(self, problem: Problem, space: CutSpace) -> None:
        self.space = space
        self.start, self.last = space.pairs
        self.first = np.repeat(np.arange(len(space)), np.diff(self.start))
        instance = problem.instance
        done = {gpu: space.members @ t for gpu, t in instance.type_time_s.items()}
        self.time_s = {gpu: x[self.last] - x[self.first] for gpu, x in done.items()}
        held = space.parameter_bytes
        self.parameter_bytes = held[self.last] - held[self.first]

    def __len__(self) -> int:
        """Count the pairs."""
        return len(self.first)


class Columns:
    """All columns that keep ``period_s``."""

    def __init__(self, problem: Problem, pairs: Pairs, period_s: float) -> None:
        self.pairs = pairs
        self.period_s = period_s
        self._cluster = problem.instance.cluster
        self._rates = rates_of(problem.cost_model, self._cluster)
        self._most = problem.instance.rules.most_replicas(self._cluster.gpu_count)
        self.resources = resources_of(self._cluster)
        self._types = tuple(dict.fromkeys(r.gpu for r in self.resources))

    @staticmethod
    def apply(problem: Problem) -> bool:
        """Whether replicas take turns, and the cost model knows mixed GPU types."""
        known = problem.cost_model.name in {Topology.name, SparsePipe.name}
        return known and not is_proportional(problem.cost_model)

    @cached_property
    def _moved(self) -> Floats:
        """Bytes there and back at each ideal, compression taken off."""
        return self._rates.round_trip * self.pairs.space.cut_bytes

    @cached_property
    def across(self) -> Floats:
        """Servers that each cut needs on both sides to leave them; infinite: it never may."""
        cluster = self._cluster
        size = len(cluster.servers)
        if size == 1:
            needed = np.full(len(self._moved), np.inf)
        else:
            other = ~np.eye(size, dtype=bool)
            left = self.period_s * SLACK - float(cluster.latency[other].min())
            beta = float(cluster.bandwidth[other].max())
            needed = np.ceil(self._moved / (beta * max(left, 1e-300)) - 1e-9)
            needed = np.where((needed <= size) & (left > 0), np.maximum(needed, 1.0), np.inf)
        if self._rates.free:
            needed[:] = 1.0
        needed[[0, -1]] = 1.0
        return needed

    def _inside(self, kind: int) -> Floats:
        """Replicas that each cut asks of both sides to stay inside one server of a class."""
        server = next(r.servers[0] for r in self.resources if r.kind == kind)
        beta = float(self._cluster.bandwidth[server, server])
        if self._rates.name == SparsePipe.name:
            needed = np.where(self._moved / beta <= self.period_s * SLACK, 1.0, np.inf)
        else:
            left = self.period_s * SLACK - float(self._cluster.latency[server, server])
            needed = np.ceil(self._moved / (beta * max(left, 1e-300)) - 1e-9)
            needed = np.where(left > 0, np.maximum(needed, 1.0), np.inf)
        if self._rates.free:
            needed[:] = 1.0
        needed[[0, -1]] = 1.0
        return needed

    @cached_property
    def options(self) -> list[Option]:
        """Every option, with the fewest replicas of each pair."""
        found = []
        for kind in dict.fromkeys(r.kind for r in self.resources):
            mine = [r for r in self.resources if r.kind == kind]
            server = mine[0].servers[0]
            beta = float(self._cluster.bandwidth[server, server])
            # A cut that may leave the server asks nothing of the stage's replicas.
            asked = np.where(self.across <= 1, 1.0, self._inside(kind))
            for slowest in dict.fromkeys(r.gpu for r in mine):
                found.append(self._option(kind, slowest, beta, asked))
        if len(self._cluster.servers) > 1:
            other = ~np.eye(len(self._cluster.servers), dtype=bool)
            beta = float(self._cluster.bandwidth[other].max())
            asked = np.maximum(self.across, 2.0)
            for slowest in self._types:
                found.append(self._option(SEVERAL, slowest, beta, asked))
        return found

    def _option(self, kind: int, slowest: str, beta: float, asked: Floats) -> Option:
        pairs = self.pairs
        time = pairs.time_s[slowest]
        sync = 2 / beta * pairs.parameter_bytes
        least = np.maximum(asked[pairs.first], asked[pairs.last])
        replicas = fewest_replicas(self.period_s, time + sync, sync, least)
        allowed = np.array(
            [
                (kind in (SEVERAL, r.kind)) & (pairs.time_s[r.gpu] <= time * ALIKE)
                for r in self.resources
            ]
        )
        room = tuple(r.total if kind == SEVERAL else r.each for r in self.resources)
        if kind == SEVERAL:
            kinds = {r.kind: len(r.servers) for r in self.resources}
            reachable = sum(
                n * allowed[[r for r, x in enumerate(self.resources) if x.kind == k]].any(axis=0)
                for k, n in kinds.items()
            )
            replicas = np.where(least <= reachable, replicas, np.inf)
        enough = np.array(room) @ allowed
        replicas = np.where(replicas <= np.minimum(enough, self._most), replicas, np.inf)
        return Option(kind, slowest, replicas, allowed, room)
