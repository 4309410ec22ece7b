r"""Plans as paths over ideals, at prices for GPUs: proofs that no plan keeps a period.

A plan is a path from no layer to all layers, of runs in one server (:mod:`server_runs`) and stages
over several. Let λ_r >= 0 be prices with Σ_r λ_r N_r = 1. Every plan uses at most all GPUs, so it
costs at most 1. If even the cheapest path costs more, no plan keeps the period. The cheapest path
is found by one pass over the ideals; the best prices, the dual of mixing plans so that no resource
is overdrawn, by Kelley's cutting planes (J. SIAM 8, 1960). And a part through which the cheapest
path costs more than 1 is in no plan.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from ortools.math_opt.python import mathopt

from stagewright.formulation.server_runs import Run, ServerRuns
from stagewright.formulation.stage_columns import SEVERAL, Columns, Option

Floats = NDArray[np.float64]
Indices = NDArray[np.int64]

ROUNDS = 40
ONE = 1 + 1e-9


@dataclass(frozen=True)
class Wide:
    """A stage over several servers: a pair of ideals, and one of the options for it."""

    first: int
    last: int
    pair: int
    option: Option

    @property
    def replicas(self) -> int:
        """Replicas that it needs."""
        return int(self.option.replicas[self.pair])


@dataclass(frozen=True)
class Prices:
    """Prices, and what parts of a plan cost at them.

    Attributes
    ----------
    price
        λ, shape (resources,).
    runs, wide
        Cost of each run, shape (runs,), and of each stage over several servers, shape (options,
        pairs), infinite where there is none.
    to_end, from_start
        Cost of the cheapest path from and to each ideal.
    """

    price: Floats
    runs: Floats
    wide: Floats
    to_end: Floats
    from_start: Floats

    @property
    def refuted(self) -> bool:
        """Whether these prices prove that no plan keeps the period."""
        return bool(self.to_end[0] > ONE)


class PricedPaths:
    """Cheapest paths at one period."""

    def __init__(self, columns: Columns) -> None:
        self.columns = columns
        self.runs = ServerRuns(columns).runs
        self._totals = np.array([float(r.total) for r in columns.resources])
        self._several = [o for o in columns.options if o.kind == SEVERAL]
        self._run_first = np.array([run.first for run in self.runs], dtype=np.int64)
        self._run_last = np.array([run.last for run in self.runs], dtype=np.int64)

    @cached_property
    def _usage(self) -> Floats:
        """GPUs of each resource that each run takes, shape (runs, resources)."""
        return np.array([run.usage for run in self.runs], dtype=float).reshape(
            len(self.runs), len(self._totals)
        )

    @cached_property
    def _runs_by_first(self) -> dict[int, Indices]:
        found: dict[int, list[int]] = defaultdict(list)
        for number, first in enumerate(self._run_first.tolist()):
            found[first].append(number)
        return {first: np.array(numbers) for first, numbers in found.items()}

    def best_prices(self) -> Prices:
        """Return prices that refute the period, or the ones under which paths cost the most."""
        price = np.full(len(self._totals), 1 / self._totals.sum())
        best = self._priced(price)
        master, prices, value = self._master()
        for _ in range(ROUNDS):
            now = self._priced(price)
            if now.to_end[0] > best.to_end[0]:
                best = now
            if best.refuted:
                return best
            used = self._used(now)
            master.add_linear_constraint(
                value <= mathopt.fast_sum(float(u) * x for u, x in zip(used, prices, strict=True))
            )
            answer = mathopt.solve(master, mathopt.SolverType.GLOP)
            if not answer.has_primal_feasible_solution():
                return best
            price = np.maximum(np.array(answer.variable_values(prices)), 0.0)
            price = price / (price @ self._totals)
            if answer.objective_value() <= max(1.0, float(best.to_end[0]) * (1 + 1e-6)):
                return best
        return best

    def _master(self) -> tuple[mathopt.Model, list[mathopt.Variable], mathopt.Variable]:
        model = mathopt.Model()
        prices = [model.add_variable(lb=0.0, ub=1 / n) for n in self._totals]
        value = model.add_variable(lb=0.0, ub=1e6)
        model.add_linear_constraint(
            mathopt.fast_sum(float(n) * x for n, x in zip(self._totals, prices, strict=True)) == 1
        )
        model.maximize(value)
        return model, prices, value

    def _priced(self, price: Floats) -> Prices:
        pairs = self.columns.pairs
        run_cost = self._usage @ price
        wide = np.array([self._fill(option, price)[0] for option in self._several])
        if not self._several:
            wide = np.full((1, len(pairs)), np.inf)
        cheapest = wide.min(axis=0)
        size = len(pairs.space)
        to_end = np.full(size, np.inf)
        to_end[-1] = 0.0
        for i in range(size - 2, -1, -1):
            here = slice(pairs.start[i], pairs.start[i + 1])
            to_end[i] = (cheapest[here] + to_end[pairs.last[here]]).min(initial=np.inf)
            mine = self._runs_by_first.get(i)
            if mine is not None:
                to_end[i] = min(to_end[i], (run_cost[mine] + to_end[self._run_last[mine]]).min())
        from_start = np.full(size, np.inf)
        from_start[0] = 0.0
        for i in range(size - 1):
            here = slice(pairs.start[i], pairs.start[i + 1])
            ends = pairs.last[here]
            from_start[ends] = np.minimum(from_start[ends], from_start[i] + cheapest[here])
            mine = self._runs_by_first.get(i)
            if mine is not None:
                reach = from_start[i] + run_cost[mine]
                np.minimum.at(from_start, self._run_last[mine], reach)
        return Prices(price, run_cost, wide, to_end, from_start)

    def _fill(self, option: Option, price: Floats) -> tuple[Floats, Floats]:
        """Cost of equipping each pair, cheapest GPUs first, and the GPUs taken per resource."""
        possible = np.isfinite(option.replicas)
        left = np.where(possible, option.replicas, 0.0)
        cost = np.where(possible, 0.0, np.inf)
        taken = np.zeros(option.allowed.shape)
        for r in np.argsort(price, kind="stable").tolist():
            taken[r] = np.minimum(left, option.room[r]) * option.allowed[r]
            left = left - taken[r]
            cost = cost + price[r] * taken[r]
        return cost, taken

    def _used(self, now: Prices) -> Floats:
        """GPUs of each resource on the cheapest path."""
        pairs = self.columns.pairs
        used = np.zeros(len(self._totals))
        cheapest = now.wide.min(axis=0)
        i = 0
        while i < len(pairs.space) - 1:
            mine = self._runs_by_first.get(i, np.zeros(0, dtype=np.int64))
            runs = now.runs[mine] + now.to_end[self._run_last[mine]]
            here = slice(pairs.start[i], pairs.start[i + 1])
            wide = cheapest[here] + now.to_end[pairs.last[here]]
            if runs.min(initial=np.inf) <= wide.min(initial=np.inf):
                run = int(mine[int(runs.argmin())])
                used += self._usage[run]
                i = int(self._run_last[run])
            else:
                pair = int(pairs.start[i] + wide.argmin())
                option = self._several[int(now.wide[:, pair].argmin())]
                used += self._fill(option, now.price)[1][:, pair]
                i = int(pairs.last[pair])
        return used

    def worth_a_look(self, prices: Prices, limit: float = ONE) -> tuple[list[Run], list[Wide]]:
        """Return the runs and wide stages through which the cheapest path costs ``limit`` at most.

        With the limit 1, everything that may be part of a plan.
        """
        pairs = self.columns.pairs
        through = prices.from_start[self._run_first] + prices.runs + prices.to_end[self._run_last]
        runs = [self.runs[x] for x in np.flatnonzero(through <= limit).tolist()]
        through = prices.from_start[pairs.first] + prices.wide + prices.to_end[pairs.last]
        options, found = np.nonzero(through <= limit)
        wide = [
            Wide(int(pairs.first[pair]), int(pairs.last[pair]), pair, self._several[o])
            for o, pair in zip(options.tolist(), found.tolist(), strict=True)
        ]
        return runs, wide
