"""Bound and plan from tables of all ideals, each on a finer grid than the one before."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import numpy as np

from stagewright.formulation.box_bound import Walk, Windows
from stagewright.formulation.bracket import Bracket
from stagewright.formulation.fewest_gpus import MANY_GPUS, FewestGpus
from stagewright.formulation.flat_costs import FlatCosts
from stagewright.formulation.ideal_table import IdealTable, tabulate
from stagewright.formulation.partial_ideals import Grid
from stagewright.formulation.reduced_graph import ReducedGraph
from stagewright.formulation.table_plans import MOST_ROWS, TablePlans

COARSE, FINE = 0.06, 0.001
"""Sizes of a cell in work, as parts of the period: of the first table, and of the last."""
ENOUGH_ROWS, POWER = 40_000, 1.75
"""The second table should have so many rows: with cells of half the size, 2**POWER as many."""
FINER, LITTLE = 2.0, 1.4
"""How many times finer each table after it is, and the second one at least."""
PARAMETERS, COARSER, COARSEST = 1.0, 2.0, 8.0
"""Size of a cell in all-reduce seconds, in sizes of a cell in work; so many times coarser after the
second table, and where a table would be too large, up to the last: in the end work counts more."""
ROUGH, CLOSE, STRIDE, MANY = 0.5, 0.1, 4.0, 8.0
"""A bound is looked for until it is known to a part of a cell, roughly where the first table gives
it. Each period to try lies so many times further above what is known than the one before. While it
is known to MANY such parts, it pays to leave out what walks do not pass."""
NEAR, MIDDLE, TRIALS = 0.125, 0.37, 3
"""Where to look between the bound and the best plan: mostly the first table has one close to the
bound. If there is none, further above, so many times in all."""
TINY = 2_500
"""A first table of so few rows may refute nothing where a finer one does."""
FEW_ROWS = 8_000
"""Ideals are taken from all rows if there are no more, else from those that walks pass."""
ALONG, PART = 2e-4, 16
"""Ideals are searched until the best plan over them is known to a part of the gap, or to ALONG."""
LONGER = 2.5
"""A table on a grid of half the size takes about so many times as long, often less."""


class TableSearch:
    """Narrows a bracket down with one table after another.

    The walk over a table knows no longer whether one ideal contains another. What it refutes is
    impossible all the same; plans come from :class:`FewestGpus` over ideals of its rows.
    """

    def __init__(self, bracket: Bracket, graph: ReducedGraph) -> None:
        self._bracket, self._graph = bracket, graph
        self._costs = FlatCosts.of(bracket.problem)
        self._time = graph.time_s[0]
        self._total_s = float(self._time.sum())
        self._total_bytes = float(graph.parameter_bytes.sum())
        sorts_pairs_out = self._costs.gpus <= MANY_GPUS
        self._few_rows = FEW_ROWS if sorts_pairs_out else MOST_ROWS
        self._plans = TablePlans(bracket, graph, self._total_s)

    def rounds(self) -> Iterator[int]:
        """Go on until a finer table would take longer than there is time, or is too large.

        Yields
        ------
        int
            Rows of each table, when it has told what it tells.
        """
        settings = self._bracket.settings
        cell_s, parameters = COARSE * self._bracket.period_s, PARAMETERS
        promising = True
        for tries in itertools.count(1) if self._total_s > 0 else ():
            began_s = settings.wall_s
            if tries == 3:
                parameters *= COARSER
            table = self._table(cell_s, parameters)
            while table is None and parameters < COARSEST and not settings.expired:
                parameters *= COARSER
                table = self._table(cell_s, parameters)
            if table is None:
                return
            taken_s = settings.wall_s - began_s
            if promising:
                before_s = self._bracket.bound_s
                self._bound(table, (ROUGH if tries == 1 else CLOSE) * cell_s)
                # Where a first table that is not tiny refutes nothing the work is the bound.
                refutes = self._bracket.bound_s > before_s or tries > 1
                promising = refutes or len(table.windows) < TINY
            self._plan(table, NEAR if tries == 1 else MIDDLE)
            yield len(table.windows)
            left_s = settings.time_limit_s - settings.wall_s
            finest_s = FINE * self._bracket.period_s
            if self._bracket.done or LONGER * taken_s > left_s or cell_s <= finest_s:
                return
            finer = FINER
            if tries == 1:
                finer = max(LITTLE, (ENOUGH_ROWS / max(1, len(table.windows))) ** (1 / POWER))
            cell_s = max(cell_s / finer, finest_s)

    def _table(self, cell_s: float, parameters: float) -> IdealTable | None:
        period_s = self._bracket.period_s
        grid = Grid(
            work_s=cell_s,
            parameter_bytes=parameters * cell_s / self._costs.sync_s_per_byte,
            most_cut_bytes=self._costs.most_cut_bytes(period_s),
        )
        settings = self._bracket.settings
        return tabulate(self._graph, self._time, grid, lambda: settings.expired)

    def _walk(self, windows: Windows, period_s: float) -> Walk:
        return Walk(windows, self._costs, period_s, self._total_s, self._total_bytes)

    def _bound(self, table: IdealTable, close_s: float) -> None:
        """Refute what the table refutes, up to ``close_s``."""
        bracket, windows = self._bracket, table.windows
        high_s, step_s = bracket.period_s, close_s
        while high_s - bracket.bound_s > close_s and not bracket.done:
            trial_s = min(bracket.bound_s + step_s, (bracket.bound_s + high_s) / 2)
            walk = self._walk(windows, trial_s)
            if not walk.finishes():
                bracket.refute(trial_s)
                step_s *= STRIDE
                continue
            high_s = trial_s
            if high_s - bracket.bound_s > MANY * close_s:
                # What no walk passes now, none passes at a shorter period.
                slack = walk.slack_s()
                windows = windows if slack is None else windows.take(np.flatnonzero(slack >= 0))

    def _plan(self, table: IdealTable, near: float) -> None:
        """Look for a plan whose cuts are ideals of rows, or those of the best plan.

        ``near`` says how far above the bound to begin, as a part of the gap.
        """
        bracket = self._bracket
        low_s, high_s = bracket.bound_s, bracket.period_s
        step_s = near * (high_s - low_s)
        close = max(ALONG, (1 - low_s / high_s) / PART)
        few = len(table.windows) <= self._few_rows
        search = self._plans.over(table, np.arange(len(table.windows))) if few else None
        trials = TRIALS
        while trials > 0 and low_s < high_s * (1 - close) and not bracket.done:
            trial_s = min(low_s + step_s, (low_s + high_s) / 2)
            if not few:
                search = self._over_passed(table, trial_s)
            if search is not None and search.keeps(trial_s):
                bracket.take(search)
                search.search(min(search.period_s, trial_s), low_s, close)
                bracket.take(search)
                return
            low_s = trial_s
            trials -= search is not None

    def _over_passed(self, table: IdealTable, period_s: float) -> FewestGpus | None:
        """Return a search over ideals that walks pass; ``None`` if no walk reaches the end."""
        slack = self._walk(table.found, period_s).slack_s()
        return None if slack is None else self._plans.over_passed(table, slack)
