r"""The recursion of ``exact-dp`` and ``linear-dp`` under cost model ``max-load``.

Over ideals I and devices u (a count per group) that the rest of the pipeline uses, from its end to
its start::

    F(I, u) = min over J ⊃ I and groups g with u_g > 0 of max(load_g(J \\ I), F(J, u - e_g))

F(whole graph, 0) = 0. Going backwards makes the devices from a stage to the end known, and with
them the minibatches in flight. Only plans below a ceiling are of interest: an ideal from which
what lies before or behind it is too much work for the devices left is not looked at.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from stagewright.formulation.max_load.ideals import IdealSpace, Indices
from stagewright.formulation.problem import Problem, Settings
from stagewright.model.errors import DoesNotApply
from stagewright.model.plan import Stage

Floats = NDArray[np.float64]

SLACK = 1 + 1e-9
MAX_STATES = 4000
MAX_TABLE = 100_000_000


@dataclass(frozen=True)
class DeviceCounts:
    """Numbers of devices in use that the rules allow; state 0 is none.

    Attributes
    ----------
    counts
        Shape (states, groups).
    less_one
        The state with one device of a group less, -1 where it has none; shape (groups, states).
    final
        States in which a plan may end, shape (states,).
    """

    counts: Indices
    less_one: Indices
    final: NDArray[np.bool_]


def device_counts(problem: Problem) -> DeviceCounts:
    """Return all numbers of devices within the rules.

    Raises
    ------
    DoesNotApply
        If there are too many.
    """
    cluster, rules = problem.instance.cluster, problem.instance.rules
    if np.prod([n + 1.0 for n in cluster.counts]) > MAX_STATES:
        raise DoesNotApply(
            f"the cluster has more than {MAX_STATES:,} ways to hand out devices, too many for a "
            "dynamic programme. Use --planner cpsat"
        )
    most = min(x for x in (cluster.gpu_count, rules.max_stages, rules.max_gpus) if x is not None)
    prices = cluster.prices_per_hour
    limit = np.inf if rules.max_price_per_hour is None else rules.max_price_per_hour
    allowed = [
        x
        for x in itertools.product(*(range(n + 1) for n in cluster.counts))
        if sum(x) <= most and np.dot(prices, x) <= limit * (1 + 1e-12)
    ]
    number = {x: s for s, x in enumerate(allowed)}
    less_one = [
        [number.get((*x[:g], x[g] - 1, *x[g + 1 :]), -1) for x in allowed]
        for g in range(len(cluster.counts))
    ]
    final = [sum(x) > 0 and (not rules.use_all or x == cluster.counts) for x in allowed]
    return DeviceCounts(np.array(allowed), np.array(less_one), np.array(final))


@dataclass
class LoadDp:
    """One run of the recursion.

    Parameters
    ----------
    price
        λ, shape (groups,): each block takes at least min_g λ_g T_g of the Σ_g λ_g u_g P that
        devices u can do.
    ceiling_s
        Only plans up to this load are looked for.
    """

    problem: Problem
    space: IdealSpace
    devices: DeviceCounts
    price: Floats
    ceiling_s: float
    settings: Settings
    _best: Floats = field(init=False)

    def solve(self) -> tuple[float, tuple[Stage, ...]] | None:
        """Return the best load and its stages, or ``None`` if none is below the ceiling."""
        size, states = len(self.space), len(self.devices.counts)
        if size * states > MAX_TABLE:
            raise DoesNotApply(
                f"{size:,} cuts and {states:,} ways to hand out devices are too many for a dynamic "
                "programme. Use --planner cpsat"
            )
        self._best = np.full((states, size), np.inf)
        self._best[0, -1] = 0.0
        self._next = np.full((states, size), -1, dtype=np.int32)
        self._group = np.full((states, size), -1, dtype=np.int8)
        enough = self._enough()
        alive = np.full(size, size - 1)
        known = 1
        for i in np.flatnonzero(enough.any(axis=0))[::-1]:
            if self.settings.expired:
                return None
            if self._step(int(i), np.flatnonzero(enough[:, i]), alive[:known]):
                alive[known] = i
                known += 1
        start = np.where(self.devices.final, self._best[:, 0], np.inf)
        used = int(start.argmin())
        return (float(start[used]), self._trace(used)) if np.isfinite(start[used]) else None

    def _enough(self) -> NDArray[np.bool_]:
        """Whether devices u can do what lies behind I, and the others the rest, [u, I]."""
        work = (self.price[:, None] * self.space.graph.time_s).min(axis=0)
        done = self.space.members @ work
        room = self.devices.counts @ self.price * self.ceiling_s * SLACK
        whole = (self.price @ np.array(self.problem.instance.cluster.counts)) * self.ceiling_s
        behind = done[-1] - done[None, :] <= room[:, None]
        before = done[None, :] <= whole * SLACK - room[:, None] / SLACK + 1e-12 * done[-1]
        enough: NDArray[np.bool_] = behind & before
        enough[:, 0] &= self.devices.final
        enough[:, -1] = False
        enough[0] = False
        return enough

    def _step(self, i: int, rows: Indices, alive: Indices) -> bool:
        """Fill F(I, u) for the states u in ``rows``; say whether any is below the ceiling."""
        space, limit = self.space, self.ceiling_s * SLACK
        time_s = space.time_s[:, alive] - space.time_s[:, i][:, None]
        near = np.flatnonzero((time_s <= limit).any(axis=0))
        larger = space.containing(i, alive[near])
        if len(larger) == 0:
            return False
        time_s = space.time_s[:, larger] - space.time_s[:, i][:, None]
        exchange_s = space.exchange_s(i, larger)
        found = False
        for g, pays in enumerate(space.graph.pays):
            load = time_s[g] + exchange_s if pays else time_s[g]
            fits = np.flatnonzero(load <= limit)
            for u in rows:
                before = self.devices.less_one[g, u]
                if before < 0 or len(fits) == 0:
                    continue
                ends = self._within_memory(i, larger, fits, g, int(u))
                if len(ends) == 0:
                    continue
                value = np.maximum(load[ends], self._best[before, larger[ends]])
                least = int(value.argmin())
                if value[least] <= limit and value[least] < self._best[u, i]:
                    self._best[u, i] = value[least]
                    self._next[u, i] = larger[ends[least]]
                    self._group[u, i] = g
                    found = True
        return found

    def _within_memory(self, i: int, larger: Indices, fits: Indices, g: int, u: int) -> Indices:
        """Keep the stages that fit the memory of group ``g`` with u devices from there on."""
        rules, group = self.problem.instance.rules, self.problem.instance.cluster.groups[g]
        if not rules.use_memory or group.memory_bytes is None:
            return fits
        space, ends = self.space, larger[fits]
        in_flight = rules.memory.in_flight(1, int(self.devices.counts[u].sum()))
        held = rules.memory.activation_copies(in_flight) * (
            space.activation_bytes[ends] - space.activation_bytes[i]
        ) + rules.memory.weight_copies(in_flight) * (
            space.parameter_bytes[ends] - space.parameter_bytes[i]
        )
        kept: Indices = fits[held <= group.memory_bytes]
        return kept

    def _trace(self, used: int) -> tuple[Stage, ...]:
        """Walk the best choices from the start of the pipeline to its end."""
        instance, graph = self.problem.instance, self.space.graph
        stages = []
        i, u = 0, used
        while i < len(self.space) - 1:
            following, g = int(self._next[u, i]), int(self._group[u, i])
            blocks = np.flatnonzero(self.space.members[following] & ~self.space.members[i])
            names = tuple(instance.nodes[v] for b in blocks for v in graph.nodes[b])
            replicas = tuple(int(h == g) for h in range(len(instance.cluster.groups)))
            stages.append(Stage(names, replicas))
            i, u = following, int(self.devices.less_one[g, u])
        return tuple(stages)
