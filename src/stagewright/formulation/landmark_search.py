"""Refute periods with landmarks, where ideals that do not nest keep a table's bound low.

The blocks with the heaviest loads are landmarks. A coarse table keeps apart ideals that do not
hold the same of them, and the walk over it only goes from ideals to ideals that hold more of them
(:mod:`nested_walk`). At a period that some walk keeps, walks mostly pass few of the sets of
landmarks; a table of the ideals that hold those is made fine, and decides.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stagewright.formulation.box_bound import Walk
from stagewright.formulation.bracket import Bracket
from stagewright.formulation.flat_costs import FlatCosts
from stagewright.formulation.ideal_table import Grid, IdealTable, Landmarks, tabulate
from stagewright.formulation.landmark_lattice import Lattice
from stagewright.formulation.nested_walk import Load, NestedWindows, passed
from stagewright.formulation.reduced_graph import ReducedGraph
from stagewright.formulation.table_plans import TablePlans

Floats = NDArray[np.float64]
Indices = NDArray[np.int64]

HEAVY = (0.15, 0.3, 0.6)
"""Landmarks have such a part of the period as load, the first of these that leaves few enough."""
MOST_SETS = 250_000
CELL, FINE_CELL, KNOWN_CELL = 0.2, 0.01, 0.02
"""Sizes of a cell in load, as parts of the period: of the coarse table, of fine ones, and of the
one that tells first how many GPUs are needed."""
PARAMETERS = 1.0
"""Size of a cell in all-reduce seconds, in sizes of a cell in load."""
FEW_WINDOWS, MANY_SETS = 2000, 10_000
"""Fine tables are made of so many sets of landmarks at most, and less fine where walks pass more
than a few windows of them."""
FINER, FINEST_CELL = 4.0, 3e-4
"""Each fine table has cells so many times smaller than the one before."""
FIRST, STEP = 0.8, 0.5
"""Where periods to try lie between the bound and the least that was not refuted: with the coarse
table, and with a fine one."""
CLOSE = 5e-4
"""Part of the period to which the bound is looked for."""


@dataclass(frozen=True)
class _Marked:
    """The coarse table's windows, and the lattices of their landmarks from both ends."""

    landmarks: tuple[int, ...]
    nested: NestedWindows
    mirror: Lattice


class LandmarkSearch:
    """Raises the bound of a bracket, and finds plans on the way."""

    def __init__(self, bracket: Bracket, graph: ReducedGraph) -> None:
        self._bracket, self._graph = bracket, graph
        self._costs = FlatCosts.of(bracket.problem)
        self._time, self._held = graph.time_s[0], graph.parameter_bytes
        self._share = self._typical_share()
        self._load_s = self._time + self._costs.sync_s_per_byte * self._share * self._held
        totals = float(self._load_s.sum()), float(self._held.sum())
        self._load = Load(self._share, *totals)
        self._plans = TablePlans(bracket, graph, totals[0])

    def run(self) -> None:
        """Try periods until one can be neither refuted nor kept."""
        bracket = self._bracket
        marked = self._mark()
        high_s = bracket.period_s
        while marked is not None and not self._closed(high_s):
            trial_s = bracket.bound_s + FIRST * (high_s - bracket.bound_s)
            found = self._passed(marked, marked.nested, trial_s)
            if found is None:
                bracket.refute(trial_s)
                continue
            high_s = trial_s
            if len(np.unique(found[1].sets)) <= MANY_SETS and self._finely(marked, *found, high_s):
                high_s = bracket.period_s

    def _closed(self, high_s: float) -> bool:
        """Whether nothing is left to try below a period."""
        return self._bracket.done or high_s - self._bracket.bound_s <= CLOSE * high_s

    def _expired(self) -> bool:
        return self._bracket.settings.expired

    def _passed(
        self, marked: _Marked, nested: NestedWindows, period_s: float
    ) -> tuple[Floats, NestedWindows] | None:
        return passed(nested, marked.mirror, self._costs, period_s, self._expired)

    def _typical_share(self) -> float:
        """C of the load: (m-1)/m by parameters, of stages with more than one replica."""
        problem, stages = self._bracket.problem, self._bracket.stages
        instance = problem.instance
        held = dict(zip(instance.nodes, instance.parameter_bytes.tolist(), strict=True))
        shares = [
            (sum(held[v] for v in stage.nodes), 1 - 1 / stage.replica_count)
            for stage in stages or ()
            if stage.replica_count > 1
        ]
        total = sum(weight for weight, _ in shares)
        return sum(weight * share for weight, share in shares) / total if total > 0 else 0.0

    def _table(
        self, time_s: Floats, cell: float, landmarks: Landmarks | None, most_cut_bytes: float
    ) -> IdealTable | None:
        cell_s = cell * self._bracket.period_s
        byte_s = self._costs.sync_s_per_byte
        parameters = PARAMETERS * cell_s / byte_s if byte_s > 0 else self._load.total_bytes + 1
        grid = Grid(cell_s, parameters, most_cut_bytes)
        return tabulate(self._graph, time_s, grid, self._expired, landmarks=landmarks)

    def _mark(self) -> _Marked | None:
        """Choose landmarks and make the coarse table; ``None`` if no choice leaves it small."""
        weight_s = self._time + self._costs.sync_s_per_byte * self._held
        known = self._known()
        if known is None:
            return None
        for heavy in HEAVY:
            heavy_blocks = np.flatnonzero(weight_s > heavy * self._bracket.period_s)
            landmarks = tuple(heavy_blocks.tolist())
            if not landmarks:
                return None
            # All ideals, whatever leaves them: from each set of landmarks steps lead to others.
            table = self._table(self._load_s, CELL, Landmarks(landmarks), np.inf)
            if table is None:
                continue
            lattice = Lattice.of(table.marks, len(landmarks))
            if len(lattice) <= MOST_SETS:
                sets = lattice.find(table.marks)
                before, after = known.around(table, self._costs.sync_s_per_byte * self._share)
                nested = self._nested(lattice, table, sets, (before, after))
                return _Marked(landmarks, nested, lattice.mirrored())
        return None

    def _known(self) -> _Known | None:
        """Find how many GPUs are needed before and after so much work."""
        period_s = self._bracket.period_s
        most = self._costs.most_cut_bytes(period_s)
        table = self._table(self._time, KNOWN_CELL, None, most)
        if table is None:
            return None
        totals = float(self._time.sum()), self._load.total_bytes
        needs = Walk(table.windows, self._costs, period_s, *totals).needs()
        return None if needs is None else _Known(table, *needs)

    def _nested(
        self, lattice: Lattice, table: IdealTable, sets: Indices, known: tuple[Floats, Floats]
    ) -> NestedWindows:
        order = np.argsort(sets, kind="stable")
        rows = np.arange(len(sets))
        nested = NestedWindows(lattice, self._load, table.windows, sets, rows, *known).take(order)
        return nested.take(nested.useful(self._costs.gpus))

    def _finely(
        self, marked: _Marked, slack_s: Floats, nested: NestedWindows, period_s: float
    ) -> bool:
        """Refute a period, or what is shorter, where walks only pass some windows at it.

        Returns whether the period itself is refuted.
        """
        bracket, cell = self._bracket, FINE_CELL * max(1.0, len(nested) / FEW_WINDOWS)
        table: IdealTable | None = None
        while cell > FINEST_CELL and not bracket.done:
            finer = self._fine(marked, nested, period_s, min(cell, CELL))
            if finer is None:
                break
            table = finer
            nested = self._nested(nested.lattice, table, *_needs(nested, table))
            found = self._passed(marked, nested, period_s)
            if found is None:
                bracket.refute(period_s)
                return True
            slack_s, nested = found
            self._plan(table, slack_s, nested)
            if bracket.period_s < period_s:
                return False
            cell /= FINER
        high_s = period_s
        while table is not None and not self._closed(high_s):
            trial_s = bracket.bound_s + STEP * (high_s - bracket.bound_s)
            found = self._passed(marked, nested, trial_s)
            if found is None:
                bracket.refute(trial_s)
            else:
                (slack_s, nested), high_s = found, trial_s
        return False

    def _fine(
        self, marked: _Marked, nested: NestedWindows, period_s: float, cell: float
    ) -> IdealTable | None:
        """Make a table of ideals that hold the landmarks of some windows."""
        only = Landmarks(marked.landmarks, nested.lattice.marks[:, np.unique(nested.sets)])
        most = self._costs.most_cut_bytes(period_s)
        return self._table(self._load_s, cell, only, most)

    def _plan(self, table: IdealTable, slack_s: Floats, nested: NestedWindows) -> None:
        """Look for a plan over ideals that walks pass."""
        bracket = self._bracket
        slack = np.full(len(table.windows), -np.inf)
        slack[nested.rows] = np.maximum(slack_s, 0)
        search = self._plans.over_passed(table, slack)
        search.search(bracket.period_s, bracket.bound_s, CLOSE)
        bracket.take(search)


def _needs(coarse: NestedWindows, table: IdealTable) -> tuple[Indices, tuple[Floats, Floats]]:
    """Return sets of the rows of a table, and GPUs before and after, as windows know them."""
    of = coarse.lattice.find(table.marks)
    begins = np.flatnonzero(np.diff(coarse.sets, prepend=-1))
    sets = coarse.sets[begins]
    place = np.minimum(np.searchsorted(sets, of), len(sets) - 1)
    known = sets[place] == of
    before, after = (
        np.where(known, np.minimum.reduceat(x, begins)[place], np.inf)
        for x in (coarse.before, coarse.after)
    )
    return of, (before, after)


@dataclass(frozen=True)
class _Known:
    """How many GPUs are needed before and after each row of a table."""

    table: IdealTable
    before: Floats
    after: Floats

    def around(self, table: IdealTable, s_per_byte: float) -> tuple[Floats, Floats]:
        """Bounds on the GPUs before and after the rows of a table of loads.

        Parameters
        ----------
        s_per_byte
            What a byte of parameters adds to the load.
        """
        windows, known = table.windows, self.table.windows
        least_s = windows.least_s - s_per_byte * windows.most_bytes
        most_s = windows.most_s - s_per_byte * windows.least_bytes
        room_s = (windows.most_s.max(initial=0.0)) * 1e-9
        order = np.argsort(known.most_s)
        later = np.minimum.accumulate(self.before[order][::-1])[::-1]
        place = np.searchsorted(known.most_s[order], least_s - room_s, side="left")
        before = np.append(later, np.inf)[place]
        order = np.argsort(known.least_s)
        sooner = np.minimum.accumulate(self.after[order])
        place = np.searchsorted(known.least_s[order], most_s + room_s, side="right")
        return before, np.append(np.inf, sooner)[place]
