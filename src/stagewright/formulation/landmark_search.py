"""Refute periods with landmarks, where ideals that do not nest keep a table's bound low.

The blocks with the heaviest loads are landmarks. A coarse table keeps apart ideals that do not
hold the same of them, and the walk over it only goes from ideals to ideals that hold more of them
(:mod:`nested_walk`). At a period that some walk keeps, walks mostly pass few sets of landmarks; a
table of the ideals that hold those is finer, has more landmarks, and refutes more.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stagewright.formulation.box_bound import Walk
from stagewright.formulation.bracket import Bracket
from stagewright.formulation.flat_costs import FlatCosts
from stagewright.formulation.ideal_table import MANY_ROWS, Grid, IdealTable, tabulate
from stagewright.formulation.landmark_sets import LandmarkSets
from stagewright.formulation.landmarks import Landmarks, hashed
from stagewright.formulation.nested_walk import passed
from stagewright.formulation.nested_windows import Load, NestedWindows
from stagewright.formulation.reduced_graph import ReducedGraph
from stagewright.formulation.table_plans import TablePlans

Floats = NDArray[np.float64]
Indices = NDArray[np.int64]

HEAVY = (0.6, 0.3, 0.15)
"""Landmarks have such a part of the period as load, the last of these that leaves few rows."""
LIGHTER = 0.5
"""Landmarks of the next finer table have so many times the least load, if it stays small."""
COARSE_ROWS, FINE_ROWS, MOST_SETS = 60_000, 200_000, 14_000
"""Rows of the coarse table and of finer ones, and sets of landmarks, at most."""
CELL, LIGHT_CELL, KNOWN_CELL = 0.06, 0.1, 0.05
"""Sizes of a cell in load, as parts of the period: of the coarse table, of one with more landmarks
than before, and of the one that tells first how many GPUs are needed."""
PARAMETERS = 1.0
"""Size of a cell in all-reduce seconds, in sizes of a cell in load."""
FINER, LITTLE, FEW_WINDOWS = 5.0, 2.0, 5000
"""Cells are so many times smaller in a finer table, less where walks pass more windows."""
FEW_PLANS = 2000
"""Among so few windows plans are looked for at once."""
POWER = 1.5
"""With cells of half the size a table has about 2**POWER as many rows, often more."""
FINE = 1 / 30
"""Once cells are as small as such a part of a landmark's load, further landmarks tell more."""
DEEPEST = 6
"""Tables on top of each other."""
FIRST, STEP = 0.6, 0.5
"""Where periods to try lie between the bound and the least that was not refuted: with the coarse
table, and with a finer one."""
ENOUGH = 0.9
"""Go on as long as the gap gets smaller than such a part of it."""
CLOSE = 1e-3
"""Part of the period to which the bound is looked for."""


@dataclass(frozen=True)
class _Level:
    """Windows of a table, each with the set of its landmarks.

    Attributes
    ----------
    heavy
        Least load of a landmark, as a part of the period.
    cell
        Size of the table's cells.
    """

    heavy: float
    cell: float
    landmarks: tuple[int, ...]
    table: IdealTable
    nested: NestedWindows


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
        coarse = self._coarse()
        while coarse is not None and not self._closed(bracket.period_s):
            gap_s = bracket.period_s - bracket.bound_s
            trial_s = bracket.bound_s + FIRST * gap_s
            found = self._passed(coarse.nested, trial_s)
            if found is None:
                bracket.refute(trial_s)
                continue
            self._narrow(coarse, found[1], trial_s, 1)
            if bracket.period_s - bracket.bound_s > ENOUGH * gap_s:
                return

    def _narrow(self, level: _Level, windows: NestedWindows, period_s: float, depth: int) -> bool:
        """Refute a period, or what is shorter, where walks only pass some windows at it.

        Returns whether a finer table was small enough.
        """
        bracket = self._bracket
        finer = self._finer(level, windows) if depth <= DEEPEST else None
        if finer is None:
            return False
        nested, trial_s = finer.nested, period_s
        kept: list[tuple[float, Floats, NestedWindows]] = []
        while not self._expired():
            found = self._passed(nested, trial_s)
            if found is not None and self._expired():
                return True
            if found is None:
                bracket.refute(trial_s)
            else:
                nested = found[1]
                if len(nested) <= FEW_PLANS:
                    self._plan(finer.table, *found)
                # What refutes a period is good for all shorter ones; the shorter, the smaller.
                if not self._expired() and self._narrow(finer, nested, trial_s, depth + 1):
                    break
                kept.append((trial_s, *found))
            if not kept or self._closed(kept[-1][0]):
                break
            trial_s = bracket.bound_s + STEP * (kept[-1][0] - bracket.bound_s)
        for high_s, slack_s, nested in reversed(kept):
            if len(nested) > FEW_PLANS and high_s < bracket.period_s and not bracket.done:
                self._plan(finer.table, slack_s, nested)
        return True

    def _closed(self, high_s: float) -> bool:
        """Whether nothing is left to try below a period."""
        return self._bracket.done or high_s - self._bracket.bound_s <= CLOSE * high_s

    def _expired(self) -> bool:
        return self._bracket.settings.expired

    def _passed(
        self, nested: NestedWindows, period_s: float
    ) -> tuple[Floats, NestedWindows] | None:
        return passed(nested, self._costs, period_s, self._expired)

    def _typical_share(self) -> float:
        """Return c of the load: (m-1)/m by parameters, of stages with more than one replica."""
        problem, stages = self._bracket.problem, self._bracket.stages
        instance = problem.instance
        held = dict(zip(instance.nodes, instance.parameter_bytes.tolist(), strict=True))
        shares = [
            (sum(held.get(v, 0.0) for v in stage.nodes), 1 - 1 / stage.replica_count)
            for stage in stages or ()
            if stage.replica_count > 1
        ]
        total = sum(weight for weight, _ in shares)
        return sum(weight * share for weight, share in shares) / total if total > 0 else 0.0

    def _table(
        self, time_s: Floats, cell: float, landmarks: Landmarks | None, most_rows: int
    ) -> IdealTable | None:
        cell_s = cell * self._bracket.period_s
        byte_s = self._costs.sync_s_per_byte
        parameters = PARAMETERS * cell_s / byte_s if byte_s > 0 else self._load.total_bytes + 1
        grid = Grid(cell_s, parameters, self._costs.most_cut_bytes(self._bracket.period_s))
        return tabulate(
            self._graph, time_s, grid, self._expired, landmarks=landmarks, most_rows=most_rows
        )

    def _heavy(self, part: float) -> tuple[int, ...]:
        weight_s = self._time + self._costs.sync_s_per_byte * self._held
        heaviest = np.argsort(-weight_s, kind="stable")
        return tuple(heaviest[weight_s[heaviest] > part * self._bracket.period_s].tolist())

    def _coarse(self) -> _Level | None:
        """Choose landmarks and make the coarse table; ``None`` if no choice leaves it small."""
        level: _Level | None = None
        known = self._known()
        for heavy in HEAVY if known is not None else ():
            landmarks = self._heavy(heavy)
            if not landmarks or (level is not None and landmarks == level.landmarks):
                continue
            table = self._table(self._load_s, CELL, Landmarks(landmarks), COARSE_ROWS)
            if table is None or known is None:
                break
            around = known.around(table, self._costs.sync_s_per_byte * self._share)
            found = self._level(heavy, CELL, landmarks, table, around)
            if found is None:
                break
            level = found
        return level

    def _finer(self, level: _Level, windows: NestedWindows) -> _Level | None:
        """Make a table of the ideals in some windows, with more landmarks if it stays small."""
        only = windows.wanted(len(level.landmarks))
        choices = [(level.heavy, level.cell / LITTLE)]
        if len(windows) < FEW_WINDOWS:
            choices.insert(0, (level.heavy, level.cell / FINER))
        if level.cell < FINE * level.heavy:
            choices.insert(0, (level.heavy * LIGHTER, LIGHT_CELL))
        if not set(self._heavy(level.heavy)) <= set(level.landmarks):
            choices.insert(0, (level.heavy, LIGHT_CELL))
        kept = np.isin(hashed(level.table.marks), hashed(only.marks)).sum()
        for heavy, cell in choices:
            # Landmarks are doubled at most: so many more sets at once would be too many.
            more = [v for v in self._heavy(heavy) if v not in set(level.landmarks)]
            more = more[: len(level.landmarks)] if cell == LIGHT_CELL else []
            landmarks = level.landmarks + tuple(more)
            if cell == LIGHT_CELL and not more:
                continue
            if cell < level.cell and kept * (level.cell / cell) ** POWER > FINE_ROWS:
                continue
            marks = Landmarks(landmarks, only)
            table = self._table(self._load_s, cell, marks, FINE_ROWS)
            if table is None:
                continue
            needs = _needs(windows, table, len(level.landmarks))
            found = self._level(heavy, cell, landmarks, table, needs)
            if found is not None:
                return found
        return None

    def _known(self) -> _Known | None:
        """Find how many GPUs are needed before and after so much work."""
        table = self._table(self._time, KNOWN_CELL, None, MANY_ROWS)
        if table is None:
            return None
        totals = float(self._time.sum()), self._load.total_bytes
        needs = Walk(table.windows, self._costs, self._bracket.period_s, *totals).needs()
        return None if needs is None else _Known(table, *needs)

    def _level(
        self,
        heavy: float,
        cell: float,
        landmarks: tuple[int, ...],
        table: IdealTable,
        known: tuple[Floats, Floats],
    ) -> _Level | None:
        """Sort a table's rows by their sets; ``None`` if these are too many, or time is over."""
        before, after = known
        rows = np.flatnonzero(before + after <= self._costs.gpus)
        marks = table.marks[:, rows]
        sorted_out = LandmarkSets.of(marks, MOST_SETS, self._expired)
        if sorted_out is None:
            return None
        family, sets = sorted_out
        order = np.argsort(sets, kind="stable")
        rows = rows[order]
        windows = table.windows.take(rows)
        columns = sets[order], rows, before[rows], after[rows]
        nested = NestedWindows(family, self._load, windows, *columns)
        return _Level(heavy, cell, landmarks, table, nested)

    def _plan(self, table: IdealTable, slack_s: Floats, nested: NestedWindows) -> None:
        """Look for a plan over ideals that walks pass."""
        bracket = self._bracket
        slack = np.full(len(table.windows), -np.inf)
        slack[nested.rows] = np.maximum(slack_s, 0)
        search = self._plans.over_passed(table, slack)
        search.search(bracket.period_s, bracket.bound_s, CLOSE)
        bracket.take(search)


def _needs(windows: NestedWindows, table: IdealTable, landmarks: int) -> tuple[Floats, Floats]:
    """GPUs before and after the rows of a table, from windows with the first of its landmarks.

    Infinite where no window has ideals of a row.
    """
    room_s, room_bytes = windows.load.total_s * 1e-9, windows.load.total_bytes * 1e-9
    before, after = np.full((2, len(table.windows)), np.inf)
    words = windows.family.marks.shape[0]
    first = np.zeros((words, 1), np.uint64)
    for i in range(landmarks):
        first[i // 64] |= np.uint64(1 << i % 64)
    marks = table.marks[:words] & first
    loads = table.windows
    for s, low, high in _runs(windows.sets):
        held = windows.family.marks[:, [s]]
        rows = np.flatnonzero((marks == held).all(axis=0))
        for i in range(low, high):
            near = loads.least_s[rows] <= windows.windows.most_s[i] + room_s
            near &= loads.most_s[rows] >= windows.windows.least_s[i] - room_s
            near &= loads.least_bytes[rows] <= windows.windows.most_bytes[i] + room_bytes
            near &= loads.most_bytes[rows] >= windows.windows.least_bytes[i] - room_bytes
            here = rows[near]
            before[here] = np.minimum(before[here], windows.before[i])
            after[here] = np.minimum(after[here], windows.after[i])
    return before, after


def _runs(sets: Indices) -> list[tuple[int, int, int]]:
    """Each set that occurs, and where its windows begin and end."""
    begins = np.flatnonzero(np.diff(sets, prepend=-1))
    ends = np.append(begins, len(sets))[1:]
    return list(zip(sets[begins].tolist(), begins.tolist(), ends.tolist(), strict=True))


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
