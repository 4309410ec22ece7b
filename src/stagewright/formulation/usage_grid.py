"""How few GPUs of one cell do for the layers up to an ideal, for every usage of the other cells.

For a period, least(i, u) is the fewest GPUs of the last cell with which the layers up to ideal i
can keep it, where u counts the GPUs of every other cell: one array of small integers per ideal
(:mod:`usage_space`). Runs and wide stages carry it from ideal to ideal. That is a full enumeration,
and yet a few thousand passes over some ten thousand numbers.

Where all groups together have too many usages, servers of a class are taken as one: a relaxation,
which refutes periods still, and whose paths say which stages to look at.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from stagewright.formulation.cells import Cell
from stagewright.formulation.path_model import by_group, stages_of
from stagewright.formulation.priced_paths import Wide
from stagewright.formulation.problem import Problem, Settings
from stagewright.formulation.server_runs import Run
from stagewright.formulation.stage_columns import Columns
from stagewright.formulation.usage_space import UNREACHED, Counts, Demand, Place, UsageSpace
from stagewright.model.plan import Stage

MOST_WORK = 20_000_000_000
"""Numbers to look at for one period; some seconds."""


@dataclass(frozen=True)
class Move:
    """A run or a wide stage from ideal to ideal, with all that it takes, by cell."""

    part: Run | Wide
    counts: tuple[int, ...]


@dataclass
class _Leaving:
    """What leaves one ideal."""

    runs: list[Move] = field(default_factory=list)
    wide: dict[Demand, list[Wide]] = field(default_factory=lambda: defaultdict(list))


class UsageGrid:
    """The arrays of one period.

    Attributes
    ----------
    cells
        In the order in which moves count GPUs; the last is the largest.
    exact
        Whether a path found is a plan (cells are groups); else it is only a hint.
    """

    def __init__(
        self,
        problem: Problem,
        columns: Columns,
        cells: list[Cell],
        runs: Sequence[Run],
        wide: Sequence[Wide],
    ) -> None:
        self._problem = problem
        self._columns = columns
        self.cells = sorted(cells, key=lambda cell: cell.total)
        self.exact = all(cell.server is not None for cell in cells)
        self._space = UsageSpace([cell.total for cell in self.cells], self._places())
        self._leaving: dict[int, _Leaving] = defaultdict(_Leaving)
        for run in runs:
            self._leaving[run.first].runs += self._moves_of_run(run)
        for stage in wide:
            self._leaving[stage.first].wide[self._demand(stage)].append(stage)
        self._least: dict[int, Counts] = {}

    def _places(self) -> list[Place]:
        """Each server; or each class, where its servers are taken as one."""
        found: dict[tuple[int | None, int], list[int]] = defaultdict(list)
        for c, cell in enumerate(self.cells):
            found[cell.server, self._columns.resources[cell.resource].kind].append(c)
        sizes = {r.kind: len(r.servers) for r in self._columns.resources}
        return [
            Place(sizes[kind] if server is None else 1, tuple(cells))
            for (server, kind), cells in found.items()
        ]

    @property
    def too_large(self) -> bool:
        """Whether filling the arrays takes longer than it can repay, or counts more than it can."""
        steps = 0
        for leaving in self._leaving.values():
            steps += len(leaving.runs)
            for demand, stages in leaving.wide.items():
                most = max(stage.replicas for stage in stages)
                steps += self._space.shifts(demand, most) + len(stages)
        return not self._space.countable or steps * self._space.size > MOST_WORK

    @property
    def _last(self) -> int:
        return len(self._columns.pairs.space) - 1

    def fill(self, settings: Settings) -> bool | None:
        """Fill the arrays; return whether the end is reached, ``None`` if time is over."""
        self._least = {0: self._space.start()}
        for i in range(self._last):
            if settings.expired:
                return None
            if i in self._least:
                self._leave(i)
        return self._last in self._least and self._space.has(self._least[self._last])

    def _reach(self, i: int, least: Counts) -> None:
        """Take over what an array says of an ideal where that is less."""
        self._least[i] = np.minimum(self._least.get(i, UNREACHED), least, dtype=np.int16)

    def _leave(self, i: int) -> None:
        """Carry the usages of an ideal over to where its runs and wide stages end."""
        least, leaving = self._least[i], self._leaving[i]
        for move in leaving.runs:
            self._reach(move.part.last, self._space.moved(least, move.counts))
        for demand, stages in leaving.wide.items():
            ends: dict[int, set[int]] = defaultdict(set)
            for stage in stages:
                ends[stage.replicas].add(stage.last)
            for m, level in self._space.chain(least, demand, max(ends)):
                for last in ends.get(m, ()):
                    self._reach(last, level)

    def _moves_of_run(self, run: Run) -> list[Move]:
        """The run in each server that it may lie in."""
        servers = dict.fromkeys(cell.server for cell in self.cells if run.usage[cell.resource] > 0)
        return [
            Move(
                run,
                tuple(run.usage[x.resource] if x.server == server else 0 for x in self.cells),
            )
            for server in servers
        ]

    def _demand(self, stage: Wide) -> Demand:
        """A wide stage touches two servers, and as many as the cuts at its ends need."""
        servers = max(2, int(self._columns.across[[stage.first, stage.last]].max()))
        allowed = stage.option.allowed[:, stage.pair]
        cells = tuple(c for c, cell in enumerate(self.cells) if allowed[cell.resource])
        return self._space.demand(cells, servers)

    def path(self, rng: np.random.Generator) -> list[Move]:
        """Walk back from the end; which of several ways, chance decides."""
        into: dict[int, list[Move | Wide]] = defaultdict(list)
        for leaving in self._leaving.values():
            for move in leaving.runs:
                into[move.part.last].append(move)
            for stages in leaving.wide.values():
                for stage in stages:
                    into[stage.last].append(stage)
        last = self._last
        usage = self._space.any_of(self._least[last], rng)
        path: list[Move] = []
        while last > 0:
            ways = into[last]
            found = (self._before(ways[x], usage) for x in rng.permutation(len(ways)))
            move, usage = next(x for x in found if x is not None)
            path.append(move)
            last = move.part.first
        return path[::-1]

    def _before(self, way: Move | Wide, usage: Sequence[int]) -> tuple[Move, list[int]] | None:
        """The move that leads to a usage, and the usage before it; ``None`` if it does not."""
        least = self._least.get(way.first if isinstance(way, Wide) else way.part.first)
        if least is None:
            return None
        if isinstance(way, Wide):
            counts = self._space.split(least, usage, self._demand(way), way.replicas)
            if counts is None:
                return None
            way = Move(way, counts)
        *before, most = [a - b for a, b in zip(usage, way.counts, strict=True)]
        if min(before, default=0) < 0:
            return None
        here = int(least[tuple(before)])
        return (way, [*before, here]) if here <= most else None

    def stages(self, path: list[Move]) -> tuple[Stage, ...]:
        """Return the stages of an exact path, without input nodes."""
        chosen: list[tuple[int, tuple[int, ...]]] = []
        for move in path:
            if isinstance(move.part, Wide):
                by_cell = zip(self.cells, move.counts, strict=True)
                chosen.append(
                    (move.part.pair, by_group(self._problem, self._columns, list(by_cell)))
                )
                continue
            server = next(
                cell.server for cell, n in zip(self.cells, move.counts, strict=True) if n > 0
            )
            for pair, counts in zip(move.part.pairs, move.part.replicas, strict=True):
                taken = [(Cell(r, server, n), n) for r, n in enumerate(counts)]
                chosen.append((pair, by_group(self._problem, self._columns, taken)))
        return stages_of(self._problem, self._columns, chosen)


def along(path: Sequence[Move]) -> tuple[list[Run], list[Wide]]:
    """Return the runs and the wide stages of a path."""
    runs = [move.part for move in path if isinstance(move.part, Run)]
    return runs, [move.part for move in path if isinstance(move.part, Wide)]
