"""Plans for large clusters along one layer order: the fewest GPUs that keep a period, bisected.

For a period p, H(i) is the least number of GPUs, taken from the end of a fixed list, on which the
layers from position i to the end keep p::

    H(i) = min over j > i of H(j) + m(i, j),

m(i, j) the fewest replicas with T/m + S(m-1)/m² <= p (S = 2P/β) that also carry the cuts at i and
j. It costs n² steps, whatever the number of GPUs. With one GPU type in one server a stage is
never better off with more GPUs than it needs, so the answer is the best along the order; on mixed
lists it is a plan, and the evaluator says how good.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from stagewright.formulation.cut_space import CutSpace
from stagewright.formulation.problem import Problem, Settings
from stagewright.formulation.rates import Rates, rates_of
from stagewright.model.costs import PipeDream, SparsePipe
from stagewright.model.evaluate import evaluate
from stagewright.model.plan import Plan, Stage
from stagewright.model.rules import Recompute

Floats = NDArray[np.float64]

PRECISION = 1e-6
SLACK = 1 + 1e-12


@dataclass(frozen=True)
class _Run:
    """The next GPUs of the list, up to where the group changes.

    A stage that ends in this run has ``least`` to ``most`` replicas, of the groups ``replicas``
    names (with ``most`` of them), in ``servers``.
    """

    least: int
    most: int
    groups: tuple[int, ...]
    servers: tuple[int, ...]


@dataclass
class PeriodSearch:
    """One layer order, one list of GPUs (groups in ``order``; the last stage gets the end)."""

    problem: Problem
    space: CutSpace
    order: Sequence[int]
    settings: Settings

    def __post_init__(self) -> None:
        cluster = self.problem.instance.cluster
        self._rates: Rates = rates_of(self.problem.cost_model, cluster)
        rules = self.problem.instance.rules
        listed = [g for g in self.order for _ in range(cluster.counts[g])][::-1]
        self._list = listed[: rules.max_gpus]
        self._most = rules.most_replicas(len(self._list))
        self._runs = [self._runs_from(used) for used in range(len(self._list))]
        servers = len(cluster.servers)
        between = cluster.bandwidth[~np.eye(servers, dtype=bool)]
        self._widest_between = float(between.max()) if servers > 1 else 0.0

    @staticmethod
    def applies(problem: Problem) -> bool:
        """Whether the rules and the cost model leave each stage to itself and its cuts."""
        instance = problem.instance
        rules, kept = instance.rules, instance.rules.placement.kept
        equal = getattr(problem.cost_model, "dispatch", "equal") == "equal"
        counted = rules.use_all or rules.max_stages or rules.max_price_per_hour is not None
        placed = instance.forbidden.any() or instance.pinned or kept is not None
        plain = not (rules.use_memory or rules.recompute == Recompute.ALWAYS or counted or placed)
        return plain and equal and problem.cost_model.overlap

    def solve(self, ceiling_s: float) -> tuple[float, tuple[Stage, ...]] | None:
        """Return the best (period, stages) below the ceiling, or ``None``."""
        best: tuple[float, tuple[Stage, ...]] | None = None
        # One GPU keeps the whole network within this period, so nobody needs to look beyond it.
        single = float(self.problem.instance.time_s.sum(axis=1).max()) * (1 + 2 * PRECISION)
        low, high = 0.0, min(ceiling_s, single)
        trial = high * (1 - PRECISION)
        while high - low > PRECISION * high and not self.settings.expired:
            stages = self._keep(trial)
            if stages is None:
                if best is None:
                    break
                low = trial
            else:
                plan = Plan(stages, "linear-dp")
                judged = evaluate(self.problem.instance, plan, self.problem.cost_model)
                best = judged.period_s, stages
                high = min(trial, judged.period_s)
            trial = (low + high) / 2
        return best

    def _runs_from(self, used: int) -> list[_Run]:
        """Stages that start after ``used`` GPUs of the list, by the run in which they end."""
        cluster = self.problem.instance.cluster
        runs: list[_Run] = []
        groups: dict[int, None] = {}
        place = used
        while place < len(self._list) and place - used < self._most:
            group = self._list[place]
            end = place
            while end < len(self._list) and self._list[end] == group:
                end += 1
            groups[group] = None
            servers = tuple(sorted({cluster.groups[g].server for g in groups}))
            runs.append(_Run(place - used + 1, min(end - used, self._most), tuple(groups), servers))
            place = end
        return runs

    def _keep(self, period_s: float) -> tuple[Stage, ...] | None:
        """Return stages that keep ``period_s``, or ``None``."""
        size = len(self.space)
        fewest = np.full(size, np.inf)
        following = np.full(size, -1, dtype=np.int64)
        replicas = np.zeros(size, dtype=np.int64)
        servers: list[tuple[int, ...]] = [()] * size
        fewest[-1] = 0
        for j in range(size - 1, 0, -1):
            if self.settings.expired:
                return None
            used = fewest[j]
            if used >= len(self._list):
                continue
            need, ends = self._fewest_replicas(period_s, j, int(used), servers[j], int(replicas[j]))
            total = used + need
            better = np.flatnonzero(total < fewest[:j])
            fewest[better] = total[better]
            following[better] = j
            replicas[better] = need[better].astype(np.int64)
            runs = self._runs[int(used)]
            for i in better.tolist():
                servers[i] = runs[ends[i]].servers
        return self._stages(following, replicas) if fewest[0] <= len(self._list) else None

    def _fewest_replicas(
        self, period_s: float, j: int, used: int, next_servers: tuple[int, ...], next_replicas: int
    ) -> tuple[Floats, NDArray[np.int64]]:
        """m(i, j) for every i < j, and the run in which each such stage ends."""
        space, cluster = self.space, self.problem.instance.cluster
        need = np.full(j, np.inf)
        ends = np.zeros(j, dtype=np.int64)
        parameters = space.parameter_bytes[j] - space.parameter_bytes[:j]
        slowest = np.zeros(j)
        for number, run in enumerate(self._runs[used]):
            latest = run.groups[-1]
            slowest = np.maximum(slowest, space.time_s[latest, j] - space.time_s[latest, :j])
            links = [cluster.bandwidth[s, t] for s in run.servers for t in run.servers if s < t]
            beta = float(min(links, default=cluster.bandwidth[run.servers[0], run.servers[0]]))
            least = np.maximum(
                run.least, self._for_cuts(period_s, j, run, next_servers, next_replicas)
            )
            sync = 2 * parameters / beta
            total = slowest + sync
            m = _replicas(period_s, total, sync, least)
            found = np.flatnonzero((m <= run.most) & ~np.isfinite(need))
            need[found] = m[found]
            ends[found] = number
            if np.isfinite(need).all():
                break
        return need, ends

    def _for_cuts(
        self,
        period_s: float,
        j: int,
        run: _Run,
        next_servers: tuple[int, ...],
        next_replicas: int,
    ) -> Floats:
        """Replicas that the cuts at every i < j and at j ask for; infinite if none will do."""
        rates, space, cluster = self._rates, self.space, self.problem.instance.cluster
        if rates.free:
            return np.ones(j)
        moved = rates.round_trip * space.cut_bytes
        if rates.name == SparsePipe.name:
            late = moved / float(cluster.bandwidth[0, 0]) > period_s * SLACK
            return np.where(late[:j] | late[j], np.inf, 1.0)
        if rates.name == PipeDream.name:
            asked: Floats = np.ceil(moved / (float(cluster.bandwidth[0, 0]) * period_s) - 1e-9)
            asked[0] = 0
            both: Floats = np.maximum(np.maximum(asked[:j], asked[j]), 1.0)
            both[0] = 1.0  # the first stage sends for free
            return both
        here = run.servers
        inside = float(cluster.bandwidth[here[0], here[0]])
        delay = float(cluster.latency[here[0], here[0]])
        own = np.ceil(moved / (inside * max(period_s - delay, 1e-300)) - 1e-9)
        asked = np.maximum(own[:j], 1.0)
        if len(here) > 1 or self._widest_between > 0:
            across = moved[:j] / (max(self._widest_between, 1e-300) * len(here)) <= period_s
            asked = np.where(across, 1.0, asked if len(here) == 1 else np.inf)
        asked[0] = 1.0
        if j == len(space) - 1:
            return asked
        if len(here) == 1 and here == next_servers:
            return np.maximum(asked, own[j] if next_replicas >= own[j] else np.inf)
        pairs = [(s, t) for s in here for t in next_servers if s != t]
        beta = min(float(cluster.bandwidth[pair]) for pair in pairs)
        latency = max(float(cluster.latency[pair]) for pair in pairs)
        share = min(len(here), len(next_servers))
        carried = latency + moved[j] / (beta * share) <= period_s * SLACK
        return asked if carried else np.full(j, np.inf)

    def _stages(
        self, following: NDArray[np.int64], replicas: NDArray[np.int64]
    ) -> tuple[Stage, ...]:
        """Read the stages from the start; GPUs are handed out from the end of the list."""
        cuts = [0]
        while cuts[-1] < len(self.space) - 1:
            cuts.append(int(following[cuts[-1]]))
        nodes = self.problem.instance.nodes
        groups = len(self.problem.instance.cluster.groups)
        stages: list[Stage] = []
        used = 0
        for i, j in reversed(list(pairwise(cuts))):
            m = int(replicas[i])
            counts = [0] * groups
            for g in self._list[used : used + m]:
                counts[g] += 1
            used += m
            inside = np.flatnonzero(self.space.members[j] & ~self.space.members[i])
            stages.append(Stage(tuple(nodes[v] for v in inside), tuple(counts)))
        return tuple(reversed(stages))


def _replicas(period_s: float, total: Floats, sync: Floats, least: Floats) -> Floats:
    """Smallest m >= least with period m² - total m + sync >= 0; infinite where least is.

    ``total`` is T + S and ``sync`` is S. If ``least`` itself does not satisfy it, it lies between
    the two roots, and the answer is the larger one.
    """
    possible = np.isfinite(least)
    m = np.where(possible, least, 1.0)
    fits = period_s * SLACK * m**2 - total * m + sync >= 0
    root = np.sqrt(np.maximum(total**2 - 4 * period_s * sync, 0.0))
    larger = np.ceil((total + root) / (2 * period_s) - 1e-9)
    return np.where(possible, np.where(fits, m, np.maximum(m, larger)), np.inf)
