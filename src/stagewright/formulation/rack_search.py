"""Bound and plan on servers of unlike GPUs, before the node-level model: columns, prices, paths.

The bracket [refuted, best plan] around the least period is narrowed down by trying periods:
prices refute most of those that are too short (:mod:`priced_paths`); for the others the columns
that the prices leave over are handed to a small model (:mod:`path_model`), which finds a plan or
proves that there is none. Proofs need all ideals of the graph; where there are too many, narrow
layer orders still give plans.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from stagewright.formulation.assemble import with_inputs
from stagewright.formulation.bracket import Bracket
from stagewright.formulation.cells import Cell, cells_by_class, cells_by_server, finest_first
from stagewright.formulation.cut_space import all_ideals
from stagewright.formulation.fewest_gpus import NEXT
from stagewright.formulation.path_model import PathModel, Verdict
from stagewright.formulation.priced_paths import PricedPaths, Wide
from stagewright.formulation.problem import Problem
from stagewright.formulation.server_runs import Run
from stagewright.formulation.stage_columns import Columns, Pairs
from stagewright.formulation.usage_grid import UsageGrid, along
from stagewright.model.errors import DoesNotApply
from stagewright.model.evaluate import evaluate
from stagewright.model.plan import Plan, Stage

FEW_IDEALS = 700
COARSE = 2e-3
CREEP = 1.01
STRIDE = 1.04
"""Steps from the bound, where short periods are refuted soon, and beyond what stays open."""

SHARES = (0.05, 0.2)
"""How far from the cheapest path a part may be to be tried first, as a share of what is left."""
PATIENCE = (0.3, 2.0, 10.0, 60.0)
"""Deterministic time of CP-SAT for one period; then more, and more."""

MANY_PARTS = 300
SECONDS = 25.0
"""Runs and wide stages past which HiGHS looks for a plan first, seconds for each unit of that."""

MOST_NUMBERS = 300_000_000
"""Usages times ideals of a grid: 600 MB."""
HINTS = 10
"""Paths over classes that are tried server by server."""

Parts = tuple[list[Run], list[Wide]]


@dataclass
class RackSearch(Bracket):
    """Narrows the bracket around the least period of a cluster of unlike GPUs."""

    _open: tuple[float, float] | None = None
    _misled: bool = False
    """A rule that columns do not know has taken a plan away: finding more is the model's work."""

    @staticmethod
    def applies(problem: Problem) -> bool:
        """Whether columns know the cost model, and the graph has few ideals."""
        if not Columns.apply(problem):
            return False
        try:
            all_ideals(problem.instance, FEW_IDEALS)
        except DoesNotApply:
            return False
        return True

    def run(self) -> None:
        """Narrow the bracket down until it is closed or time is over."""
        pairs = Pairs(self.problem, all_ideals(self.problem.instance, FEW_IDEALS))
        self._by_prices(pairs)
        for patience in PATIENCE:
            self._open = None
            while not self.done:
                trial = self._next_trial()
                if trial is None:
                    break
                if not self._decide(pairs, trial, patience):
                    low, high = self._open or (trial, trial)
                    self._open = min(low, trial), max(high, trial)

    def _next_trial(self) -> float | None:
        """A period between the bound and the best plan; ``None`` if all that is left is open.

        Short periods are refuted quickly and long ones found quickly, so the trials creep up from
        the bound, past the periods that nothing could be said of, and then close in on those.
        """
        if self._open is None or self._open[0] >= self.period_s:
            self._open = None
            near = self.period_s - self.bound_s < COARSE * self.period_s
            middle = min((self.bound_s + self.period_s) / 2, self.bound_s * CREEP)
            return self.period_s * NEXT if near else middle
        low, high = self._open
        if self.period_s - high > COARSE * self.period_s:
            return min((high + self.period_s) / 2, high * STRIDE)
        if low - self.bound_s > COARSE * low:
            return (self.bound_s + low) / 2
        return None

    @property
    def done(self) -> bool:
        """Whether the bracket is closed, the columns have misled, or time is over."""
        return self._misled or super().done

    def _by_prices(self, pairs: Pairs) -> None:
        """Refute what prices alone can refute, by bisection."""
        high = self.period_s
        while high - self.bound_s > 1e-4 * high and not self.settings.expired:
            trial = (self.bound_s + high) / 2
            if PricedPaths(Columns(self.problem, pairs, trial)).best_prices().refuted:
                self.refute(trial)
            else:
                high = trial

    def _decide(self, pairs: Pairs, period_s: float, patience: float) -> bool:
        """Refute a period or find a plan that keeps it; return whether that was done."""
        columns = Columns(self.problem, pairs, period_s)
        paths = PricedPaths(columns)
        prices = paths.best_prices()
        if prices.refuted:
            self.refute(period_s)
            return True
        parts = paths.worth_a_look(prices)
        decided = self._by_grid(columns, parts, patience)
        if decided or self._misled:
            return decided
        coarse, fine = cells_by_class(columns), cells_by_server(columns)
        many = len(parts[0]) + len(parts[1]) > MANY_PARTS
        if many and self._find(columns, parts, coarse, patience):
            return True
        for share in SHARES:
            limit = float(prices.to_end[0]) * (1 - share) + share
            near = paths.worth_a_look(prices, limit)
            if self._by_model(columns, near, coarse, patience) == Verdict.KEPT:
                return True
        for cells in (coarse, fine):
            verdict = self._by_model(columns, parts, cells, patience)
            if verdict == Verdict.REFUTED:
                self.refute(period_s)
            if verdict != Verdict.OPEN:
                return True
        return False

    def _by_grid(self, columns: Columns, parts: Parts, patience: float) -> bool:
        """Decide by usages, where there are few; return whether that was done."""
        grid = self._grid(columns, parts)
        reached = None if grid is None else grid.fill(self.settings)
        if grid is None or reached is None:
            return False
        if not reached:
            self.refute(columns.period_s)
            return True
        chance = np.random.default_rng(self.settings.seed)
        if grid.exact:
            return self._take(grid.stages(grid.path(chance)), columns.period_s)
        cells = cells_by_server(columns)
        return any(
            self._by_model(columns, along(grid.path(chance)), cells, patience) == Verdict.KEPT
            for _ in range(HINTS)
        )

    def _grid(self, columns: Columns, parts: Parts) -> UsageGrid | None:
        """The finest grid that is not too large, if any."""
        for cells in finest_first(columns, MOST_NUMBERS // len(columns.pairs.space)):
            grid = UsageGrid(self.problem, columns, cells, *parts)
            if not grid.too_large:
                return grid
        return None

    def _find(self, columns: Columns, parts: Parts, cells: list[Cell], patience: float) -> bool:
        """Look for a plan with HiGHS; return whether there is one that keeps the period."""
        model = PathModel(self.problem, columns, *parts, cells)
        found = not model.too_large and model.find(self.settings, patience * SECONDS)
        return found and self._keeps(columns, model, patience)

    def _by_model(
        self, columns: Columns, parts: Parts, cells: list[Cell], patience: float
    ) -> Verdict:
        """Ask the model about some parts."""
        model = PathModel(self.problem, columns, *parts, cells)
        if model.too_large:
            return Verdict.OPEN
        verdict = model.decide(self.settings, patience)
        if verdict == Verdict.KEPT and not self._keeps(columns, model, patience):
            return Verdict.OPEN
        return verdict

    def _keeps(self, columns: Columns, model: PathModel, patience: float) -> bool:
        """Whether a path is a plan; one over classes is looked at server by server."""
        if model.stages is None:
            model = PathModel(self.problem, columns, *model.chosen, cells_by_server(columns))
            if model.decide(self.settings, patience) != Verdict.KEPT:
                return False
        return model.stages is not None and self._take(model.stages, columns.period_s)

    def _take(self, stages: tuple[Stage, ...], period_s: float) -> bool:
        """Remember a plan if it is valid and the best so far; return whether it keeps a period."""
        instance = self.problem.instance
        plan = Plan(with_inputs(instance, stages), "rack-search")
        judged = evaluate(instance, plan, self.problem.cost_model)
        self._misled |= not judged.valid
        if judged.valid:
            self.keep(plan, judged.period_s)
        return judged.valid and judged.period_s <= period_s * (1 + 1e-6)
