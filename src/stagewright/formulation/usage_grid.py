"""Which GPUs the layers up to an ideal can have used: all of it, as bits of long integers.

For a period, let used(i) be the set of usages (GPUs of each group) with which the layers up to
ideal i can keep it. A set is one integer, a bit per usage; a run or a wide stage moves it by an
offset that depends on its GPUs alone. This is a full enumeration, and yet a few thousand shifts of
some kilobytes.

Where all groups together have too many usages, servers of a class are taken as one: a relaxation,
which refutes periods still, and whose paths say which stages to look at.
"""

from __future__ import annotations

import itertools
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from stagewright.formulation.cells import Cell
from stagewright.formulation.compositions import compositions_within
from stagewright.formulation.path_model import by_group, stages_of
from stagewright.formulation.priced_paths import ONE, Prices, Wide
from stagewright.formulation.problem import Problem, Settings
from stagewright.formulation.server_runs import Run
from stagewright.formulation.stage_columns import Columns
from stagewright.model.plan import Stage

MOST_WAYS = 20_000
MOST_MOVES = 1_000_000
MOST_WORK = 20_000_000_000
"""Bits to move at one period; some seconds."""

_Way = tuple[float, int, tuple[int, ...]]
_Demand = tuple[int, tuple[bool, ...], float]


@dataclass(frozen=True)
class Move:
    """A run or a wide stage with all that it takes, by cell, from ideal to ideal."""

    part: Run | Wide
    offset: int
    counts: tuple[int, ...]


class UsageGrid:
    """The sets of one period.

    Attributes
    ----------
    exact
        Whether a path found is a plan (cells are groups); else it is only a hint.
    """

    def __init__(
        self, problem: Problem, columns: Columns, cells: list[Cell], settings: Settings
    ) -> None:
        self._problem = problem
        self._columns = columns
        self._cells = cells
        self._settings = settings
        self.exact = all(cell.server is not None for cell in cells)
        strides = itertools.accumulate((2 * c.total + 1 for c in cells), lambda a, b: a * b)
        self._strides = [1, *strides][:-1]
        self._valid = 1
        for cell, stride in zip(cells, self._strides, strict=True):
            self._valid = sum(self._valid << (n * stride) for n in range(cell.total + 1))

    def path(self, runs: Sequence[Run], wide: Sequence[Wide], prices: Prices) -> list[Move] | None:
        """Return a path to the end, empty if nothing reaches it; ``None`` if there is too much."""
        moves: dict[int, list[Move]] = defaultdict(list)
        for run in runs:
            for move in self._moves_of_run(run):
                moves[run.first].append(move)
        budgets: dict[_Demand, float] = {}
        for stage in wide:
            demand = self._demand(stage)
            rest = prices.from_start[stage.first] + prices.to_end[stage.last]
            budgets[demand] = max(budgets.get(demand, 0.0), ONE - float(rest))
        ways: dict[_Demand, list[_Way]] = {}
        for demand, budget in budgets.items():
            found = self._ways_to_equip(demand, prices, budget)
            if found is None:
                return None
            ways[demand] = found
        count = 0
        for stage in wide:
            rest = prices.from_start[stage.first] + prices.to_end[stage.last]
            found = ways[self._demand(stage)]
            affordable = bisect_right(found, ONE - float(rest), key=lambda way: way[0])
            moves[stage.first] += [Move(stage, x[1], x[2]) for x in found[:affordable]]
            count += affordable
            if (
                count * len(self._cells) > MOST_MOVES
                or count * self._valid.bit_length() > MOST_WORK
            ):
                return None
        return self._walk(moves)

    def _walk(self, moves: dict[int, list[Move]]) -> list[Move] | None:
        """Fill the sets from the start, then walk back from the end."""
        last = len(self._columns.pairs.space) - 1
        sets: dict[int, int] = {0: 1}
        into: dict[int, list[Move]] = defaultdict(list)
        for i in range(last):
            source = sets.get(i, 0)
            if not source:
                continue
            if self._settings.expired:
                return None
            for move in moves.get(i, []):
                moved = (source << move.offset) & self._valid
                if moved:
                    sets[move.part.last] = sets.get(move.part.last, 0) | moved
                    into[move.part.last].append(move)
        reached = sets.get(last, 0)
        path: list[Move] = []
        usage = (reached & -reached).bit_length() - 1
        while reached and last > 0:
            move = next(
                x
                for x in into[last]
                if x.offset <= usage and sets[x.part.first] >> (usage - x.offset) & 1
            )
            path.append(move)
            usage -= move.offset
            last = move.part.first
        return path[::-1]

    def _offset(self, counts: Sequence[int]) -> int:
        return sum(n * stride for n, stride in zip(counts, self._strides, strict=True))

    def _moves_of_run(self, run: Run) -> list[Move]:
        """The run in each server that it may lie in."""
        servers = dict.fromkeys(cell.server for cell in self._cells if run.usage[cell.resource] > 0)
        found = []
        for server in servers:
            counts = tuple(
                run.usage[cell.resource] if cell.server == server else 0 for cell in self._cells
            )
            found.append(Move(run, self._offset(counts), counts))
        return found

    def _demand(self, stage: Wide) -> _Demand:
        """Replicas, resources that they may come from, and servers that they have to touch."""
        servers = max(2.0, float(self._columns.across[[stage.first, stage.last]].max()))
        allowed = tuple(stage.option.allowed[:, stage.pair].tolist())
        return stage.replicas, allowed, servers

    def _ways_to_equip(self, demand: _Demand, prices: Prices, budget: float) -> list[_Way] | None:
        """(price, offset, GPUs by cell) of every way within a budget, cheapest first."""
        replicas, allowed, servers = demand
        rooms = [cell.total if allowed[cell.resource] else 0 for cell in self._cells]
        each = [float(prices.price[cell.resource]) for cell in self._cells]
        found: list[_Way] = []
        for price, counts in compositions_within(replicas, rooms, each, budget):
            if self._most_servers(counts) >= servers:
                found.append((price, self._offset(counts), counts))
            if len(found) > MOST_WAYS:
                return None
        return sorted(found, key=lambda way: way[0])

    def _most_servers(self, counts: tuple[int, ...]) -> int:
        """Servers that so many GPUs of each cell can touch."""
        single = {
            cell.server
            for cell, n in zip(self._cells, counts, strict=True)
            if n > 0 and cell.server is not None
        }
        by_kind: dict[int, int] = defaultdict(int)
        for cell, n in zip(self._cells, counts, strict=True):
            if cell.server is None:
                by_kind[self._columns.resources[cell.resource].kind] += n
        sizes = {r.kind: len(r.servers) for r in self._columns.resources}
        return len(single) + sum(min(n, sizes[kind]) for kind, n in by_kind.items())

    def stages(self, path: list[Move]) -> tuple[Stage, ...]:
        """Return the stages of an exact path, without input nodes."""
        chosen: list[tuple[int, tuple[int, ...]]] = []
        for move in path:
            if isinstance(move.part, Wide):
                by_cell = zip(self._cells, move.counts, strict=True)
                chosen.append(
                    (move.part.pair, by_group(self._problem, self._columns, list(by_cell)))
                )
                continue
            server = next(
                cell.server for cell, n in zip(self._cells, move.counts, strict=True) if n > 0
            )
            for pair, counts in zip(move.part.pairs, move.part.replicas, strict=True):
                taken = [(Cell(r, server, n), n) for r, n in enumerate(counts)]
                chosen.append((pair, by_group(self._problem, self._columns, taken)))
        return stages_of(self._problem, self._columns, chosen)


def along(path: Sequence[Move]) -> tuple[list[Run], list[Wide]]:
    """Return the runs and the wide stages of a path."""
    runs = [move.part for move in path if isinstance(move.part, Run)]
    return runs, [move.part for move in path if isinstance(move.part, Wide)]
