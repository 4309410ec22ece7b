"""How few GPUs of one cell do for the layers up to an ideal, for every usage of the other cells.

For a period, least(i, u) is the fewest GPUs of the last cell with which the layers up to ideal i
can keep it, where u counts the GPUs of every other cell: one array of small integers per ideal. A
run takes it from ideal to ideal by a shift. A wide stage of m replicas is m shifts by one GPU, each
the best over the cells allowed; the chain of these serves all stages that leave the same ideal.
That is a full enumeration, and yet a few thousand passes over some ten thousand numbers.

Where all groups together have too many usages, servers of a class are taken as one: a relaxation,
which refutes periods still, and whose paths say which stages to look at.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import reduce

import numpy as np
from numpy.typing import NDArray

from stagewright.formulation.cells import Cell
from stagewright.formulation.path_model import by_group, stages_of
from stagewright.formulation.priced_paths import Wide
from stagewright.formulation.problem import Problem, Settings
from stagewright.formulation.server_runs import Run
from stagewright.formulation.stage_columns import Columns
from stagewright.model.plan import Stage

MOST_WORK = 20_000_000_000
"""Numbers to look at for one period; some seconds."""
UNREACHED = 1 << 14

Counts = NDArray[np.int16]


@dataclass(frozen=True)
class Move:
    """A run or a wide stage from ideal to ideal, with all that it takes, by cell."""

    part: Run | Wide
    counts: tuple[int, ...]


@dataclass
class _Leaving:
    """What leaves one ideal: runs with what they take, and wide stages by cells and servers."""

    runs: list[Move] = field(default_factory=list)
    wide: dict[tuple[tuple[int, ...], int], list[Wide]] = field(
        default_factory=lambda: defaultdict(list)
    )


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
        self._tops = tuple(cell.total for cell in self.cells[:-1])
        sizes = [top + 1 for top in self._tops]
        self._strides = [math.prod(sizes[axis + 1 :]) for axis in range(len(sizes))]
        self._kinds = [columns.resources[cell.resource].kind for cell in self.cells]
        self._sizes = {r.kind: len(r.servers) for r in columns.resources}
        self.exact = all(cell.server is not None for cell in cells)
        self._leaving: dict[int, _Leaving] = defaultdict(_Leaving)
        for run in runs:
            self._leaving[run.first].runs += self._moves_of_run(run)
        for stage in wide:
            self._leaving[stage.first].wide[self._demand(stage)].append(stage)
        self._least: dict[int, Counts] = {}

    @property
    def too_large(self) -> bool:
        """Whether filling the arrays takes longer than it can repay."""
        steps = 0
        for leaving in self._leaving.values():
            steps += len(leaving.runs)
            for (cells, servers), stages in leaving.wide.items():
                touching = self._touching(cells, servers)
                steps += sum(len(place) * len(levels) for place, levels in touching)
                steps += (max(x.replicas for x in stages) - servers) * len(cells) + len(stages)
        return steps * math.prod(top + 1 for top in self._tops) > MOST_WORK

    def fill(self, settings: Settings) -> bool | None:
        """Fill the arrays; return whether the end is reached, ``None`` if time is over."""
        last = len(self._columns.pairs.space) - 1
        self._least = {0: self._unreached()}
        self._least[0][(0,) * len(self._tops)] = 0
        for i in range(last):
            if settings.expired:
                return None
            if i in self._least:
                self._leave(i)
        return last in self._least and bool((self._least[last] <= self.cells[-1].total).any())

    def _unreached(self) -> Counts:
        return np.full([top + 1 for top in self._tops], UNREACHED, dtype=np.int16)

    def _reach(self, i: int, least: Counts) -> None:
        """Take over what an array says of an ideal where that is less."""
        self._least[i] = np.minimum(self._least.get(i, UNREACHED), least, dtype=np.int16)

    def _leave(self, i: int) -> None:
        """Carry the usages of an ideal over to where its runs and wide stages end."""
        least, leaving = self._least[i], self._leaving[i]
        for move in leaving.runs:
            self._reach(move.part.last, self._shifted(least, move.counts))
        for (cells, servers), stages in leaving.wide.items():
            ends: dict[int, set[int]] = defaultdict(set)
            for stage in stages:
                ends[stage.replicas].add(stage.last)
            for m, level in self._chain(least, cells, servers, max(ends)):
                for last in ends.get(m, ()):
                    self._reach(last, level)

    def _shifted(self, least: Counts, counts: Sequence[int]) -> Counts:
        """Return what follows with ``counts`` more GPUs of each cell.

        One shift of all numbers in a row, several times as fast as one axis by axis. What a usage
        beyond the top of an axis carries over lies among the first ``counts`` of it.
        """
        *steps, more = counts
        moved = np.empty_like(least)
        before, after = least.ravel(), moved.ravel()
        offset = min(int(np.dot(steps, self._strides)), moved.size)
        after[:offset] = UNREACHED
        np.add(before[: moved.size - offset], more, out=after[offset:])
        for axis, n in enumerate(steps):
            if n:
                moved[(slice(None),) * axis + (slice(0, n),)] = UNREACHED
        return moved

    def _chain(
        self, least: Counts, cells: tuple[int, ...], servers: int, most: int
    ) -> Iterator[tuple[int, Counts]]:
        """Yield what follows with m more GPUs of some cells, from ``servers`` to ``most``.

        The first GPUs touch a server each; the others may lie anywhere.
        """
        unit = {c: [int(c == x) for x in range(len(self.cells))] for c in cells}
        levels = [least, *(self._unreached() for _ in range(servers))]
        for place, touched in self._touching(cells, servers):
            for m in touched:
                more = [self._shifted(levels[m - 1], unit[c]) for c in place]
                levels[m] = reduce(np.minimum, more, levels[m])
        level = levels[-1]
        yield servers, level
        for m in range(servers + 1, most + 1):
            level = reduce(np.minimum, [self._shifted(level, unit[c]) for c in cells])
            yield m, level

    def _touching(
        self, cells: tuple[int, ...], servers: int
    ) -> list[tuple[list[int], Sequence[int]]]:
        """(cells, numbers of servers touched with it) of each server, one after the other.

        Descending, so that a server is touched once; no more than servers so far, and no fewer
        than what those to come can make up for.
        """
        each = [place for size, place in self._places(cells) for _ in range(min(size, servers))]
        return [
            (place, range(min(now, servers), max(servers - len(each) + now, 1) - 1, -1))
            for now, place in enumerate(each, 1)
        ]

    def _places(self, cells: tuple[int, ...]) -> list[tuple[int, list[int]]]:
        """(servers, cells) of each server, or of each class where its servers are taken as one."""
        found: dict[tuple[int | None, int], list[int]] = defaultdict(list)
        for c in cells:
            found[self.cells[c].server, self._kinds[c]].append(c)
        return [
            (1 if server is not None else self._sizes[kind], place)
            for (server, kind), place in found.items()
        ]

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

    def _demand(self, stage: Wide) -> tuple[tuple[int, ...], int]:
        """Cells that the replicas may come from, and servers that they have to touch.

        The latter is 0 where enough replicas, wherever they lie, can touch enough servers.
        """
        servers = max(2, int(self._columns.across[[stage.first, stage.last]].max()))
        allowed = stage.option.allowed[:, stage.pair]
        cells = tuple(c for c, cell in enumerate(self.cells) if allowed[cell.resource])
        enough = all(size >= servers for size, _ in self._places(cells))
        return cells, 0 if enough else servers

    def path(self, rng: np.random.Generator) -> list[Move]:
        """Walk back from the end; which of several ways, chance decides."""
        into: dict[int, list[Move | Wide]] = defaultdict(list)
        for leaving in self._leaving.values():
            for move in leaving.runs:
                into[move.part.last].append(move)
            for stages in leaving.wide.values():
                for stage in stages:
                    into[stage.last].append(stage)
        last = len(self._columns.pairs.space) - 1
        ends = np.argwhere(self._least[last] <= self.cells[-1].total)
        end = tuple(rng.choice(ends).tolist())
        usage = [*end, int(self._least[last][end])]
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
        if isinstance(way, Wide):
            return self._before_wide(way, usage)
        before = [a - b for a, b in zip(usage, way.counts, strict=True)]
        least = self._least.get(way.part.first)
        if least is None or min(before) < 0:
            return None
        here = int(least[tuple(before[:-1])])
        return (way, [*before[:-1], here]) if here <= before[-1] else None

    def _before_wide(self, stage: Wide, usage: Sequence[int]) -> tuple[Move, list[int]] | None:
        """Look through all ways to split the replicas over the cells."""
        least = self._least.get(stage.first)
        if least is None:
            return None
        cells, servers = self._demand(stage)
        high = np.array(usage[:-1], dtype=np.int64)
        allowed = np.array([c in cells for c in range(len(high))], dtype=bool)
        low = np.maximum(high - stage.replicas * allowed, 0)
        box = tuple(slice(a, b + 1) for a, b in zip(low.tolist(), high.tolist(), strict=True))
        before = least[box]
        others = (high - low).reshape(-1, *[1] * before.ndim) - np.indices(before.shape)
        rest = stage.replicas - others.sum(axis=0)
        counts = np.concatenate([others, rest[np.newaxis]])
        possible = (rest >= 0) & (before + rest <= usage[-1])
        if len(high) not in cells:
            possible &= rest == 0
        touched = np.zeros(before.shape, dtype=np.int64)
        for size, place in self._places(cells):
            touched += np.minimum(counts[place].sum(axis=0), size)
        ways = np.argwhere(possible & (touched >= servers))
        if not len(ways):
            return None
        at = tuple(ways[0].tolist())
        move = Move(stage, tuple(counts[(slice(None), *at)].tolist()))
        return move, [*(low + at).tolist(), int(before[at])]

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
