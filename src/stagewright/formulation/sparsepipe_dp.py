"""``sparsepipe-dp``: SparsePipe's dynamic programme for mixed GPU types, as released.

Its recursion treats the GPUs of a server as a fixed list (largest group first) and lets a
stage take the next ones; several servers are planned one by one and then joined by the same
recursion with servers in place of GPUs.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from stagewright.formulation.antichain_states import StateSpace, published_states
from stagewright.formulation.assemble import stages_of_states
from stagewright.formulation.pipedream_dp import (
    Figures,
    memory_limit,
    refuse_unknown_rules,
)
from stagewright.formulation.problem import Outcome, Problem, Settings
from stagewright.formulation.split_table import (
    Floats,
    Indices,
    SplitTable,
    check_cells,
    fill,
    range_table,
)
from stagewright.model.cluster import Cluster
from stagewright.model.errors import DoesNotApply
from stagewright.model.instance import Instance
from stagewright.model.plan import Plan, Status


@dataclass(frozen=True)
class SparsePipeDp:
    """The published planner for mixed GPU types."""

    name: str = "sparsepipe-dp"
    summary: str = "SparsePipe's dynamic programme, as published (server files, mixed GPU types)"

    def check(self, problem: Problem) -> None:
        """Need one bandwidth inside and one between servers, and no rule that it lacks."""
        _bandwidths(problem.instance.cluster)
        refuse_unknown_rules(self.name, problem.instance.rules)
        if problem.cost_model.one_device:
            raise DoesNotApply("it replicates stages, which the cost model does not know")

    def solve(self, problem: Problem, settings: Settings) -> Outcome:
        """Plan as the original does; the claim is its own period."""
        instance = problem.instance
        cluster = instance.cluster
        inside, between = _bandwidths(cluster)
        states = published_states(next(iter(instance.profiles.values())))
        figures = Figures.of(instance, states)
        times = _state_times(instance, states)
        joined = len(cluster.servers) > 1
        check_cells(len(states.done), cluster.gpu_count if joined else 0)
        context = _Context(
            states,
            figures,
            problem.cost_model.compression_ratio,
            instance.rules.straight_pipeline,
            memory_limit(instance),
            settings,
        )
        servers = [
            _Server.plan(context, cluster, server, times, inside, whole=not joined)
            for server in range(len(cluster.servers))
        ]
        if joined:
            plan = _join(context, servers, between)
        else:
            only = servers[0]
            plan = _Joined(only.table, [only])
        claimed = float(plan.table.value[0, -1, -1])
        if not math.isfinite(claimed):
            return Outcome(
                Status.UNKNOWN, None, reason="the published recursion finds no plan within memory"
            )
        parts = plan.parts(cluster) if joined else servers[0].parts(0, len(states.done) - 1)
        stages = stages_of_states(
            states, [last for last, _ in parts], [counts for _, counts in parts], instance
        )
        return Outcome(Status.FEASIBLE, Plan(stages, self.name, claimed))


MAX_LIST = 512
"""GPUs of a server beyond which the original's table of slowest GPUs would not fit."""


def _bandwidths(cluster: Cluster) -> tuple[float, float]:
    """Return the bandwidth inside servers and the one between them."""
    inside = {float(b) for b in np.diagonal(cluster.bandwidth)}
    apart = ~np.eye(len(cluster.servers), dtype=bool)
    between = {float(b) for b in cluster.bandwidth[apart]}
    if len(inside) > 1 or len(between) > 1:
        raise DoesNotApply(
            "it knows one bandwidth inside servers and one between; this cluster has more"
        )
    here = inside.pop()
    return here, between.pop() if between else here


def _state_times(instance: Instance, states: StateSpace) -> dict[str, Floats]:
    return {
        gpu: states.totals(instance.type_time_s[gpu], states.done)
        for gpu in instance.cluster.gpu_types
    }


@dataclass(frozen=True)
class _Context:
    """What every run of the recursion needs."""

    states: StateSpace
    figures: Figures
    ratio: float | None
    straight: bool
    memory_bytes: float | None
    settings: Settings

    def run(
        self, compute: Sequence[Floats], gpus: Sequence[int], bandwidth: float, *, starts: int
    ) -> SplitTable:
        """Run the recursion over a list of machines.

        Parameters
        ----------
        compute
            Range table of each machine in list order.
        gpus
            GPUs of each machine (1, or a server's), which the one-stage all-reduce counts.
        starts
            Number of first states wanted.
        """
        size, n = len(self.states.done), len(compute)
        parameters = range_table(self.figures.parameter_bytes)
        held = range_table(self.figures.activation_bytes) + parameters
        if n > MAX_LIST:
            raise DoesNotApply(
                f"its list of {n:,} GPUs is too long; use --planner cpsat or linear-dp"
            )
        # slowest[a, b]: the machine of a to b that is slowest on the whole network; ranges are
        # timed on that one, also where another would be slower.
        total_s = [float(table[0, -1]) for table in compute]
        slowest: dict[tuple[int, int], int] = {}
        for a in range(n):
            worst = a
            for b in range(a, n):
                worst = b if total_s[b] > total_s[worst] else worst
                slowest[a, b] = worst
        one_stage = np.full((starts, size, n), np.inf)
        for m in range(1, n + 1):
            if self.straight and m > 1:
                break
            total = sum(gpus[:m])
            with np.errstate(invalid="ignore"):
                sync = 2 * (total - 1) * parameters[:starts] / (bandwidth * total)
                value = np.nan_to_num(
                    (compute[slowest[0, m - 1]][:starts] + sync) / m, nan=np.inf, posinf=np.inf
                )
                if self.memory_bytes is not None:
                    over = np.ceil((n - m) / m) * held[:starts] > self.memory_bytes
                    value[over] = np.inf
            one_stage[:, :, m - 1] = value

        def last_stage(j: int, k: Indices, m: Indices, last: Indices) -> Floats:
            work = (
                np.stack(
                    [
                        compute[slowest[a, b]][k[:, 0] + 1, j]
                        for a, b in zip((m - last).tolist(), (m - 1).tolist(), strict=True)
                    ],
                    axis=1,
                )
                if len(m)
                else np.zeros((len(k), 0))
            )
            sync = 2 * (last - 1) * parameters[k + 1, j] / (bandwidth * last)
            seconds: Floats = (work + sync) / last
            if self.ratio is not None:
                sent = 2 * self.figures.out_bytes / (bandwidth * self.ratio)
                seconds = np.maximum(seconds, sent[k])
                if j < size - 1:
                    seconds = np.maximum(seconds, sent[j])
            if self.memory_bytes is not None:
                over = held[k + 1, j] * np.ceil((n - m) / last) > self.memory_bytes
                seconds = np.where(over, np.inf, seconds)
            return np.where(last > 1, np.inf, seconds) if self.straight else seconds

        return fill(
            self.states,
            one_stage,
            last_stage,
            starts=starts,
            settings=self.settings,
            allowed=lambda m, last: ((last == 1) | (last % 2 == 0)) & (m - last - 1 >= last),
        )


@dataclass(frozen=True)
class _Server:
    """One server's list of GPUs and its table."""

    groups: tuple[int, ...]
    table: SplitTable
    group_count: int

    @classmethod
    def plan(
        cls,
        context: _Context,
        cluster: Cluster,
        server: int,
        times: dict[str, Floats],
        bandwidth: float,
        *,
        whole: bool,
    ) -> _Server:
        """Run the recursion inside one server; ``whole``: only from the first state."""
        mine = [g for g, group in enumerate(cluster.groups) if group.server == server]
        mine.sort(key=lambda g: -cluster.groups[g].count)
        tables = {g: range_table(times[cluster.groups[g].gpu]) for g in mine}
        order = [g for g in mine for _ in range(cluster.groups[g].count)]
        starts = 1 if whole else len(context.states.done)
        table = context.run([tables[g] for g in order], [1] * len(order), bandwidth, starts=starts)
        return cls(tuple(order), table, len(cluster.groups))

    def parts(self, first: int, last: int) -> list[tuple[int, tuple[int, ...]]]:
        """Stages of states ``first`` to ``last``: (last state, GPUs of each group)."""
        found = []
        for part in self.table.parts(first, last, len(self.groups)):
            counts = [0] * self.group_count
            for g in self.groups[part.offset : part.offset + part.machines]:
                counts[g] += 1
            found.append((part.last, tuple(counts)))
        return found


@dataclass(frozen=True)
class _Joined:
    """The table over servers, fastest first."""

    table: SplitTable
    servers: list[_Server]

    def parts(self, cluster: Cluster) -> list[tuple[int, tuple[int, ...]]]:
        """Stages over all servers: (last state, GPUs of each group).

        Where several servers replicate a range, the slowest one's split is taken for all of
        them, as the original does; each of the others spreads its own GPUs over those stages
        in the same proportion.
        """
        found: list[tuple[int, tuple[int, ...]]] = []
        size = self.table.value.shape[1]
        for outer in self.table.parts(0, size - 1, len(self.servers)):
            sharing = self.servers[outer.offset : outer.offset + outer.machines]
            cell = (outer.first, outer.last, -1)
            slowest = max(sharing, key=lambda server: float(server.table.value[cell]))
            inner = slowest.parts(outer.first, outer.last)
            counts = np.array([c for _, c in inner])
            for server in sharing:
                if server is not slowest:
                    counts += _spread(server, [sum(c) for _, c in inner], len(cluster.groups))
            found += [
                (last, tuple(int(x) for x in row))
                for (last, _), row in zip(inner, counts, strict=True)
            ]
        return found


def _spread(server: _Server, shares: list[int], group_count: int) -> Indices:
    """Spread a server's GPUs over stages in proportion to ``shares``; shape (stages, groups)."""
    total = sum(shares)
    edges = np.rint(np.cumsum([0, *shares]) * len(server.groups) / total).astype(np.int64)
    counts = np.zeros((len(shares), group_count), dtype=np.int64)
    for k in range(len(shares)):
        for g in server.groups[edges[k] : edges[k + 1]]:
            counts[k, g] += 1
    return counts


def _join(context: _Context, servers: list[_Server], bandwidth: float) -> _Joined:
    order = sorted(servers, key=lambda server: float(server.table.value[0, -1, -1]))
    table = context.run(
        [server.table.value[:, :, -1] for server in order],
        [len(server.groups) for server in order],
        bandwidth,
        starts=1,
    )
    return _Joined(table, order)
