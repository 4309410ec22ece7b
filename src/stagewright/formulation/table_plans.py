"""Plans whose cuts are ideals of a table's rows, or cuts of the best plan."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from stagewright.formulation.box_bound import Windows
from stagewright.formulation.bracket import Bracket
from stagewright.formulation.cut_space import cuts_of, family
from stagewright.formulation.fewest_gpus import MANY_GPUS, FewestGpus
from stagewright.formulation.flat_costs import FlatCosts
from stagewright.formulation.ideal_table import IdealTable
from stagewright.formulation.reduced_graph import ReducedGraph

Floats = NDArray[np.float64]
Indices = NDArray[np.int64]

MOST_ROWS = 2_500
"""From so many at most; times the root of the GPUs, of which more leave fewer rows a stage apart,
where pairs are sorted out by the walk."""
MOST_PAIRS = 4_000_000
"""So many pairs of rows are looked at at once; more are thinned."""


class TablePlans:
    """Searches over rows of tables, with the cuts of the best plan of a bracket.

    Parameters
    ----------
    total_s
        Work of the whole graph, as the tables have it.
    """

    def __init__(self, bracket: Bracket, graph: ReducedGraph, total_s: float) -> None:
        self._bracket, self._graph, self._total_s = bracket, graph, total_s
        self._costs = FlatCosts.of(bracket.problem)
        sorts_pairs_out = self._costs.gpus <= MANY_GPUS
        self._most_rows = MOST_ROWS * (math.sqrt(self._costs.gpus) if sorts_pairs_out else 1)
        self._random = np.random.default_rng(bracket.settings.seed)

    def over_passed(self, table: IdealTable, slack: Floats) -> FewestGpus:
        """Return a search over rows that walks pass, with so much room; negative: not passed."""
        return self.over(table, self._spread(table.found, slack))

    def over(self, table: IdealTable, rows: Indices) -> FewestGpus:
        """Return a search over the ideals of rows and the cuts of the best plan."""
        problem, stages = self._bracket.problem, self._bracket.stages
        members = self._graph.layers(table.members(rows))
        if stages is not None:
            members = np.concatenate([members, cuts_of(problem.instance, stages)])
        ideals = family(problem.instance, members)
        return FewestGpus(problem, ideals, self._bracket.settings, MOST_PAIRS)

    def _spread(self, ideals: Windows, slack: Floats) -> Indices:
        """Choose rows that walks pass; of too many, the ones with the most room in steps of work.

        Parameters
        ----------
        ideals
            One of each row.
        slack
            How much more work than needed a walk can have done there; negative where none passes.
        """
        rows, most = np.flatnonzero(slack >= 0), self._most_rows
        asked = self._costs.asked(ideals.cut_bytes[rows], self._bracket.period_s)
        steps = most
        while len(rows) > most and steps >= 1:
            place = np.floor(ideals.least_s[rows] * (steps / self._total_s) + self._random.random())
            order = np.lexsort((-slack[rows], asked, place))
            first = np.diff(place[order], prepend=-1) != 0
            first |= np.diff(asked[order], prepend=-1) != 0
            rows, asked = rows[order[first]], asked[order[first]]
            steps /= 2
        return rows
