"""Refute periods with landmarks, where ideals that do not nest keep a table's bound low.

The blocks with the heaviest loads are landmarks. A coarse table keeps apart ideals that do not
hold the same of them, and the walk over it only goes from ideals to ideals that hold more of them
(:mod:`nested_walk`). At a period that some walk keeps, walks mostly pass few sets of landmarks; a
table of the ideals that hold those is finer, has more landmarks, and refutes more.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stagewright.formulation.box_bound import Walk
from stagewright.formulation.bracket import Bracket
from stagewright.formulation.flat_costs import FlatCosts
from stagewright.formulation.ideal_table import IdealTable, tabulate
from stagewright.formulation.known_gpus import KnownGpus, gpus_around
from stagewright.formulation.landmarks import Landmarks
from stagewright.formulation.nested_walk import passed
from stagewright.formulation.nested_windows import Load, NestedWindows
from stagewright.formulation.partial_ideals import Grid
from stagewright.formulation.reduced_graph import ReducedGraph
from stagewright.formulation.table_plans import TablePlans

Floats = NDArray[np.float64]
_Passed = tuple[Floats, NestedWindows]

HEAVY = (0.6, 0.3, 0.15)
"""Landmarks have such a part of the period as load, the last of these that leaves few rows."""
LIGHTER = 0.5
"""Landmarks of the next finer table have so many times the least load, if it stays small."""
LEAST = 0.25
"""Lighter ones only come along where they are few: they make many sets, and tell little."""
FEW, MANY = 0.25, 3.0
"""Further landmarks, as parts of those there are: so few come along with finer cells, and of so
many the coarse table would be too large."""
COARSE_ROWS, FINE_ROWS, MOST_SETS = 60_000, 80_000, 14_000
"""Rows of the coarse table and of finer ones, and sets of landmarks, at most."""
CELL, LIGHT_CELL, KNOWN_CELL = 0.06, 0.1, 0.05
"""Sizes of a cell in load, as parts of the period: of the coarse table, of one with more landmarks
than before, and of the one that tells first how many GPUs are needed."""
PARAMETERS = 8.0
"""Size of a cell in all-reduce seconds, in sizes of a cell in load: a walk along the load needs the
parameters only for how its stages differ from typical ones."""
FINER, LITTLE = 3.0, 2.0
"""Cells are so many times smaller in a finer table, the first that leaves few rows."""
FEW_PLANS, MANY_PLANS = 2000, 15_000
"""Among so few windows plans are looked for at once, among more with the first finer table, and in
any other once nothing finer is left."""
POWER = 1.5
"""With cells of half the size a table has about 2**POWER as many rows, often more."""
FINE = 1 / 18
"""Once cells are as small as such a part of a landmark's load, further landmarks tell more."""
DEEPEST = 8
"""Tables on top of each other."""
PROBE, TRIAL = 0.625, 0.78
"""Where a period to try with the coarse table lies between the bound and the best plan: the first
one, which may lead to a much better plan, and those after it."""
WITHIN, AIM = 0.01, 0.95
"""While the gap is between one and three times WITHIN, what would close it to so much of that is
tried, not more: the closer to the best plan, the longer it takes."""
SOONER = 0.15
"""Where walks pass less than such a part of the windows half-way down, that is gone on with."""
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
        Size of the table's cells in load, likewise.
    landmarks
        Blocks; those of the level before come first.
    table, nested
        The table, and its rows that have GPUs enough before and after them as windows.
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
        self._time, held = graph.time_s[0], graph.parameter_bytes
        self._weight_s = self._time + self._costs.sync_s_per_byte * held
        self._heaviest = np.argsort(-self._weight_s, kind="stable")
        self._share = self._typical_share()
        self._load_s = self._time + self._costs.sync_s_per_byte * self._share * held
        totals = float(self._load_s.sum()), float(held.sum())
        self._load = Load(self._share, *totals)
        self._plans = TablePlans(bracket, graph, totals[0])

    def run(self) -> None:
        """Try periods until one can be neither refuted nor kept."""
        bracket = self._bracket
        coarse, first = self._coarse(), True
        while coarse is not None and not self._closed(bracket.period_s):
            gap_s = bracket.period_s - bracket.bound_s
            trial_s = self._trial_s(PROBE if first else TRIAL)
            found = self._passed(coarse.nested, trial_s)
            if found is None:
                bracket.refute(trial_s)
                continue
            probe, first = first, False
            if probe and len(found[1]) <= FEW_PLANS:
                # A better plan tells where to try.
                self._plan(coarse.table, *found)
                continue
            self._narrow(coarse, found[1], trial_s, 1)
            if bracket.period_s - bracket.bound_s > ENOUGH * gap_s:
                return

    def _trial_s(self, part: float) -> float:
        """Return the next period to try with the coarse table."""
        bound_s, period_s = self._bracket.bound_s, self._bracket.period_s
        trial_s = bound_s + part * (period_s - bound_s)
        if WITHIN < 1 - bound_s / period_s < 3 * WITHIN:
            trial_s = min(trial_s, (1 - AIM * WITHIN) * period_s)
        return trial_s

    def _narrow(self, level: _Level, windows: NestedWindows, period_s: float, depth: int) -> bool:
        """Refute a period, or what is shorter, where walks only pass some windows at it.

        Returns whether a finer table was small enough.
        """
        bracket = self._bracket
        finer = self._finer(level, windows) if depth <= DEEPEST else None
        if finer is None:
            return False
        nested, trial_s = finer.nested, period_s
        few = MANY_PLANS if depth == 1 else FEW_PLANS
        kept: list[tuple[float, Floats, NestedWindows]] = []
        half: tuple[float, _Passed | None] = 0.0, None
        while not self._expired():
            found = half[1] if half[0] == trial_s else self._passed(nested, trial_s)
            if found is not None and self._expired():
                return True
            if found is None:
                bracket.refute(trial_s)
            else:
                nested = found[1]
                if len(nested) <= few:
                    self._plan(finer.table, *found)
                # What refutes a period is good for all shorter ones; the shorter, the smaller.
                if trial_s < bracket.period_s and not bracket.done:
                    # What lies half-way down is soon told, while a finer table takes time.
                    half = self._middle_s(trial_s), self._passed(nested, self._middle_s(trial_s))
                    if half[1] is None:
                        bracket.refute(half[0])
                    elif len(half[1][1]) < SOONER * len(nested):
                        kept.append((trial_s, *found))
                        trial_s = half[0]
                        continue
                    if self._narrow(finer, nested, trial_s, depth + 1):
                        break
                kept.append((trial_s, *found))
            high_s = min(kept[-1][0], bracket.period_s) if kept else bracket.bound_s
            if self._closed(high_s):
                break
            trial_s = self._middle_s(high_s)
        kept = [k for k in kept if len(k[2]) > few and k[0] < bracket.period_s]
        if kept and not bracket.done:
            # Among most windows, but for so many that they would be thinned.
            able = [k for k in kept if len(k[2]) <= MANY_PLANS] or kept[-1:]
            self._plan(finer.table, *able[0][1:])
        return True

    def _middle_s(self, high_s: float) -> float:
        """Return the period in the middle between the bound and another one."""
        return (self._bracket.bound_s + high_s) / 2

    def _closed(self, high_s: float) -> bool:
        """Whether nothing is left to try below a period."""
        return self._bracket.done or high_s - self._bracket.bound_s <= CLOSE * high_s

    def _expired(self) -> bool:
        return self._bracket.settings.expired

    def _passed(self, nested: NestedWindows, period_s: float) -> _Passed | None:
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
        weight_s = self._weight_s[self._heaviest]
        return tuple(self._heaviest[weight_s > part * self._bracket.period_s].tolist())

    def _coarse(self) -> _Level | None:
        """Choose landmarks and make the coarse table; ``None`` if no choice leaves it small."""
        level: _Level | None = None
        known = self._known()
        if known is None:
            return None
        for heavy in HEAVY:
            landmarks = self._heavy(heavy)
            if not landmarks or (level is not None and landmarks == level.landmarks):
                continue
            if level is not None and len(landmarks) > MANY * len(level.landmarks):
                break
            table = self._table(self._load_s, CELL, Landmarks(landmarks), COARSE_ROWS)
            if table is None:
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
        loads = level.table.windows
        rows = only.count(level.table.marks, loads.least_s, loads.most_s)
        for heavy, cell, landmarks in self._choices(level):
            if cell < level.cell and rows * (level.cell / cell) ** POWER > FINE_ROWS:
                continue
            table = self._table(self._load_s, cell, Landmarks(landmarks, only), FINE_ROWS)
            if table is None:
                continue
            needs = gpus_around(windows, table, len(level.landmarks), self._expired)
            found = None if needs is None else self._level(heavy, cell, landmarks, table, needs)
            if found is not None:
                return found
        return None

    def _choices(self, level: _Level) -> Iterator[tuple[float, float, tuple[int, ...]]]:
        """Yield (heavy, cell, landmarks) of tables that tell more, the best ones first."""
        there = set(level.landmarks)

        def more(heavy: float) -> tuple[int, ...]:
            return tuple(v for v in self._heavy(heavy) if v not in there)

        heavy, held = level.heavy, len(level.landmarks)
        left = more(heavy)
        if len(left) <= FEW * held and level.cell < FINE * heavy:
            heavy *= LIGHTER
            left = more(heavy)
        if len(left) > FEW * held:
            if heavy >= LEAST:
                # As many again at most: more make too many sets at once.
                yield heavy, LIGHT_CELL, level.landmarks + left[:held]
            heavy, left = level.heavy, ()
        landmarks = level.landmarks + left
        yield heavy, level.cell / FINER, landmarks
        yield heavy, level.cell / LITTLE, landmarks

    def _known(self) -> KnownGpus | None:
        """Find how many GPUs are needed before and after so much work."""
        table = self._table(self._time, KNOWN_CELL, None, COARSE_ROWS)
        if table is None:
            return None
        totals = float(self._time.sum()), self._load.total_bytes
        needs = Walk(table.windows, self._costs, self._bracket.period_s, *totals).needs()
        return None if needs is None else KnownGpus(table, *needs)

    def _level(
        self,
        heavy: float,
        cell: float,
        landmarks: tuple[int, ...],
        table: IdealTable,
        known: tuple[Floats, Floats],
    ) -> _Level | None:
        """Sort a table's rows by their sets; ``None`` if these are too many, or time is over."""
        rows = np.flatnonzero(known[0] + known[1] <= self._costs.gpus)
        nested = NestedWindows.of(table, self._load, known, rows, MOST_SETS, self._expired)
        return None if nested is None else _Level(heavy, cell, landmarks, table, nested)

    def _plan(self, table: IdealTable, slack_s: Floats, nested: NestedWindows) -> None:
        """Look for a plan over ideals that walks pass."""
        bracket = self._bracket
        slack = np.full(len(table.windows), -np.inf)
        slack[nested.rows] = np.maximum(slack_s, 0)
        search = self._plans.over_passed(table, slack)
        search.search(bracket.period_s, bracket.bound_s, CLOSE)
        bracket.take(search)
