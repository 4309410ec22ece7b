"""Better plans near a plan: its stretches are cut anew, over all the ideals between two cuts.

Ideals of a table of the whole graph hardly nest. Those between two cuts of one plan contain the
first and lie in the second, so that choices in stretches that do not overlap always go together,
and :class:`FewestGpus` finds the best of all their combinations, with the replicas that go with
it. Stretches of one stage let work move along the pipeline, longer ones let cuts change places.

Beside these, one chain of cuts is kept level: each cut is moved to where the two stages beside it
are equally long. That spreads what is spare at one end of the pipeline over all of it, which no
choice that only looks at the longest stage does.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from stagewright.formulation.bracket import Bracket
from stagewright.formulation.cut_space import cuts_of, family
from stagewright.formulation.fewest_gpus import FewestGpus
from stagewright.formulation.flat_costs import FlatCosts
from stagewright.formulation.partial_ideals import Grid
from stagewright.formulation.reduced_graph import ReducedGraph
from stagewright.formulation.stretch import Stretches, StretchTable

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Indices = NDArray[np.int64]

WIDTHS = (1, 2, 3)
"""Stages in a stretch, in turns."""
CELL, FINE_CELL = 0.01, 0.004
"""Sizes of a cell in work, as parts of the period; fine where one stage is cut or two levelled."""
PARAMETERS = 4.0
"""Size of a cell in all-reduce seconds, in sizes of a cell in work."""
BINS = 20
"""Ideals to keep from each period's worth of work in a stretch, for each number of replicas."""
OCTAVE = 4
"""Of ideals near an end of a stretch, so many for each halving of the distance."""
CLOSE = 6
"""A family is searched until its best plan is known to a part of the gap, or to ALONG."""
ALONG = 2e-4
LEVEL = 1e-6
"""Part of its time by which a stage has to get shorter for its cut to be moved."""


class StretchSearch:
    """Improves the best plan of a bracket, round by round."""

    def __init__(self, bracket: Bracket, graph: ReducedGraph) -> None:
        self._bracket, self._graph = bracket, graph
        self._costs = FlatCosts.of(bracket.problem)
        self._time, self._held = graph.time_s[0], graph.parameter_bytes
        self._stretches = Stretches(graph, self._time)
        self._random = np.random.default_rng(bracket.settings.seed)
        self._widths = itertools.cycle(WIDTHS)
        self._first_layers = [layers[0] for layers in graph.blocks]
        self._seen: object = None
        self._cuts = np.zeros((0, len(graph)), dtype=bool)
        self._replicas: list[int] = []

    def improve(self) -> float:
        """Run one round; return by which part the best period got shorter."""
        bracket = self._bracket
        before_s = bracket.period_s
        if bracket.stages is None or len(bracket.stages) < 2 or bracket.done:
            return 0.0
        if bracket.stages is not self._seen:
            self._seen = bracket.stages
            self._cuts = cuts_of(bracket.problem.instance, bracket.stages)[:, self._first_layers]
            self._replicas = [stage.replica_count for stage in bracket.stages]
        self._level()
        width = next(self._widths)
        chosen = [self._cuts, *self._parts(width)]
        members = np.concatenate(
            [
                self._graph.layers(np.concatenate(chosen)),
                cuts_of(bracket.problem.instance, bracket.stages),
            ]
        )
        search = FewestGpus(
            bracket.problem, family(bracket.problem.instance, members), bracket.settings
        )
        gap = 1 - bracket.bound_s / bracket.period_s
        search.search(bracket.period_s, bracket.bound_s, max(ALONG, gap / CLOSE))
        bracket.take(search)
        return 1 - bracket.period_s / before_s

    def _ends(self) -> Bools:
        """The cuts with the empty and the full ideal, shape (stages + 1, blocks)."""
        size = len(self._graph)
        return np.concatenate([np.zeros((1, size), bool), self._cuts, np.ones((1, size), bool)])

    def _parts(self, width: int) -> Iterator[Bools]:
        """Yield ideals of stretches of so many stages that cover the plan."""
        ends = self._ends()
        last = len(ends) - 1
        offset = int(self._random.integers(width))
        for i in range(-offset, last, width):
            low, high = max(0, i), min(last, i + width)
            cell = FINE_CELL if width == 1 else CELL
            most = max(self._replicas[low:high]) + 1
            table = self._table(ends[low], ends[high], cell, most)
            if table is not None:
                yield table.ideals(self._spread(table, width, ends[low], ends[high]))

    def _table(self, lower: Bools, upper: Bools, cell: float, replicas: int) -> StretchTable | None:
        """Return the ideals between two that stages with so many replicas may be cut at."""
        period_s = self._bracket.period_s
        most = self._costs.most_cut_bytes(period_s, replicas)
        grid = Grid(
            work_s=cell * period_s,
            parameter_bytes=PARAMETERS * cell * period_s / self._costs.sync_s_per_byte,
            most_cut_bytes=most,
        )
        settings = self._bracket.settings
        return self._stretches.table(lower, upper, grid, lambda: settings.expired)

    def _spread(self, table: StretchTable, width: int, lower: Bools, upper: Bools) -> Indices:
        """Rows for each number of replicas asked, spread over the work."""
        windows, period_s = table.windows, self._bracket.period_s
        asked = self._costs.asked(windows.cut_bytes, period_s)
        done = windows.least_s / period_s
        if width == 1:
            left = float(self._time[upper & ~lower].sum()) / period_s - windows.most_s / period_s
            nearest = np.maximum(np.minimum(done, left), FINE_CELL / 10)
            place = np.floor(np.log2(nearest) * OCTAVE + self._random.random())
            place = np.where(done < left, place, -1000 - place)
        else:
            place = np.floor(done * BINS + self._random.random())
        order = self._random.permutation(len(windows))
        keys = np.stack([place, asked])[:, order]
        _, first = np.unique(keys, axis=1, return_index=True)
        chosen: Indices = order[first]
        return chosen[np.isfinite(asked[chosen])]

    def _level(self) -> None:
        """Move each cut to where the stages beside it are equally long."""
        for i in self._random.permutation(len(self._cuts)).tolist():
            if self._bracket.settings.expired:
                return
            ends = self._ends()
            lower, upper = ends[i], ends[i + 2]
            pair = self._replicas[i], self._replicas[i + 1]
            shortest_s, longest_s = sorted(
                self._stage_s(ends[k] & ~ends[k - 1], self._replicas[k - 1]) for k in (i + 1, i + 2)
            )
            if longest_s - shortest_s < FINE_CELL * longest_s:
                continue
            table = self._table(lower, upper, FINE_CELL, min(pair))
            if table is None:
                continue
            windows = table.windows
            between = upper & ~lower
            work_s = (windows.least_s + windows.most_s) / 2
            held = (windows.least_bytes + windows.most_bytes) / 2
            longer_s = np.maximum(
                self._times_s(work_s, held, pair[0]),
                self._times_s(
                    self._time[between].sum() - work_s, self._held[between].sum() - held, pair[1]
                ),
            )
            best = int(np.argmin(longer_s))
            if longer_s[best] < longest_s * (1 - LEVEL):
                self._cuts[i] = table.ideals(np.array([best]))[0]

    def _stage_s(self, blocks: Bools, replicas: int) -> float:
        return float(self._times_s(self._time[blocks].sum(), self._held[blocks].sum(), replicas))

    def _times_s(self, work_s: Floats, held: Floats, replicas: int) -> Floats:
        """Seconds of stages but for their transfers: (T + 2(m-1)P/(βm)) / m."""
        sync_s = self._costs.sync_s_per_byte * held * (replicas - 1) / replicas
        return (work_s + sync_s) / replicas
