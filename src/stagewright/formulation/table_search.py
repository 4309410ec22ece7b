"""Bound and plan from tables of all ideals, each on a finer grid than the one before."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from stagewright.formulation.box_bound import Walk
from stagewright.formulation.bracket import Bracket
from stagewright.formulation.cut_space import cuts_of, family
from stagewright.formulation.fewest_gpus import FewestGpus
from stagewright.formulation.flat_costs import FlatCosts
from stagewright.formulation.ideal_table import Grid, IdealTable, tabulate
from stagewright.formulation.reduced_graph import ReducedGraph

Floats = NDArray[np.float64]
Indices = NDArray[np.int64]

COARSE, FINE = 0.02, 0.001
"""Sizes of a cell in work, as parts of the period: of the first table, and of the last."""
PARAMETERS = 2.0
"""Size of a cell in all-reduce seconds, in sizes of a cell in work."""
CLOSE = 0.25
"""A bound is looked for until it is known to a quarter of a cell."""
AIMS = (0.5, 0.9)
"""Rows are promising if walks pass them at a period so far between the bound and the best plan."""
BINS = 1000
"""Of the promising rows one is kept for each of so many steps of work and number of replicas."""
MOST_PROMISING = 2500
"""Of more than that, some by chance: a search takes as long as the square of their number."""
ALONG = 2e-4
"""How close to the best over some ideals is close enough."""
PATIENCE = 1
"""Where so many tables refute nothing the work alone is the bound, and better plans are missing."""
FINER = 2.5
"""A table on a grid of half the size takes about so many times as long, often less."""


class TableSearch:
    """Narrows a bracket down with one table after another.

    The walk over a table knows no longer whether one ideal contains another. What it refutes is
    impossible all the same; plans come from :class:`FewestGpus` over ideals that good walks pass.
    """

    def __init__(self, bracket: Bracket, graph: ReducedGraph) -> None:
        self._bracket, self._graph = bracket, graph
        self._costs = FlatCosts.of(bracket.problem)
        self._time = graph.time_s[0]
        self._total_s = float(self._time.sum())
        self._total_bytes = float(graph.parameter_bytes.sum())
        self._random = np.random.default_rng(bracket.settings.seed)

    def rounds(self) -> Iterator[int]:
        """Go on until a finer table would take longer than there is time, or is too large.

        Yields
        ------
        int
            Rows of each table, when it has told what it tells.
        """
        settings = self._bracket.settings
        floor_s = self._bracket.bound_s
        cell_s = COARSE * self._bracket.period_s
        for tries in itertools.count(1) if self._total_s > 0 else ():
            if cell_s < FINE * self._bracket.period_s:
                return
            began_s = settings.wall_s
            table = self._table(cell_s)
            if table is None:
                return
            taken_s = settings.wall_s - began_s
            self._bound(table, cell_s)
            self._plan(table, max(ALONG, cell_s / (2 * self._bracket.period_s)), tries)
            yield len(table.windows)
            left_s = settings.time_limit_s - settings.wall_s
            if self._bracket.done or FINER * taken_s > left_s:
                return
            if tries == PATIENCE and self._bracket.bound_s <= floor_s:
                return
            cell_s = min(cell_s / 2, COARSE * self._bracket.period_s)

    def _table(self, cell_s: float) -> IdealTable | None:
        period_s = self._bracket.period_s
        grid = Grid(
            work_s=cell_s,
            parameter_bytes=PARAMETERS * cell_s / self._costs.sync_s_per_byte,
            most_cut_bytes=self._costs.most_cut_bytes(period_s),
        )
        settings = self._bracket.settings
        return tabulate(self._graph, self._time, grid, lambda: settings.expired)

    def _walk(self, table: IdealTable, period_s: float) -> Walk:
        return Walk(table.windows, self._costs, period_s, self._total_s, self._total_bytes)

    def _bound(self, table: IdealTable, cell_s: float) -> None:
        """Refute what the table refutes."""
        bracket = self._bracket
        high_s = bracket.period_s
        while high_s - bracket.bound_s > CLOSE * cell_s and not bracket.done:
            trial_s = (bracket.bound_s + high_s) / 2
            if self._walk(table, trial_s).finishes():
                high_s = trial_s
            else:
                bracket.refute(trial_s)

    def _plan(self, table: IdealTable, close: float, tries: int) -> None:
        """Look for plans whose cuts are ideals of promising rows, or those of the best plan.

        Parameters
        ----------
        close
            How close to the best over some ideals is close enough, as a fraction.
        tries
            Choices of ideals to try at most; fewer if a plan gets no better.
        """
        bracket = self._bracket
        instance = bracket.problem.instance
        for aim in itertools.islice(itertools.chain(AIMS, itertools.repeat(AIMS[-1])), tries):
            if bracket.done:
                return
            aim_s = bracket.bound_s + aim * (bracket.period_s - bracket.bound_s)
            members = self._graph.layers(table.members(self._promising(table, aim_s)))
            if bracket.stages is not None:
                members = np.concatenate([members, cuts_of(instance, bracket.stages)])
            search = FewestGpus(bracket.problem, family(instance, members), bracket.settings)
            search.search(bracket.period_s, bracket.bound_s, close)
            gained = 1 - search.period_s / bracket.period_s
            bracket.take(search)
            if aim == AIMS[-1] and gained < close:
                return

    def _promising(self, table: IdealTable, period_s: float) -> Indices:
        """Rows that walks with room to spare pass, spread over the work and the replicas asked."""
        walk = self._walk(table, period_s)
        slack = walk.slack_s()
        if slack is None:
            return np.zeros(0, dtype=np.int64)
        rows = np.flatnonzero(slack >= 0)
        bins = np.floor(
            table.windows.least_s[rows] * (BINS / self._total_s) + self._random.random()
        )
        asked = walk.asked[rows]
        order = np.lexsort((-slack[rows], asked, bins))
        changes = np.diff(bins[order], prepend=-1) != 0
        changes |= np.diff(asked[order], prepend=-1) != 0
        chosen: Indices = rows[order[changes]]
        if len(chosen) > MOST_PROMISING:
            chosen = self._random.choice(chosen, MOST_PROMISING, replace=False)
        return chosen
